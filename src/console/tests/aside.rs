//! Events and patterns: what they show, and where they lead.

use crate::admin::dto::{
    GatherPage, JournalKind, Notice, SagaName, SagaPage, Seq, StreamEvent, TopicPage, told,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::command::Screen;
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, entry, error, id, name};
use crate::console::model::{PatternPage, PatternRead};
use crate::console::theme::Theme;

pub(super) fn happen(stage: &mut Stage) {
    let blocked = entry(9, JournalKind::Blocked, "orders", Some(3), "exit-1: total\u{1b}[2J");
    let failed = Notice::AttemptFailed {
        queue: name("orders"),
        seq: Seq(3),
        id: id(3),
        attempt: 1,
        error: error(),
        retry_in_ms: 1_500,
    };
    let saga = SagaName::new("order-fulfilment").unwrap();
    let parked =
        Notice::SagaParked { id: id(3), saga, step: "charge-card".to_owned(), error: error() };
    let queues = vec![name("orders"), name("invoices")];
    for notice in [
        Notice::WorkerReady { name: "connector-2".to_owned(), queues },
        failed,
        Notice::Journal { entry: blocked },
        parked,
        Notice::Unblocked { queue: name("email") },
    ] {
        stage.hear(told(notice));
    }
}

fn heard(keys: &[&str]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    happen(&mut stage);
    stage.keys(keys);
    stage
}

#[test]
fn an_event_leads_to_what_it_is_about() {
    let stage = heard(&["6", "<Enter>"]);
    assert_eq!(
        stage.model.queue.as_ref().map(|queue| queue.name.to_string()),
        Some("email".into())
    );
    let stage = heard(&["6", "k", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Patterns);
    assert!(stage.screen().contains("r tries again"), "{}", stage.screen());
    let stage = heard(&["6", "kk", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Message);
    let stage = heard(&["6", "g", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Workers);
    assert_eq!(stage.model.workers.selected().map(|w| w.name.as_str()), Some("connector-2"));
}

#[test]
fn an_event_of_what_is_gone_leads_to_where_it_is_now_or_says_so() {
    let mut stage = heard(&["6"]);
    let (reason, lost) = ("disconnected".to_owned(), 0);
    stage.hear(told(Notice::WorkerGone { name: "gone-1".to_owned(), reason, lost }));
    stage.keys(&["G", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Events);
    assert!(stage.screen().contains("gone-1 is not connected now"), "{}", stage.screen());
    stage.hear(told(Notice::DeadLettered {
        queue: name("orders"),
        seq: Some(Seq(3)),
        topic: None,
        id: "m-3".parse().expect("an id"),
        reason: "rejected".to_owned(),
        to: name("orders.dead"),
        to_seq: Seq(9),
    }));
    stage.keys(&["G", "<Enter>"]);
    let shown = stage.model.message.as_ref().map(|screen| screen.message.to_string());
    assert_eq!(shown.as_deref(), Some("orders.dead #9"));
}

#[test]
fn events_stand_still_while_one_is_looked_at() {
    let mut stage = heard(&["6", "k"]);
    stage.hear(told(Notice::Unblocked { queue: name("later") }));
    let screen = stage.screen();
    assert!(screen.contains("STANDS STILL, 2 below"), "{screen}");
    stage.keys(&["G"]);
    assert!(stage.screen().contains("follows, 6 events"), "{}", stage.screen());
}

#[test]
fn events_that_were_missed_are_told() {
    let mut stage = heard(&["6"]);
    stage.hear(StreamEvent::Lagged { missed: 12 });
    let lost = Action::Lost { reason: String::new(), failures: 1, retry_in_ms: 1, refused: false };
    stage.act(lost);
    stage.act(Action::Connected);
    let screen = stage.screen();
    assert!(screen.contains("12 were missed") && screen.contains("connected again"), "{screen}");
}

#[test]
fn a_filter_of_events_takes_and_negates() {
    let stage = heard(&["6", "/", "saga", "<Enter>"]);
    let screen = stage.screen();
    assert!(screen.contains("saga-parked") && !screen.contains("worker-ready"), "{screen}");
    let stage = heard(&["6", "/", "!saga", "<Enter>"]);
    let screen = stage.screen();
    assert!(!screen.contains("saga-parked") && screen.contains("worker-ready"), "{screen}");
}

#[test]
fn patterns_lead_to_the_queue_or_the_message_behind() {
    let stage = heard(&["7", "j", "<Enter>"]);
    assert_eq!(
        stage.model.queue.as_ref().map(|queue| queue.name.to_string()),
        Some("billing".into())
    );
    let stage = heard(&["7", "l", "<Enter>"]);
    let message = stage.model.message.as_ref().map(|screen| screen.message.to_string());
    assert_eq!(message.as_deref(), Some("carrier-b #8"));
    let stage = heard(&["7", "h", "<Enter>"]);
    let message = stage.model.message.as_ref().map(|screen| screen.message.to_string());
    assert_eq!(message.as_deref(), Some("charge-card #3"));
}

#[test]
fn patterns_are_read_while_they_are_shown_and_only_what_moves_again() {
    let asked = |stage: &Stage| {
        let asks = |effect: &&Effect| matches!(effect, Effect::Ask(_, Request::Patterns(_)));
        stage.effects.iter().filter(asks).count()
    };
    let mut stage = heard(&[]);
    stage.wait(10_000);
    assert_eq!(asked(&stage), 0, "nobody looks");
    stage.press(&["7"]);
    assert_eq!(asked(&stage), 3);
    stage.serve();
    stage.press(&["h"]);
    stage.wait(2_000);
    assert_eq!(asked(&stage), 1, "sagas are under way");
    stage.serve();
    stage.press(&["1"]);
    stage.wait(10_000);
    assert_eq!(asked(&stage), 0);
}

#[test]
fn patterns_that_cannot_be_read_say_so_and_can_be_read_again() {
    let mut stage = heard(&[]);
    stage.press(&["7"]);
    let asked: Vec<_> = std::mem::take(&mut stage.effects);
    for effect in asked {
        if let Effect::Ask(request, Request::Patterns(_)) = effect {
            let reply = Err(Failure::Unknown("it does not answer".to_owned()));
            stage.act(Action::Reply { request, reply });
        }
    }
    stage.wait(60_000);
    assert!(stage.effects.is_empty(), "nothing is asked for again by itself");
    let screen = stage.screen();
    assert!(screen.contains("it does not answer") && screen.contains("^R"), "{screen}");
    stage.act(Action::Stream(Box::new(StreamEvent::Listed)));
    stage.keys(&["^r"]);
    assert!(stage.screen().contains("order.created"), "{}", stage.screen());
}

#[test]
fn patterns_of_a_broker_without_any_say_what_to_type() {
    let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
    stage.press(&["7"]);
    loop {
        let asked = std::mem::take(&mut stage.effects);
        if asked.is_empty() {
            break;
        }
        for effect in asked {
            let Effect::Ask(request, Request::Patterns(read)) = effect else { continue };
            let page = match read {
                PatternRead::Topics(_) => PatternPage::Topics(TopicPage {
                    topics: Vec::new(),
                    next_after: None,
                    unknown: 0,
                }),
                PatternRead::Gathers(_) => PatternPage::Gathers(GatherPage::default()),
                PatternRead::Sagas(_) => PatternPage::Sagas(SagaPage::default()),
            };
            stage.act(Action::Reply { request, reply: Ok(Reply::Patterns(page)) });
        }
    }
    for (name, key) in [("topics-empty", "^l"), ("gathers-empty", "l"), ("sagas-empty", "l")] {
        stage.press(&[key]);
        insta::assert_snapshot!(name, stage.screen());
    }
}

#[test]
fn the_new_screens_when_empty_stale_and_in_ascii() {
    let mut stage = Stage::new((80, 24), |setup| setup.theme = Theme::new(false, true));
    stage.keys(&["7"]);
    assert!(stage.screen().contains("reading"), "{}", stage.screen());
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["6"]);
    insta::assert_snapshot!("events-empty", stage.screen());
    happen(&mut stage);
    stage.wait(5_000);
    insta::assert_snapshot!("events-stale", stage.screen());
}
