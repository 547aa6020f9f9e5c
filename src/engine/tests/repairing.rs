//! Repairs, revisions, holds.

use bytes::Bytes;

use super::rig::{Rig, delivered, deliveries, notices, operator, queue};
use crate::engine::{Effect, HoldAnswer, NotedQuery};
use crate::model::{
    Edit, JournalKind, MessageState, Notice, Ordering, QueueSettings, Repair, RepairAction,
    RepairOutcome, RepairRefusal, Retry, Revision, Seq,
};

fn edit(payload: &str) -> Edit {
    Edit { payload: Bytes::copy_from_slice(payload.as_bytes()), header: None }
}

fn outcome(effects: &[Effect]) -> RepairOutcome {
    let repaired = effects.iter().find_map(|effect| match effect {
        Effect::Repaired { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    *repaired.unwrap_or_else(|| panic!("{effects:?}"))
}

fn refusal(effects: &[Effect]) -> RepairRefusal {
    match effects {
        [Effect::Refused { refusal, .. }] => refusal.clone(),
        other => panic!("{other:?}"),
    }
}

fn kinds(rig: &Rig) -> Vec<JournalKind> {
    rig.store.journal.iter().skip(1).map(|entry| entry.kind).collect()
}

/// A queue `q` with a, b, c, blocked by a, worker 1 there.
fn blocked() -> Rig {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")]);
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&a);
    rig
}

#[test]
fn a_blocked_message_is_edited_retried_and_the_queue_goes_on() {
    let mut rig = blocked();
    let effects = rig.repair("k", 1, 0, RepairAction::SaveAndRetry(edit("better")));
    let again = delivered(&effects);
    assert_eq!((again.seq, again.attempt, again.payload.as_str()), (1, 2, "better"));
    let outcome = outcome(&effects);
    assert_eq!((outcome.revision, outcome.repeated), (Revision(1), false));
    let after = rig.ack(&again);
    assert!(notices(&after).iter().any(|it| matches!(it, Notice::Recovered { .. })));
    assert_eq!(delivered(&after).seq, 2);
    assert_eq!(kinds(&rig), [JournalKind::Blocked, JournalKind::SavedAndRetried]);
}

#[test]
fn those_who_watch_are_told_once_when_nothing_is_blocked_any_more() {
    let unblocked = |effects: &[Effect]| {
        let told = notices(effects);
        told.iter().filter(|it| matches!(it, Notice::Unblocked { .. })).count()
    };
    for action in [RepairAction::Retry, RepairAction::Cancel] {
        let mut rig = blocked();
        assert_eq!(unblocked(&rig.repair("k", 1, 0, RepairAction::Save(edit("better")))), 0);
        assert_eq!(unblocked(&rig.repair("l", 1, 1, action)), 1);
    }
    let settings = QueueSettings { ordering: Ordering::None, ..QueueSettings::default() };
    let mut rig = Rig::new(settings);
    rig.send_many(&[("q", "a"), ("q", "b")]);
    for delivery in deliveries(&rig.ready(1, &["q"], 2)) {
        rig.nack(&delivery);
    }
    assert_eq!(unblocked(&rig.repair("k", 1, 0, RepairAction::Retry)), 0, "b still is");
    assert_eq!(unblocked(&rig.repair("l", 2, 0, RepairAction::Cancel)), 1);
}

#[test]
fn a_repair_acts_once_also_after_a_restart() {
    let mut rig = blocked();
    let first = outcome(&rig.repair("k", 1, 0, RepairAction::Save(edit("x"))));
    for _ in 0..2 {
        let again = outcome(&rig.repair("k", 1, 0, RepairAction::Save(edit("x"))));
        assert_eq!(again, RepairOutcome { repeated: true, ..first.clone() });
        rig.restart();
    }
    assert_eq!(rig.store.repairs.len(), 1);
    let other = refusal(&rig.repair("k", 2, 0, RepairAction::Retry));
    assert_eq!(other, RepairRefusal::KeyReused);
}

#[test]
fn a_repair_of_what_changed_meanwhile_is_refused() {
    let mut rig = blocked();
    rig.repair_by("bob", "k1", 1, 0, RepairAction::Save(edit("x")));
    let changed = RepairRefusal::Changed {
        expected: Revision(0),
        current: Revision(1),
        by: Some(operator("bob")),
    };
    assert_eq!(refusal(&rig.repair("k2", 1, 0, RepairAction::Retry)), changed);
    outcome(&rig.repair("k2", 1, 1, RepairAction::Retry));
}

#[test]
fn an_unedited_retry_starts_attempts_again() {
    let retry = Retry { attempts: 2, jitter: 0.0, ..Retry::default() };
    let mut rig = Rig::new(QueueSettings { retry, ..QueueSettings::default() });
    rig.send("q", "a");
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&a);
    let a = delivered(&rig.repair("k1", 1, 0, RepairAction::Retry));
    assert_eq!(a.attempt, 2, "a waiting message may be retried at once");
    rig.nack(&a);
    assert_eq!(rig.view("q").head.expect("a head").state, MessageState::Waiting);
    let ready = refusal(&rig.repair("k2", 9, 0, RepairAction::Retry));
    assert!(matches!(ready, RepairRefusal::NoSuchMessage { seq: Seq(9), .. }));
}

#[test]
fn a_leased_message_cannot_be_repaired() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.ready(1, &["q"], 1);
    for action in [RepairAction::Save(edit("x")), RepairAction::Retry, RepairAction::Cancel] {
        let refusal = refusal(&rig.repair("k", 1, 0, action));
        assert!(matches!(refusal, RepairRefusal::State { state: MessageState::Leased, .. }));
    }
}

#[test]
fn a_cancelled_head_lets_its_successor_go_and_is_past_restoring_then() {
    let mut rig = blocked();
    let effects = rig.repair("k1", 1, 0, RepairAction::Cancel);
    assert_eq!(outcome(&effects).state, MessageState::Cancelled);
    assert_eq!(delivered(&effects).seq, 2);
    let refusal = refusal(&rig.repair("k2", 1, 0, RepairAction::Restore));
    assert!(refusal.to_string().contains("order"), "{refusal}");
    assert_eq!(rig.view("q").depth, 2);
}

#[test]
fn a_cancelled_message_goes_back_to_its_place_as_it_was() {
    let mut rig = blocked();
    rig.pause(true);
    rig.repair("k1", 1, 0, RepairAction::Cancel);
    rig.restart();
    let view = rig.view("q");
    assert_eq!((view.depth, view.head.expect("a head").seq), (2, Seq(2)));
    let overlay = rig.engine.message_overlay(&queue("q"), Seq(1)).expect("can be restored");
    assert_eq!(overlay.state, MessageState::Cancelled);
    assert!(overlay.undo.is_some());
    assert_eq!(
        outcome(&rig.repair("k2", 1, 0, RepairAction::Restore)).state,
        MessageState::Blocked
    );
    rig.pause(false);
    assert!(deliveries(&rig.ready(1, &["q"], 1)).is_empty(), "it blocks the queue again");
    assert_eq!(rig.view("q").depth, 3);
}

#[test]
fn a_cancelled_last_message_waits_for_a_successor() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.repair("k1", 1, 0, RepairAction::Cancel);
    rig.ready(1, &["q"], 1);
    assert_eq!(rig.view("q").depth, 0);
    assert_eq!(delivered(&rig.repair("k2", 1, 0, RepairAction::Restore)).seq, 1);
}

#[test]
fn messages_deep_in_the_backlog_can_be_repaired() {
    let mut rig = blocked();
    outcome(&rig.repair("k1", 3, 0, RepairAction::Save(edit("cc"))));
    outcome(&rig.repair("k2", 2, 0, RepairAction::Cancel));
    let a = delivered(&rig.repair("k3", 1, 0, RepairAction::Retry));
    let overlay = rig.engine.message_overlay(&queue("q"), Seq(1)).expect("unfinished");
    assert_eq!((overlay.behind, overlay.attempt), (1, 2));
    let c = delivered(&rig.ack(&a));
    assert_eq!((c.seq, c.payload.as_str()), (3, "cc"));
    rig.ack(&c);
    assert_eq!(rig.view("q").bytes, 0);
}

#[test]
fn a_save_can_be_undone_by_a_further_revision() {
    let mut rig = blocked();
    let never = refusal(&rig.repair("k0", 1, 0, RepairAction::UndoSave(edit("a"))));
    assert!(matches!(never, RepairRefusal::State { .. }));
    rig.repair("k1", 1, 0, RepairAction::Save(edit("worse")));
    let undone = outcome(&rig.repair("k2", 1, 1, RepairAction::UndoSave(edit("a"))));
    assert_eq!(undone.revision, Revision(2));
    let overlay = rig.engine.message_overlay(&queue("q"), Seq(1)).expect("unfinished");
    assert_eq!(overlay.undo, None, "what was undone is not undone again");
    let twice = refusal(&rig.repair("k4", 1, 2, RepairAction::UndoSave(edit("worse"))));
    assert!(matches!(twice, RepairRefusal::State { .. }));
    let again = delivered(&rig.repair("k3", 1, 2, RepairAction::Retry));
    assert_eq!(again.payload, "a");
    assert_eq!(kinds(&rig)[2], JournalKind::RevisionUndone);
}

#[test]
fn an_edit_may_not_change_the_id() {
    let mut rig = blocked();
    let header = serde_json::Map::from_iter([("id".to_owned(), "other".into())]);
    let edit = Edit { payload: Bytes::new(), header: Some(header) };
    let refusal = refusal(&rig.repair("k", 1, 0, RepairAction::Save(edit)));
    assert!(matches!(refusal, RepairRefusal::Invalid { .. }));
}

#[test]
fn a_hold_stops_the_automatic_retry_until_it_ends() {
    let retry = Retry { attempts: 3, jitter: 0.0, ..Retry::default() };
    let mut rig = Rig::new(QueueSettings { retry, ..QueueSettings::default() });
    rig.send("q", "a");
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&a);
    assert!(matches!(
        rig.hold("ann", 1, 3_000).as_slice(),
        [Effect::Held { answer: HoldAnswer::Held(_), .. }]
    ));
    assert!(deliveries(&rig.pass(2_000)).is_empty());
    assert!(matches!(refusal(&rig.hold("bob", 1, 3_000)), RepairRefusal::Held { .. }));
    let by_bob = rig.repair_by("bob", "k", 1, 0, RepairAction::Retry);
    assert!(matches!(refusal(&by_bob), RepairRefusal::Held { .. }));
    assert_eq!(delivered(&rig.pass(1_000)).attempt, 2);
}

#[test]
fn a_repair_or_a_release_ends_the_hold() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.hold("ann", 1, 60_000);
    assert!(deliveries(&rig.ready(1, &["q"], 1)).is_empty());
    let a = delivered(&rig.hold("ann", 1, 0));
    rig.nack(&a);
    rig.hold("ann", 1, 60_000);
    assert_eq!(delivered(&rig.repair("k", 1, 0, RepairAction::Retry)).seq, 1);
}

#[test]
fn a_rehearsal_changes_nothing() {
    let mut rig = blocked();
    let before = rig.view("q");
    let id = rig.engine.queue_id(&queue("q")).expect("the queue");
    let repair = Repair {
        key: "k".parse().expect("valid"),
        actor: operator("ann"),
        queue: queue("q"),
        seq: Seq(1),
        expect_revision: Revision(0),
        seen: rig.store.content(id, Seq(1), Revision(0)),
        action: RepairAction::Cancel,
        reason: "because".to_owned(),
    };
    assert_eq!(rig.engine.rehearse(&repair), Ok(()));
    assert_eq!(rig.view("q"), before);
    let moved = Repair { action: RepairAction::Move(Some(queue("q"))), ..repair };
    assert!(matches!(rig.engine.rehearse(&moved), Err(RepairRefusal::Invalid { .. })));
    outcome(&rig.repair("k", 1, 0, RepairAction::Cancel));
}

#[test]
fn messages_with_a_record_or_a_lease_are_found_by_place() {
    let settings = QueueSettings { ordering: Ordering::None, ..QueueSettings::default() };
    let mut rig = Rig::new(settings);
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c"), ("q", "d"), ("q", "e")]);
    let given = deliveries(&rig.ready(1, &["q"], 4));
    rig.nack(&given[1]);
    rig.nack(&given[3]);
    let noted = |rig: &Rig, from, looks, state, failed| {
        let asked = NotedQuery { from: Seq(from), looks, state, failed };
        let (found, next) = rig.engine.noted(&queue("q"), &asked).expect("the queue");
        (found.iter().map(|noted| noted.seq.0).collect::<Vec<_>>(), next.map(|seq| seq.0))
    };
    let blocked = Some(MessageState::Blocked);
    assert_eq!(noted(&rig, 1, 9, blocked, false), (vec![2, 4], None));
    assert_eq!(noted(&rig, 3, 9, None, true), (vec![4], None));
    assert_eq!(noted(&rig, 1, 1, blocked, false), (vec![2], Some(4)), "one was looked at");
    let leased = noted(&rig, 1, 9, Some(MessageState::Leased), false).0;
    assert!(leased.starts_with(&[1, 3]), "{leased:?}");
    assert_eq!(noted(&rig, 1, 9, Some(MessageState::Leased), true).0, Vec::<u64>::new());
    assert_eq!(noted(&rig, 1, 9, Some(MessageState::Cancelled), false), (vec![], None));
    let asked = NotedQuery { from: Seq(1), looks: 9, state: None, failed: true };
    let (found, _) = rig.engine.noted(&queue("q"), &asked).expect("the queue");
    let error = found[0].error.as_ref().expect("it failed");
    assert!(error.detail.is_empty() && !error.code.is_empty() && found[0].failed_at.is_some());
    assert_eq!(rig.engine.noted(&queue("none"), &asked), None);
}
