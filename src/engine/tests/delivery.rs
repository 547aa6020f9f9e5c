//! Order, turns, leases, retries.

use std::collections::BTreeSet;

use serde_json::json;

use super::rig::{Delivered, Rig, content, delivered, deliveries, notices, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    AckMode, AttemptEnd, JournalKind, MessageState, NackAction, Notice, Ordering, Origin,
    QueueSettings, QueueState, Retry, WorkerId, WorkerInfo, WorkerState, limits,
};

fn retrying(attempts: u32) -> QueueSettings {
    let retry = Retry { attempts, jitter: 0.0, ..Retry::default() };
    QueueSettings { retry, ..QueueSettings::default() }
}

/// A queue `q` with messages a, b, c, of which worker 1 has a.
fn with_a_leased(settings: QueueSettings) -> (Rig, Delivered) {
    let mut rig = Rig::new(settings);
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")]);
    let a = delivered(&rig.ready(1, &["q"], 8));
    (rig, a)
}

#[test]
fn messages_go_one_after_the_other_in_order() {
    let (mut rig, a) = with_a_leased(QueueSettings::default());
    assert_eq!((a.seq, a.attempt, a.payload.as_str()), (1, 1, "a"));
    let b = delivered(&rig.ack(&a));
    let c = delivered(&rig.ack(&b));
    assert_eq!((b.seq, c.seq), (2, 3));
    assert!(deliveries(&rig.ack(&c)).is_empty());
    let view = rig.view("q");
    assert_eq!((view.depth, view.bytes, view.done, view.oldest_at), (0, 0, 3, None));
}

#[test]
fn queues_take_turns_at_a_busy_worker() {
    let mut rig = Rig::new(QueueSettings::default());
    for name in ["p", "r"] {
        rig.put_queue(name, QueueSettings::default());
    }
    rig.ready(1, &["p", "q", "r"], 1);
    let mut now = delivered(&rig.send_many(&[("p", "1"), ("p", "2")]));
    rig.send_many(&[("q", "1"), ("q", "2"), ("r", "1"), ("r", "2")]);
    let mut order = vec![now.queue.clone()];
    for _ in 0..5 {
        now = delivered(&rig.ack(&now));
        order.push(now.queue.clone());
    }
    assert_eq!(order, ["p", "q", "r", "p", "q", "r"]);
}

#[test]
fn queues_take_turns_over_all_workers_together() {
    let none = QueueSettings { ordering: Ordering::None, ..QueueSettings::default() };
    let mut rig = Rig::new(none.clone());
    for name in ["p", "r"] {
        rig.put_queue(name, none.clone());
    }
    for worker in 1..=3 {
        rig.ready(worker, &["p", "q", "r"], 1);
    }
    let ids = ["1", "2", "3", "4", "5", "6", "7"];
    let messages: Vec<_> = ["p", "q", "r"].iter().flat_map(|&q| ids.map(|id| (q, id))).collect();
    let mut held = deliveries(&rig.send_many(&messages));
    held.sort_by_key(|one| one.worker);
    let mut order = Vec::new();
    // One worker does much, the others little: what it was given of a queue counts at theirs, too.
    for at in [0, 0, 0, 0, 1, 2, 0, 2, 1] {
        let next = delivered(&rig.ack(&held[at]));
        order.push(next.queue.clone());
        held[at] = next;
    }
    let rotated: Vec<_> = order.iter().take(3).cycle().take(9).cloned().collect();
    assert_eq!(order, rotated, "each queue once before any has its next turn");
    assert_eq!(order[..3].iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn the_least_recently_used_worker_is_next() {
    let mut rig = Rig::new(QueueSettings::default());
    for worker in 1..=3 {
        rig.ready(worker, &["q"], 1);
    }
    let mut workers = Vec::new();
    for id in ["a", "b", "c", "d"] {
        let delivered = delivered(&rig.send("q", id));
        workers.push(delivered.worker);
        rig.ack(&delivered);
    }
    assert_eq!(workers, [1, 2, 3, 1]);
}

#[test]
fn a_queue_keeps_its_turn_while_it_is_loaded() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("r", QueueSettings::default());
    rig.put_queue("s", QueueSettings::default());
    rig.send_many(&[("q", "1"), ("q", "2"), ("q", "3"), ("r", "1"), ("s", "1")]);
    let mut now = delivered(&rig.ready(1, &["q", "r", "s"], 1));
    let mut order = vec![now.queue.clone()];
    for _ in 0..4 {
        now = delivered(&rig.ack(&now));
        order.push(now.queue.clone());
    }
    // While r is read, q's second message goes; then r and s are first, since they have waited longest.
    assert_eq!(order, ["q", "q", "r", "s", "q"]);
}

#[test]
fn a_workers_credit_bounds_what_it_has() {
    let mut rig = Rig::new(QueueSettings::default());
    for name in ["p", "r"] {
        rig.put_queue(name, QueueSettings::default());
    }
    rig.send_many(&[("p", "1"), ("q", "2"), ("r", "3")]);
    let two = deliveries(&rig.ready(1, &["p", "q", "r"], 2));
    assert_eq!(two.len(), 2);
    assert_eq!(delivered(&rig.ack(&two[0])).queue, "r");
}

#[test]
fn a_worker_may_serve_a_queue_before_it_is_made() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["later"], 1);
    rig.put_queue("later", QueueSettings::default());
    assert_eq!(delivered(&rig.send("later", "a")).worker, 1);
    assert_eq!(rig.view("later").workers, 1);
}

#[test]
fn a_failed_head_holds_the_queue_through_its_back_off() {
    let (mut rig, a) = with_a_leased(retrying(3));
    assert!(deliveries(&rig.nack(&a)).is_empty());
    assert_eq!(rig.view("q").head.expect("a head").state, MessageState::Waiting);
    assert!(deliveries(&rig.pass(999)).is_empty());
    let again = delivered(&rig.pass(1));
    assert_eq!((again.seq, again.attempt), (1, 2));
    assert_ne!(again.delivery, a.delivery);
    rig.nack(&again);
    assert!(deliveries(&rig.pass(1_999)).is_empty());
    assert_eq!(delivered(&rig.pass(1)).attempt, 3);
}

#[test]
fn a_queue_blocks_when_attempts_are_used_up_and_publishing_goes_on() {
    let (mut rig, a) = with_a_leased(retrying(1));
    rig.nack(&a);
    let view = rig.view("q");
    assert_eq!((view.state, view.blocked, view.failed), (QueueState::Blocked, 1, 1));
    assert_eq!(rig.store.journal.last().map(|entry| entry.kind), Some(JournalKind::Blocked));
    assert_eq!(rig.store.journal.last().expect("an entry").reason, "exit-1: it failed");
    assert!(matches!(rig.send("q", "d").as_slice(), [Effect::Accepted { .. }]));
    assert!(deliveries(&rig.pass(1_000_000)).is_empty());
    rig.restart();
    assert_eq!(rig.view("q").state, QueueState::Blocked);
    assert!(deliveries(&rig.ready(1, &["q"], 1)).is_empty());
}

#[test]
fn a_nack_may_ask_for_its_own_pause_or_a_block() {
    let (mut rig, a) = with_a_leased(retrying(9));
    rig.nack_with(&a, NackAction::Retry, Some(5));
    let again = delivered(&rig.pass(5));
    rig.nack_with(&again, NackAction::Block, None);
    assert_eq!(rig.view("q").state, QueueState::Blocked);
}

#[test]
fn a_lost_workers_message_is_delivered_again_with_a_new_epoch() {
    let (mut rig, a) = with_a_leased(retrying(1));
    rig.ready(2, &["q"], 1);
    let again = delivered(&rig.gone(1));
    assert_eq!((again.worker, again.seq, again.attempt), (2, 1, 2));
    let late = rig.ack(&Delivered { worker: 1, ..a });
    assert!(matches!(late.first(), Some(Effect::Stale { worker: WorkerId(1), .. })));
    assert_eq!(delivered(&rig.ack(&again)).seq, 2);
}

#[test]
fn a_message_that_kills_its_workers_blocks_after_five() {
    let (mut rig, _) = with_a_leased(retrying(1));
    for worker in 2..=5 {
        rig.gone(worker - 1);
        assert_eq!(delivered(&rig.ready(worker, &["q"], 1)).attempt, worker as u32);
    }
    rig.gone(5);
    let head = rig.view("q").head.expect("a head");
    assert_eq!((head.state, head.attempt), (MessageState::Blocked, 5));
    let text = head.error.expect("an error").message;
    assert!(text.starts_with("5 workers in a row were lost"), "{text}");
}

#[test]
fn a_worker_that_says_bye_answers_what_it_holds_and_gets_nothing_more() {
    let (mut rig, a) = with_a_leased(retrying(1));
    assert_eq!(rig.run(Event::WorkerBye { worker: WorkerId(1) }), []);
    assert_eq!(rig.engine.worker_views()[0].state, WorkerState::Draining);
    let after = rig.ack(&a);
    assert!(deliveries(&after).is_empty(), "{after:?}");
    assert!(after.contains(&Effect::DropWorker { worker: WorkerId(1), reason: "bye" }));
    assert!(rig.engine.worker_views().is_empty());
    let view = rig.view("q");
    assert_eq!((view.done, view.failed, view.depth), (1, 0, 2));
    assert_eq!(delivered(&rig.ready(2, &["q"], 1)).attempt, 1);
}

#[test]
fn a_worker_that_says_bye_and_leaves_without_an_answer_is_lost() {
    let (mut rig, _) = with_a_leased(retrying(1));
    rig.run(Event::WorkerBye { worker: WorkerId(1) });
    rig.gone(1);
    assert_eq!(delivered(&rig.ready(2, &["q"], 1)).attempt, 2);
}

#[test]
fn an_idle_worker_that_says_bye_is_gone_at_once() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let told = rig.run(Event::WorkerBye { worker: WorkerId(1) });
    assert!(told.contains(&Effect::DropWorker { worker: WorkerId(1), reason: "bye" }), "{told:?}");
    assert!(deliveries(&rig.send("q", "a")).is_empty());
}

#[test]
fn a_silent_worker_is_dropped_and_a_heard_one_is_not() {
    let (mut rig, _) = with_a_leased(retrying(1));
    rig.pass(7_000);
    rig.run(Event::WorkerHeard { worker: WorkerId(1) });
    assert!(rig.pass(7_000).is_empty());
    let effects = rig.pass(500);
    assert!(effects.contains(&Effect::DropWorker { worker: WorkerId(1), reason: "silent" }));
    assert!(rig.engine.worker_views().is_empty());
    assert_eq!(rig.view("q").head.expect("a head").state, MessageState::Ready);
}

#[test]
fn a_stuck_worker_keeps_its_credit_occupied_until_it_answers() {
    let (mut rig, _) = with_a_leased(retrying(2));
    rig.gone(1);
    let a = delivered(&rig.ready(2, &["q"], 1));
    for _ in 0..5 {
        rig.run(Event::WorkerHeard { worker: WorkerId(2) });
        rig.pass(6_000);
    }
    let view = rig.view("q");
    let overlay = rig.engine.message_overlay(&queue("q"), a_seq()).expect("unfinished");
    let failure = overlay.record.and_then(|record| record.failures.back().cloned());
    assert_eq!(failure.map(|failure| failure.end), Some(AttemptEnd::LeaseOver));
    assert_eq!(view.head.expect("a head").state, MessageState::Waiting);
    assert_eq!(rig.engine.worker_views()[0].state, WorkerState::Stuck);
    rig.run(Event::WorkerHeard { worker: WorkerId(2) });
    assert!(deliveries(&rig.pass(1_000)).is_empty(), "its credit is used up");
    let after = rig.ack(&a);
    assert!(matches!(after.first(), Some(Effect::Stale { .. })));
    assert_eq!(delivered(&after).attempt, 3);
}

fn a_seq() -> crate::model::Seq {
    crate::model::Seq(1)
}

#[test]
fn progress_extends_a_lease() {
    let (mut rig, a) = with_a_leased(retrying(1));
    for _ in 0..20 {
        rig.pass(5_000);
        let (worker, delivery) = (WorkerId(1), a.delivery);
        let note = "half".to_owned();
        rig.run(Event::Progress { worker, delivery, extend_ms: None, note });
    }
    assert_eq!(rig.engine.worker_views()[0].note.as_deref(), Some("half"));
    assert_eq!(delivered(&rig.ack(&a)).seq, 2);
}

#[test]
fn a_lease_lasts_until_its_worker_has_ended_what_took_too_long() {
    for (ending_ms, over_after) in [(None, 1_000), (Some(2_000), 3_000)] {
        let mut rig = Rig::new(retrying(1));
        rig.send_with("q", "a", json!({"max_execution_ms": 1_000}));
        let (worker, queues) = (WorkerId(1), vec![queue("q")]);
        let info = WorkerInfo { ending_ms, ..WorkerInfo::default() };
        let a = delivered(&rig.run(Event::WorkerReady { worker, queues, credit: 1, info }));
        let (delivery, note) = (a.delivery, String::new());
        rig.run(Event::Progress { worker, delivery, extend_ms: Some(60_000), note });
        rig.pass(over_after - 1);
        assert_eq!(rig.view("q").leased, 1, "{ending_ms:?}");
        rig.pass(1);
        assert_eq!(rig.view("q").leased, 0, "{ending_ms:?}");
    }
}

#[test]
fn on_delivery_a_message_is_done_when_it_is_handed_out_and_order_stays() {
    let settings = QueueSettings { ack: AckMode::OnDelivery, ..QueueSettings::default() };
    let (mut rig, a) = with_a_leased(settings);
    assert_eq!((rig.view("q").depth, rig.view("q").leased, rig.view("q").done), (2, 0, 1));
    let b = delivered(&rig.nack(&a));
    assert_eq!((b.seq, b.attempt), (2, 1));
    rig.restart();
    assert_eq!(delivered(&rig.ready(1, &["q"], 1)).seq, 3);
}

#[test]
fn a_second_ready_keeps_leases_and_replaces_queues() {
    let (mut rig, a) = with_a_leased(QueueSettings::default());
    rig.put_queue("r", QueueSettings::default());
    assert!(deliveries(&rig.ready(1, &["r"], 8)).is_empty());
    assert!(deliveries(&rig.ack(&a)).is_empty(), "q is no longer served");
    assert_eq!(rig.view("q").done, 1);
    assert_eq!(delivered(&rig.send("r", "x")).queue, "r");
}

#[test]
fn a_paused_queue_accepts_and_goes_on_where_it_was() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    rig.pause(true);
    assert!(deliveries(&rig.send("q", "a")).is_empty());
    assert_eq!(rig.view("q").state, QueueState::Paused);
    let journal = rig.store.journal.len();
    rig.pause(true);
    assert_eq!(rig.store.journal.len(), journal, "what is so already isn't done again");
    assert_eq!(delivered(&rig.pause(false)).seq, 1);
}

#[test]
fn a_shutdown_gives_leases_back_without_counting_an_attempt() {
    let (mut rig, _) = with_a_leased(retrying(1));
    let effects = rig.run(Event::Shutdown);
    assert_eq!(effects, [Effect::DropWorker { worker: WorkerId(1), reason: "shutdown" }]);
    assert!(matches!(rig.send("q", "d").as_slice(), [Effect::Rejected { .. }]));
    assert!(rig.store.queue_named("q").expect("q").messages.values().all(|m| m.record.is_none()));
    rig.restart();
    assert_eq!(delivered(&rig.ready(1, &["q"], 1)).attempt, 1);
}

#[test]
fn a_clock_that_steps_back_moves_deadlines_along() {
    let (mut rig, a) = with_a_leased(retrying(2));
    rig.nack_with(&a, NackAction::Retry, Some(10_000));
    rig.now.0 -= 3_600_000;
    rig.run(Event::Tick);
    assert!(deliveries(&rig.pass(7_000)).is_empty());
    rig.run(Event::WorkerHeard { worker: WorkerId(1) });
    assert_eq!(delivered(&rig.pass(3_000)).attempt, 2);
    rig.now.0 -= 500;
    rig.run(Event::Tick);
}

#[test]
fn texts_by_workers_are_bounded() {
    let (mut rig, a) = with_a_leased(retrying(1));
    let huge = "ż".repeat(1_000_000);
    let (worker, delivery) = (WorkerId(1), a.delivery);
    let (kind, message) = (huge.clone(), huge.clone());
    rig.run(Event::Alert { worker, kind, message });
    let error = crate::model::WorkError { code: huge.clone(), message: huge.clone(), detail: huge };
    rig.run(Event::Nack { worker, delivery, error, action: NackAction::Retry, delay_ms: None });
    let error = rig.view("q").head.and_then(|head| head.error).expect("an error");
    assert!(error.detail.len() <= limits::MAX_ERROR_BYTES);
    assert!(error.message.len() <= limits::MAX_REASON_BYTES);
    assert!(rig.store.journal.last().expect("blocked").reason.len() <= limits::MAX_REASON_BYTES);
}

#[test]
fn watchers_hear_of_workers_and_failures() {
    let mut rig = Rig::new(retrying(2));
    let ready = rig.ready(1, &["q"], 1);
    assert!(matches!(notices(&ready)[..], [Notice::WorkerReady { .. }]), "{ready:?}");
    let a = delivered(&rig.send("q", "a"));
    let failed = rig.nack(&a);
    let told = notices(&failed);
    assert!(matches!(told[..], [Notice::AttemptFailed { retry_in_ms: 1_000, .. }]), "{failed:?}");
    let gone = rig.gone(1);
    assert!(matches!(notices(&gone)[..], [Notice::WorkerGone { lost: 0, .. }]), "{gone:?}");
}

#[test]
fn changed_queues_are_told_once() {
    let mut rig = Rig::new(QueueSettings::default());
    assert_eq!(rig.engine.take_changed_queues(), [queue("q")]);
    assert!(rig.engine.take_changed_queues().is_empty());
    rig.send("q", "a");
    rig.send("q", "b");
    assert_eq!(rig.engine.take_changed_queues(), [queue("q")]);
    let messages = vec![(queue("nowhere"), content("c", "c"))];
    rig.run(Event::Send { origin: Origin(1), messages, call: None });
    assert!(rig.engine.take_changed_queues().is_empty());
}

#[test]
fn nobody_is_blamed_for_the_time_in_which_nobody_could_be_heard() {
    let mut rig = Rig::new(QueueSettings { lease_ms: 10_000, ..QueueSettings::default() });
    rig.ready(1, &["q"], 1);
    let held = delivered(&rig.send("q", "m1"));
    rig.pass(5_000);
    rig.now = rig.now.plus_ms(60_000);
    assert!(rig.run(Event::Unheard { ms: 60_000 }).is_empty());
    assert!(rig.pass(2_000).is_empty(), "seven seconds of silence, and of a lease of ten");
    rig.run(Event::WorkerHeard { worker: WorkerId(1) });
    assert!(rig.pass(2_999).is_empty());
    let effects = rig.pass(1);
    assert!(
        notices(&effects)
            .iter()
            .any(|it| matches!(it, Notice::AttemptFailed { .. } | Notice::Journal { .. })),
        "{effects:?}"
    );
    assert!(deliveries(&rig.ack(&held)).is_empty(), "late now");
}

#[test]
fn what_a_door_is_given_is_done_with_that_and_comes_to_nobody_again() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let info = WorkerInfo { at_most_once: true, ..WorkerInfo::default() };
    let (worker, queues) = (WorkerId(1), vec![queue("q")]);
    let a = delivered(&rig.run(Event::WorkerReady { worker, queues, credit: 2, info }));
    assert_eq!(a.payload, "a");
    assert_eq!(rig.view("q").done, 1, "before it answers");
    let gone = rig.run(Event::WorkerGone { worker, reason: "disconnected" });
    assert!(deliveries(&gone).is_empty());
    assert_eq!(delivered(&rig.ready(2, &["q"], 1)).payload, "b", "the order is kept");
}

#[test]
fn a_message_that_fails_is_not_handed_out_again_by_what_its_worker_gets_next() {
    let retry = Retry { attempts: 2, jitter: 0.0, ..Retry::default() };
    let mut rig = Rig::new(QueueSettings { retry, ..QueueSettings::default() });
    rig.put_queue("other", QueueSettings { ordering: Ordering::None, ..QueueSettings::default() });
    rig.send("q", "m");
    let first = delivered(&rig.ready(1, &["q", "other"], 1));
    rig.send("other", "a");
    delivered(&rig.ready(2, &["other"], 1));
    // It expires where nobody looks, behind another: when it would be handed out, and is answered in `q`.
    rig.send_with("other", "b", json!({ "ttl_ms": 1_000, "reply_to": "q" }));
    rig.pass(2_000);
    let told = rig.nack(&first);
    assert!(notices(&told).iter().any(|it| matches!(it, Notice::DeadLettered { .. })));
    assert_eq!(deliveries(&told), []);
    let again = delivered(&rig.pass(1_000));
    assert_eq!((again.seq, again.attempt), (1, 2));
}
