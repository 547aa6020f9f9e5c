//! Messages that an operator sends elsewhere.

use super::rig::{Rig, content, delivered, deliveries, operator, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    Content, Header, MovedTo, NackAction, Ordering, Origin, QueueSettings, Repair, RepairAction,
    RepairOutcome, RepairRefusal, Retry, Revision, Seq,
};

/// What an operator does to the message `seq` of the queue `from`.
fn repair(
    rig: &mut Rig,
    from: &str,
    seq: u64,
    action: RepairAction,
) -> Result<RepairOutcome, RepairRefusal> {
    let id = rig.engine.queue_id(&queue(from)).expect("it is there");
    let (seq, expect_revision) = (Seq(seq), Revision(0));
    let repair = Repair {
        key: format!("{from}-{seq}").parse().expect("a valid key"),
        actor: operator("ann"),
        queue: queue(from),
        seq,
        expect_revision,
        seen: rig.store.content(id, seq, expect_revision),
        action,
        reason: "because".to_owned(),
    };
    let told = rig.run(Event::Repair { origin: Origin(9), repair });
    let answer = told.into_iter().find_map(|effect| match effect {
        Effect::Repaired { outcome, .. } => Some(Ok(*outcome)),
        Effect::Refused { refusal, .. } => Some(Err(refusal)),
        _ => None,
    });
    answer.expect("a repair is answered")
}

fn dead_letter(rig: &Rig, name: &str, seq: u64) -> serde_json::Value {
    let kept = rig.store.queue_named(name).expect("it is there");
    kept.messages[&Seq(seq)].newest().header.to_map()["dead_letter"].clone()
}

fn to(name: &str, seq: u64) -> Option<MovedTo> {
    Some(MovedTo { queue: queue(name), seq: Seq(seq) })
}

#[test]
fn a_dead_letter_goes_back_with_its_id_to_the_end_of_its_queue_and_counts_on() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.send("q", "b");
    let first = delivered(&rig.ready(1, &["q"], 1));
    let second = delivered(&rig.nack_with(&first, NackAction::DeadLetter, None));
    let header = dead_letter(&rig, "q.dead", 1);
    assert_eq!(
        (header["count"].as_u64(), &header["error"]),
        (Some(1), &"exit-1: it failed".into())
    );
    let outcome = repair(&mut rig, "q.dead", 1, RepairAction::Move(None)).expect("it goes back");
    assert_eq!(outcome.moved, to("q", 3));
    assert_eq!(rig.view("q.dead").depth, 0);
    // It is known by its id there, and comes all the same.
    let third = delivered(&rig.ack(&second));
    assert_eq!((third.seq, third.payload.as_str()), (3, "a"));
    rig.nack_with(&third, NackAction::DeadLetter, None);
    let header = dead_letter(&rig, "q.dead", 2);
    assert_eq!(header["count"].as_u64(), Some(2));
    assert_eq!(header["first_error"], "exit-1: it failed");
    assert_eq!((&header["queue"], header["seq"].as_u64()), (&"q".into(), Some(3)));
}

#[test]
fn a_blocked_head_that_is_dead_lettered_lets_the_queue_go_on() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.send("q", "b");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&first);
    let outcome = repair(&mut rig, "q", 1, RepairAction::DeadLetter).expect("it goes");
    assert_eq!(outcome.moved, to("q.dead", 1));
    assert_eq!(rig.view("q").leased, 1, "the next one is delivered");
    let header = dead_letter(&rig, "q.dead", 1);
    assert_eq!(
        (&header["reason"], &header["error"]),
        (&"rejected".into(), &"exit-1: it failed".into())
    );
    let again = repair(&mut rig, "q", 1, RepairAction::DeadLetter).expect("the same key");
    assert_eq!(again, RepairOutcome { repeated: true, ..outcome });
    assert_eq!(rig.view("q.dead").depth, 1, "it acts once");
}

#[test]
fn a_message_with_a_worker_stays() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    delivered(&rig.ready(1, &["q"], 1));
    for action in [RepairAction::DeadLetter, RepairAction::Move(Some(queue("r")))] {
        let refusal = repair(&mut rig, "q", 1, action).unwrap_err();
        assert!(refusal.to_string().contains("a worker has it now"), "{refusal}");
    }
}

#[test]
fn a_move_that_its_queue_refuses_changes_nothing() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("full", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send_many(&[("q", "a"), ("full", "x")]);
    for (target, why) in [
        (Some("full"), "takes at most 1 messages"),
        (Some("q"), "it is in q already"),
        (Some("unknown"), "there is no queue unknown"),
        (None, "a is no dead letter"),
    ] {
        let refusal = repair(&mut rig, "q", 1, RepairAction::Move(target.map(queue))).unwrap_err();
        assert!(refusal.to_string().contains(why), "{refusal}");
        assert_eq!(rig.view("q").depth, 1);
    }
}

#[test]
fn a_message_that_waits_for_its_next_attempt_goes_on_after_a_refused_move() {
    let retry = Retry { attempts: 2, ..Retry::default() };
    let free = QueueSettings { ordering: Ordering::None, retry, ..QueueSettings::default() };
    let mut rig = Rig::new(free);
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    assert_eq!(deliveries(&rig.nack_with(&first, NackAction::Retry, Some(1_000))), []);
    repair(&mut rig, "q", 1, RepairAction::Move(Some(queue("q")))).expect_err("it is there");
    assert_eq!(delivered(&rig.pass(1_000)).attempt, 2);
}

#[test]
fn a_full_queue_takes_no_dead_letter_back_though_it_knows_the_id() {
    let mut rig = Rig::new(QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send("q", "a");
    repair(&mut rig, "q", 1, RepairAction::DeadLetter).expect("it goes");
    rig.send("q", "b");
    let refusal = repair(&mut rig, "q.dead", 1, RepairAction::Move(None)).unwrap_err();
    assert!(refusal.to_string().contains("takes at most 1 messages"), "{refusal}");
}

#[test]
fn a_dead_letter_queue_has_no_dead_letter_queue() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    repair(&mut rig, "q", 1, RepairAction::DeadLetter).expect("it goes");
    let refusal = repair(&mut rig, "q.dead", 1, RepairAction::DeadLetter).unwrap_err();
    assert!(refusal.to_string().contains("it is a dead-letter queue itself"), "{refusal}");
}

#[test]
fn a_blocked_keys_next_message_goes_when_the_first_is_moved() {
    let keyed = QueueSettings { ordering: Ordering::Key, ..QueueSettings::default() };
    let mut rig = Rig::new(keyed);
    rig.put_queue("other", QueueSettings::default());
    let of_key = |id: &str| {
        let fields = [("id".to_owned(), id.into()), ("key".to_owned(), "k".into())];
        let header = Header::from_map(fields.into_iter().collect(), || unreachable!("it has one"));
        Content { header: header.expect("valid"), ..content(id, id) }
    };
    let messages = ["a", "b", "c"].map(|id| (queue("q"), of_key(id))).into();
    rig.run(Event::Send { origin: Origin(1), messages, call: None });
    let first = delivered(&rig.ready(1, &["q"], 4));
    assert_eq!(deliveries(&rig.nack(&first)), [], "the key stands");
    repair(&mut rig, "q", 2, RepairAction::Move(Some(queue("other")))).expect("not its turn yet");
    repair(&mut rig, "q", 1, RepairAction::Move(Some(queue("other")))).expect("it goes");
    let view = rig.view("q");
    assert_eq!((view.depth, view.leased, view.blocked), (1, 1, 0));
    assert_eq!(rig.view("other").depth, 2);
}

#[test]
fn a_caller_hears_that_the_message_went_elsewhere() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("other", QueueSettings::default());
    rig.call(7, "a", 60_000);
    let id = rig.engine.queue_id(&queue("q")).expect("it is there");
    let repair = Repair {
        key: "k".parse().expect("a valid key"),
        actor: operator("ann"),
        queue: queue("q"),
        seq: Seq(1),
        expect_revision: Revision(0),
        seen: rig.store.content(id, Seq(1), Revision(0)),
        action: RepairAction::Move(Some(queue("other"))),
        reason: String::new(),
    };
    let told = rig.run(Event::Repair { origin: Origin(9), repair });
    let ended = told.iter().find_map(|effect| match effect {
        Effect::CallEnded { origin: Origin(7), reply } => reply.error.clone(),
        _ => None,
    });
    assert_eq!(
        ended.expect("the call fails").message,
        "an operator moved the message; it is other 1"
    );
}

#[test]
fn a_stopping_broker_moves_nothing() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("other", QueueSettings::default());
    rig.send("q", "a");
    rig.run(Event::Shutdown);
    let refusal = repair(&mut rig, "q", 1, RepairAction::Move(Some(queue("other")))).unwrap_err();
    assert!(refusal.to_string().contains("stops"), "{refusal}");
    assert_eq!(rig.view("q").depth, 1);
}
