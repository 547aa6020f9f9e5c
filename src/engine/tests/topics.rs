//! Publishing, subscribing, filters and what happens when they fail.

use bytes::Bytes;

use super::rig::{Rig, content, delivered, notice, operator, queue, rejected};
use super::store::FakeStore;
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    ConfiguredTopic, Content, Dedup, Filter, Header, Match, Notice, OnError, Origin, Published,
    QueueSettings, QueueTemplate, RejectCode, Seq, Subscription, SubscriptionView, TopicName,
    TopicSettings, Unroutable, limits,
};

fn topic() -> TopicName {
    TopicName::new("t").expect("a topic")
}

fn subscription(name: &str, filter: &str) -> Subscription {
    let filter = (!filter.is_empty()).then(|| Filter::new(filter).expect("a filter"));
    Subscription { queue: queue(name), filter, on_error: OnError::default() }
}

/// Any queue is made on the fly; topic `t` is configured so.
fn rig(settings: TopicSettings, subscriptions: Vec<Subscription>) -> Rig {
    let topics = vec![ConfiguredTopic { name: topic(), settings, subscriptions }];
    Rig::with_options(options(topics), QueueSettings::default())
}

fn options(topics: Vec<ConfiguredTopic>) -> EngineOptions {
    let templates =
        vec![QueueTemplate { prefix: String::new(), settings: Default::default(), max_queues: 0 }];
    EngineOptions { templates, topics, ..EngineOptions::default() }
}

fn bare() -> Rig {
    Rig::with_options(options(Vec::new()), QueueSettings::default())
}

fn event(id: &str, body: &str) -> Content {
    Content { payload: Bytes::copy_from_slice(body.as_bytes()), ..content(id, "") }
}

fn publish_with(rig: &mut Rig, content: Content, mandatory: bool) -> Vec<Effect> {
    rig.run(Event::Publish { origin: Origin(1), topic: topic(), content, mandatory })
}

fn publish(rig: &mut Rig, id: &str, body: &str) -> Published {
    let effects = publish_with(rig, event(id, body), false);
    let published = effects.iter().find_map(|effect| match effect {
        Effect::Published { published, .. } => Some(published.clone()),
        _ => None,
    });
    published.unwrap_or_else(|| panic!("{effects:?}"))
}

fn subscribe(rig: &mut Rig, subscription: Subscription) -> Vec<Effect> {
    rig.run(Event::Subscribe {
        origin: Origin(2),
        actor: operator("ann"),
        topic: topic(),
        subscription,
    })
}

fn unsubscribe(rig: &mut Rig, name: &str) -> Vec<Effect> {
    rig.run(Event::Unsubscribe {
        origin: Origin(2),
        actor: operator("ann"),
        topic: topic(),
        queue: queue(name),
    })
}

/// Whether `subscribe` or `unsubscribe` changed anything.
fn changed(effects: &[Effect]) -> bool {
    match effects.last() {
        Some(Effect::Subscribed { change, .. }) => change.changed,
        other => panic!("{other:?}"),
    }
}

fn ids(store: &FakeStore, name: &str) -> Vec<String> {
    let kept = store.queue_named(name);
    let messages = kept.into_iter().flat_map(|kept| kept.messages.values());
    messages.map(|message| message.newest().id().to_string()).collect()
}

fn of_queue(rig: &Rig, name: &str) -> SubscriptionView {
    let detail = rig.engine.topic_detail(&topic(), 0, 100).expect("the topic is there");
    let found = detail.subscriptions.into_iter().find(|it| it.queue == queue(name));
    found.expect("it is subscribed")
}

#[test]
fn an_event_becomes_one_message_for_each_subscription_with_its_queues_own_place() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", ""), subscription("b", "")]);
    rig.send("b", "before");
    let published = publish(&mut rig, "e1", "{}");
    let expected = Published {
        id: content("e1", "").id().clone(),
        topic: topic(),
        queues: 2,
        duplicate: false,
    };
    assert_eq!(published, expected);
    assert_eq!(ids(&rig.store, "a"), ["e1"]);
    assert_eq!(ids(&rig.store, "b"), ["before", "e1"]);
    let delivery = delivered(&rig.ready(1, &["a"], 1));
    assert_eq!((delivery.queue.as_str(), delivery.seq), ("a", 1));
    rig.ack(&delivery);
    assert_eq!((ids(&rig.store, "a").len(), ids(&rig.store, "b").len()), (0, 2));
}

#[test]
fn copies_share_header_and_payload() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", ""), subscription("b", "")]);
    publish(&mut rig, "e1", "a payload");
    let at = |name: &str| {
        let content = rig.store.queue_named(name).expect("made").messages[&Seq(1)].newest();
        (content.payload.as_ptr(), content.header.json().as_ptr())
    };
    assert_eq!(at("a"), at("b"));
}

#[test]
fn all_queues_get_an_event_or_none() {
    let subscriptions = vec![subscription("a", ""), subscription("full", "")];
    let mut rig = rig(TopicSettings::default(), subscriptions);
    rig.put_queue("full", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    publish(&mut rig, "e1", "");
    let refused = rejected(&publish_with(&mut rig, event("e2", ""), false));
    assert_eq!(refused.code, RejectCode::Full);
    assert_eq!(refused.id.expect("its id").as_str(), "e2");
    assert_eq!(
        (ids(&rig.store, "a"), ids(&rig.store, "full")),
        (vec!["e1".into()], vec!["e1".into()])
    );
}

#[test]
fn filters_choose_and_what_nobody_takes_is_counted() {
    let subscriptions =
        vec![subscription("fr", "body.c == 'FR'"), subscription("de", "body.c == 'DE'")];
    let mut rig = rig(TopicSettings::default(), subscriptions);
    assert_eq!(publish(&mut rig, "e1", r#"{"c":"FR"}"#).queues, 1);
    assert_eq!(publish(&mut rig, "e2", r#"{"c":"IT"}"#).queues, 0);
    assert_eq!((ids(&rig.store, "fr").len(), ids(&rig.store, "de").len()), (1, 0));
    let page = rig.engine.topic_page(None, 10);
    assert_eq!((page.topics[0].published, page.topics[0].unmatched), (2, 1));
    assert_eq!((of_queue(&rig, "fr").matched, of_queue(&rig, "de").matched), (1, 0));
}

#[test]
fn an_event_published_twice_is_a_duplicate_for_all_its_queues_after_a_restart_too() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", ""), subscription("b", "")]);
    assert!(!publish(&mut rig, "e1", "").duplicate);
    assert!(publish(&mut rig, "e1", "").duplicate);
    rig.restart();
    let again = publish(&mut rig, "e1", "");
    assert_eq!((again.queues, again.duplicate), (2, true));
    assert_eq!((ids(&rig.store, "a").len(), ids(&rig.store, "b").len()), (1, 1));
}

#[test]
fn a_queue_that_subscribed_meanwhile_gets_a_repeated_event_once() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", "")]);
    publish(&mut rig, "e1", "");
    subscribe(&mut rig, subscription("late", ""));
    assert!(!publish(&mut rig, "e1", "").duplicate);
    assert!(publish(&mut rig, "e1", "").duplicate);
    assert_eq!((ids(&rig.store, "a").len(), ids(&rig.store, "late").len()), (1, 1));
}

#[test]
fn a_router_gives_an_event_to_the_first_that_takes_it_or_the_otherwise_queue() {
    let settings = TopicSettings {
        matching: Match::First,
        otherwise: Some(queue("rest")),
        ..TopicSettings::default()
    };
    let subscriptions =
        vec![subscription("large", "body.n > 10"), subscription("any", "body.n > 0")];
    let mut rig = rig(settings, subscriptions);
    for (id, body) in [("e1", r#"{"n":11}"#), ("e2", r#"{"n":1}"#), ("e3", r#"{"n":0}"#)] {
        assert_eq!(publish(&mut rig, id, body).queues, 1);
    }
    assert_eq!(ids(&rig.store, "large"), ["e1"]);
    assert_eq!(ids(&rig.store, "any"), ["e2"]);
    assert_eq!(ids(&rig.store, "rest"), ["e3"]);
    // The same event, which would go elsewhere now, stays where it went.
    let again = publish(&mut rig, "e2", r#"{"n":99}"#);
    assert_eq!((again.queues, again.duplicate), (1, true));
    assert_eq!(ids(&rig.store, "large"), ["e1"]);
}

#[test]
fn what_nobody_takes_is_unroutable_if_asked_to_be() {
    let mut rig = bare();
    let nobody = |rig: &mut Rig| publish_with(rig, event("e1", "{}"), true);
    assert_eq!(rejected(&nobody(&mut rig)).code, RejectCode::Unroutable);
    assert_eq!(publish(&mut rig, "e1", "{}").queues, 0);
    assert_eq!(rig.engine.topic_page(None, 10).unknown, 1);
    subscribe(&mut rig, subscription("a", "has(body.x)"));
    let refused = rejected(&nobody(&mut rig));
    assert_eq!(refused.reason, "no subscription of t takes this event");

    for (unroutable, mandatory) in [(Unroutable::Reject, false), (Unroutable::DeadLetter, true)] {
        let mut rig =
            super::topics::rig(TopicSettings { unroutable, ..Default::default() }, Vec::new());
        let refused = rejected(&publish_with(&mut rig, event("e1", ""), mandatory));
        assert_eq!(refused.code, RejectCode::Unroutable);
    }
    let unroutable = Unroutable::DeadLetter;
    let mut rig =
        super::topics::rig(TopicSettings { unroutable, ..Default::default() }, Vec::new());
    let effects = publish_with(&mut rig, event("e1", ""), false);
    let here = |reason: &str| [("t.dead".to_owned(), reason.to_owned(), "t.dead".to_owned(), 1)];
    assert_eq!(told_dead(&effects), here("unroutable"));
    assert_eq!(rig.engine.totals().dead_lettered, 1);
    // A duplicate is no dead letter more.
    assert_eq!(told_dead(&publish_with(&mut rig, event("e1", ""), false)), []);
    let dead = rig.store.queue_named("t.dead").expect("it was made");
    let header = dead.messages[&Seq(1)].newest().header.to_map();
    assert_eq!(header["dead_letter"]["reason"], "unroutable");
}

/// Dead letters that are told: whose, why, where they are.
fn told_dead(effects: &[Effect]) -> Vec<(String, String, String, u64)> {
    let dead = |effect| match notice(effect)? {
        Notice::DeadLettered { queue, reason, to, to_seq, .. } => {
            Some((queue.to_string(), reason.clone(), to.to_string(), to_seq.0))
        }
        _ => None,
    };
    effects.iter().filter_map(dead).collect()
}

#[test]
fn two_filters_that_fail_into_one_queue_of_dead_letters_are_one() {
    let failing =
        |queue| Subscription { on_error: OnError::DeadLetter, ..subscription(queue, "body.n > 1") };
    let skipped = Subscription { on_error: OnError::Skip, ..subscription("s", "body.n > 1") };
    let settings = QueueSettings { dead_letter: "errors".to_owned(), ..Default::default() };
    let settings = settings.into();
    let template = QueueTemplate { prefix: "x.".to_owned(), settings, max_queues: 0 };
    let subscriptions = vec![skipped, failing("x.a"), failing("x.b")];
    let settings = TopicSettings::default();
    let mut options = options(vec![ConfiguredTopic { name: topic(), settings, subscriptions }]);
    options.templates.push(template);
    let mut rig = Rig::with_options(options, QueueSettings::default());
    let effects = publish_with(&mut rig, event("e1", "{}"), false);
    let told = [("x.a".to_owned(), "filter".to_owned(), "errors".to_owned(), 1)];
    assert_eq!(told_dead(&effects), told);
    assert_eq!(rig.engine.totals().dead_lettered, 1);
}

#[test]
fn a_filter_that_fails_does_what_its_subscription_says_and_is_counted_and_told() {
    let failing = |on_error| Subscription { on_error, ..subscription("a", "body.n > 1") };
    let with = |on_error| {
        super::topics::rig(TopicSettings::default(), vec![failing(on_error), subscription("b", "")])
    };

    let mut rig = with(OnError::DeadLetter);
    let effects = publish_with(&mut rig, event("e1", "{}"), false);
    let told = effects.iter().find_map(|effect| match notice(effect)? {
        Notice::FilterFailed { queue, error, failed, .. } => {
            Some((queue.to_string(), error.clone(), *failed))
        }
        _ => None,
    });
    let (a, dead) = ("a".to_owned(), "a.dead".to_owned());
    assert_eq!(told_dead(&effects), [(a, "filter".to_owned(), dead, 1)]);
    let reason = "there is no field `n`".to_owned();
    assert_eq!(told, Some(("a".to_owned(), reason.clone(), 1)));
    assert_eq!((ids(&rig.store, "a").len(), ids(&rig.store, "b").len()), (0, 1));
    let dead = rig.store.queue_named("a.dead").expect("it was made");
    let header = dead.messages[&Seq(1)].newest().header.to_map();
    assert_eq!(header["dead_letter"]["reason"], "filter");
    assert_eq!(header["dead_letter"]["error"], reason.as_str());
    let view = of_queue(&rig, "a");
    assert_eq!((view.matched, view.filter_errors, view.last_error), (0, 1, Some(reason)));
    assert_eq!(publish(&mut rig, "e2", r#"{"n":2}"#).queues, 2);
    publish(&mut rig, "e3", "{}");
    let queue = rig.engine.queue_view(&"a".parse().expect("a name")).expect("it is there");
    assert_eq!(queue.dead_lettered, 1, "it was not there when the first came");
    assert_eq!(rig.engine.totals().dead_lettered, 2);
    assert_eq!(told_dead(&publish_with(&mut rig, event("e3", "{}"), false)), []);
    assert_eq!(rig.engine.totals().dead_lettered, 2, "a duplicate is none");

    let mut rig = with(OnError::Deliver);
    assert_eq!(publish(&mut rig, "e1", "{}").queues, 2);
    assert_eq!(ids(&rig.store, "a"), ["e1"]);

    let mut rig = with(OnError::Skip);
    assert_eq!(publish(&mut rig, "e1", "{}").queues, 1);
    assert_eq!(of_queue(&rig, "a").filter_errors, 1);

    let mut rig = with(OnError::Reject);
    let refused = rejected(&publish_with(&mut rig, event("e1", "{}"), false));
    assert_eq!(refused.code, RejectCode::Unroutable);
    assert_eq!(refused.reason, "the filter of a on t fails on this event: there is no field `n`");
    assert_eq!((ids(&rig.store, "a").len(), ids(&rig.store, "b").len()), (0, 0));
    assert_eq!(of_queue(&rig, "a").filter_errors, 1);
}

#[test]
fn subscriptions_made_at_run_time_are_there_after_a_restart_in_their_order() {
    let mut rig = bare();
    for name in ["z", "m", "a"] {
        assert!(changed(&subscribe(&mut rig, subscription(name, "topic == 't'"))));
    }
    assert!(!changed(&subscribe(&mut rig, subscription("m", "topic == 't'"))));
    assert!(changed(&subscribe(&mut rig, subscription("m", "has(header.id)"))));
    assert!(changed(&unsubscribe(&mut rig, "z")));
    assert!(!changed(&unsubscribe(&mut rig, "z")));
    rig.restart();
    let detail = rig.engine.topic_detail(&topic(), 0, 10).expect("it is there");
    let queues: Vec<_> = detail.subscriptions.iter().map(|it| it.queue.to_string()).collect();
    assert_eq!(queues, ["m", "a"]);
    assert_eq!(of_queue(&rig, "m").filter.as_deref(), Some("has(header.id)"));
    assert_eq!(of_queue(&rig, "m").by, Some(operator("ann")));
    assert_eq!(publish(&mut rig, "e1", "").queues, 2);
    unsubscribe(&mut rig, "m");
    unsubscribe(&mut rig, "a");
    assert_eq!(rig.engine.topic_detail(&topic(), 0, 10), None);
    assert!(rig.store.subscriptions.is_empty());
    assert_eq!(rig.store.journal.iter().filter(|it| it.kind.as_str() == "unsubscribed").count(), 3);
}

#[test]
fn what_the_configuration_subscribes_is_the_configurations() {
    let mut rig = bare();
    subscribe(&mut rig, subscription("a", "false"));
    let topics = vec![ConfiguredTopic {
        name: topic(),
        settings: TopicSettings::default(),
        subscriptions: vec![subscription("a", "")],
    }];
    rig.restart_with(options(topics));
    assert_eq!(publish(&mut rig, "e1", "").queues, 1, "the configured one, which has no filter");
    assert!(of_queue(&rig, "a").configured);
    let refused = rejected(&subscribe(&mut rig, subscription("a", "")));
    assert_eq!(refused.code, RejectCode::Forbidden);
    assert!(refused.reason.contains("change it there"), "{}", refused.reason);
    rig.restart_with(options(Vec::new()));
    assert_eq!(
        of_queue(&rig, "a").filter.as_deref(),
        Some("false"),
        "the one made at run time is back"
    );
    rig.restart_with(options(vec![ConfiguredTopic {
        name: topic(),
        settings: TopicSettings::default(),
        subscriptions: vec![subscription("a", "")],
    }]));
    assert!(changed(&unsubscribe(&mut rig, "a")), "the sleeping one goes");
    let refused = rejected(&unsubscribe(&mut rig, "a"));
    assert_eq!(refused.code, RejectCode::Forbidden);
}

#[test]
fn subscribing_a_queue_that_cant_be_is_refused() {
    let mut rig = Rig::new(QueueSettings::default());
    let refused = rejected(&subscribe(&mut rig, subscription("nowhere", "")));
    assert_eq!(refused.code, RejectCode::NoSuchQueue);
    assert!(changed(&subscribe(&mut rig, subscription("q", ""))));
    assert!(rig.store.subscriptions.len() == 1);
}

#[test]
fn a_stored_filter_that_compiles_no_more_fails_on_every_event() {
    let mut rig = bare();
    subscribe(&mut rig, subscription("a", "has(body.x)"));
    for record in rig.store.subscriptions.values_mut() {
        record.filter = Some("matches(body.x, 'y')".to_owned());
    }
    rig.restart();
    assert_eq!(publish(&mut rig, "e1", "{}").queues, 1);
    assert_eq!(ids(&rig.store, "a.dead"), ["e1"]);
    assert!(of_queue(&rig, "a").last_error.expect("it failed").contains("matches()"));
}

#[test]
fn ten_thousand_subscriptions_are_taken_and_one_more_is_refused() {
    let subscriptions: Vec<_> = (0..limits::MAX_TOPIC_SUBSCRIPTIONS)
        .map(|n| subscription(&format!("s{n}"), "body.n >= 0"))
        .collect();
    let mut rig = rig(TopicSettings::default(), subscriptions);
    let refused = rejected(&subscribe(&mut rig, subscription("more", "")));
    assert_eq!(refused.code, RejectCode::Full);
    let published = publish(&mut rig, "e1", r#"{"n":1}"#);
    assert_eq!(published.queues, limits::MAX_TOPIC_SUBSCRIPTIONS as u64);
    assert_eq!(ids(&rig.store, "s9999"), ["e1"]);
}

#[test]
fn filters_that_cost_too_much_together_fail_and_the_others_dont() {
    let bomb = "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, a + b + c > 0)))";
    let subscriptions = (0..200)
        .map(|n| Subscription { on_error: OnError::Skip, ..subscription(&format!("s{n}"), bomb) });
    let mut rig = rig(TopicSettings::default(), subscriptions.collect());
    let queues = publish(&mut rig, "e1", "").queues;
    assert!((10..190).contains(&queues), "{queues}");
    let detail = rig.engine.topic_detail(&topic(), 199, 100).expect("the topic is there");
    let error = detail.subscriptions[0].last_error.clone().expect("it failed");
    assert_eq!(error, "the filters of this event cost more than they may together");
}

#[test]
fn a_queue_without_deduplication_gets_every_event() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", "")]);
    rig.put_queue("a", QueueSettings { dedup: Dedup::Off, ..QueueSettings::default() });
    assert!(!publish(&mut rig, "e1", "").duplicate);
    assert!(!publish(&mut rig, "e1", "").duplicate);
    assert_eq!(ids(&rig.store, "a").len(), 2);
}

#[test]
fn a_header_without_room_for_the_reason_stays_as_it_is() {
    let mut rig = rig(TopicSettings::default(), vec![subscription("a", "body.n > 1")]);
    let text = format!(r#"{{"id":"e1","pad":"{}"}}"#, "x".repeat(limits::MAX_HEADER_BYTES - 30));
    let header = Header::from_json(text.as_bytes()).expect("it fits");
    let content = Content { header: header.clone(), payload: Bytes::new() };
    publish_with(&mut rig, content, false);
    let dead = rig.store.queue_named("a.dead").expect("it was made");
    assert_eq!(dead.messages[&Seq(1)].newest().header, header);
}

#[test]
fn those_who_listen_get_what_is_published_once_also_if_no_queue_does() {
    let live = |effects: &[Effect]| {
        let told = |effect: &&Effect| matches!(effect, Effect::Live { .. });
        effects.iter().filter(told).count()
    };
    let options = EngineOptions { live: true, ..options(Vec::new()) };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    let nobody = publish_with(&mut rig, event("a", "{}"), false);
    assert_eq!(live(&nobody), 1);
    assert_eq!(live(&publish_with(&mut rig, event("b", "{}"), true)), 0, "it was refused");
    subscribe(&mut rig, subscription("q", ""));
    assert_eq!(live(&publish_with(&mut rig, event("c", "{}"), false)), 1);
    assert_eq!(live(&publish_with(&mut rig, event("c", "{}"), false)), 0, "a duplicate");
    assert_eq!(live(&publish_with(&mut bare(), event("d", "{}"), false)), 0, "nobody may listen");
}
