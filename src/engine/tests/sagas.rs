//! Sagas, step by step.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rig::{Delivered, Rig, content, delivered, deliveries, notices, operator, queue};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    AckMode, Actor, Content, Dedup, Header, JournalKind, MailboxKind, MessageId, NackAction,
    Notice, Origin, QueueSettings, QueueTemplate, Rejection, RepairRefusal, SagaAct,
    SagaDefinition, SagaName, SagaOrder, SagaStarted, SagaState, SagaStep, Seq, StepState,
};

pub(super) const TIMEOUT_MS: u64 = 60_000;

fn step(name: &str, compensates: bool) -> SagaStep {
    SagaStep {
        name: name.to_owned(),
        queue: queue(name),
        compensate: compensates.then(|| queue(&format!("{name}.undo"))),
        timeout_ms: TIMEOUT_MS,
        attempts: 1,
        retry_ms: 1_000,
    }
}

/// Flight, hotel (which needs no compensation) and car.
fn trip() -> SagaDefinition {
    let steps = vec![step("flight", true), step("hotel", false), step("car", true)];
    SagaDefinition { name: name(), version: 3, steps }
}

fn name() -> SagaName {
    SagaName::new("trip").unwrap()
}

fn options(definition: SagaDefinition) -> EngineOptions {
    let settings = QueueSettings { lease_ms: 600_000, ..QueueSettings::default() };
    let template =
        QueueTemplate { prefix: String::new(), settings: settings.into(), max_queues: 0 };
    EngineOptions { sagas: vec![definition], templates: vec![template], ..EngineOptions::default() }
}

pub(super) fn rig() -> Rig {
    Rig::with_options(options(trip()), QueueSettings::default())
}

pub(super) fn input(id: &str, fields: Value) -> Content {
    let mut map = fields.as_object().cloned().unwrap_or_default();
    map.insert("id".to_owned(), id.into());
    let header = Header::from_map(map, || unreachable!("it has one")).unwrap();
    Content { header, ..content(id, r#"{"to": "Rome", "sum": 1.10}"#) }
}

pub(super) fn start(rig: &mut Rig, input: Content) -> Result<SagaStarted, Rejection> {
    let told = rig.run(Event::Start { origin: Origin(1), saga: name(), input });
    let answer = told.into_iter().find_map(|effect| match effect {
        Effect::Started { started, .. } => Some(Ok(started)),
        Effect::Rejected { rejection, .. } => Some(Err(rejection)),
        _ => None,
    });
    answer.expect("a start is answered")
}

fn act(rig: &mut Rig, act: SagaAct) -> Result<(), RepairRefusal> {
    act_on(rig, act, None)
}

fn act_on(
    rig: &mut Rig,
    act: SagaAct,
    expect_state: Option<SagaState>,
) -> Result<(), RepairRefusal> {
    let (origin, actor, id) = (Origin(9), operator("ann"), MessageId::new("s").unwrap());
    let (order, reason) = (SagaOrder { act, expect_state }, "because".to_owned());
    let told = rig.run(Event::SagaAct { origin, actor, id, order, reason });
    let answer = told.into_iter().find_map(|effect| match effect {
        Effect::Done { .. } => Some(Ok(())),
        Effect::Refused { refusal, .. } => Some(Err(refusal)),
        _ => None,
    });
    answer.expect("an act is answered")
}

pub(super) fn state(rig: &Rig) -> (SagaState, Vec<StepState>) {
    let detail = rig.engine.saga_detail(&MessageId::new("s").unwrap()).expect("it is there");
    (detail.saga.state, detail.saga.steps.iter().map(|step| step.state).collect())
}

/// A worker for each of the queues, each of which takes one message at a time.
fn workers(rig: &mut Rig) -> Vec<Delivered> {
    let queues = ["flight", "flight.undo", "hotel", "car", "car.undo", "end"];
    let mut all = Vec::new();
    for (worker, name) in (1..).zip(queues) {
        all.extend(deliveries(&rig.ready(worker, &[name], 1)));
    }
    all
}

pub(super) fn ack(rig: &mut Rig, of: &Delivered, reply: &str) -> Vec<Effect> {
    rig.run(Event::Ack {
        worker: crate::model::WorkerId(of.worker),
        delivery: of.delivery,
        reply: reply.to_owned().into(),
    })
}

/// The header of the newest message of a queue.
fn header(rig: &Rig, name: &str) -> Value {
    let kept = rig.store.queue_named(name).expect("it is there");
    let newest = kept.messages.values().next_back().expect("a message");
    Value::Object(newest.newest().header.to_map())
}

pub(super) fn reject(rig: &mut Rig, of: &Delivered) -> Vec<Effect> {
    rig.nack_with(of, NackAction::DeadLetter, None)
}

#[test]
fn steps_are_done_in_their_order_and_carry_what_came_before() {
    let mut rig = rig();
    let given = input("s", json!({"key": "k", "correlation_id": "c", "reply_to": "end"}));
    assert!(!start(&mut rig, given).unwrap().duplicate);
    let [flight] = &workers(&mut rig)[..] else { panic!("one step at a time") };
    assert_eq!(flight.payload, r#"{"input":{"to": "Rome", "sum": 1.10},"results":{}}"#);
    let told = header(&rig, "flight");
    assert_eq!(
        (&told["id"], &told["type"], &told["key"], &told["correlation_id"], &told["causation_id"]),
        (&json!("s/flight"), &json!("trip.flight"), &json!("k"), &json!("c"), &json!("s"))
    );
    assert_eq!(told["saga"]["version"].as_u64(), Some(3));
    let hotel = delivered(&ack(&mut rig, flight, r#"{"seat": "4A"}"#));
    assert_eq!(hotel.queue, "hotel");
    let car = delivered(&ack(&mut rig, &hotel, "not JSON"));
    let context = r#"{"input":{"to": "Rome", "sum": 1.10},"results":{"flight":{"seat": "4A"},"hotel":{"base64":"bm90IEpTT04="}}}"#;
    assert_eq!(car.payload, context);
    let end = delivered(&ack(&mut rig, &car, ""));
    assert_eq!((end.queue.as_str(), end.payload.as_str()), ("end", context));
    assert_eq!(header(&rig, "end")["saga"]["state"], "completed");
    assert_eq!(state(&rig), (SagaState::Completed, vec![StepState::Done; 3]));
}

#[test]
fn what_is_done_is_taken_back_in_reverse_order_when_a_step_fails() {
    let mut definition = trip();
    definition.steps.push(step("payment", true));
    let mut rig = Rig::with_options(options(definition), QueueSettings::default());
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = workers(&mut rig).remove(0);
    let hotel = delivered(&ack(&mut rig, &flight, "1"));
    let car = delivered(&ack(&mut rig, &hotel, "2"));
    ack(&mut rig, &car, "3");
    let payment = delivered(&rig.ready(99, &["payment"], 1));
    let told = reject(&mut rig, &payment);
    assert!(notices(&told).iter().any(|it| matches!(it, Notice::SagaCompensating { .. })));
    let undo = delivered(&told);
    assert_eq!(undo.queue, "car.undo");
    let told = header(&rig, "car.undo");
    assert_eq!(
        (&told["id"], &told["saga"]["compensates"]["code"]),
        (&json!("s/car/undo"), &json!("rejected"))
    );
    let undo = delivered(&ack(&mut rig, &undo, ""));
    assert_eq!(undo.queue, "flight.undo", "the hotel has nothing to take back");
    ack(&mut rig, &undo, "");
    let steps =
        [StepState::Compensated, StepState::Done, StepState::Compensated, StepState::Failed];
    assert_eq!(state(&rig), (SagaState::Compensated, steps.to_vec()));
}

#[test]
fn a_compensation_that_fails_parks_the_saga_until_an_operator_says_what_to_do() {
    for wanted in [SagaAct::Retry, SagaAct::Skip, SagaAct::Abort] {
        let mut rig = rig();
        start(&mut rig, input("s", json!({"reply_to": "end"}))).unwrap();
        let flight = workers(&mut rig).remove(0);
        let hotel = delivered(&ack(&mut rig, &flight, "1"));
        assert!(act(&mut rig, SagaAct::Retry).is_err(), "it runs");
        let undo = delivered(&reject(&mut rig, &hotel));
        let told = reject(&mut rig, &undo);
        assert!(notices(&told).iter().any(|it| matches!(it, Notice::SagaParked { .. })));
        assert_eq!(state(&rig).0, SagaState::Parked);
        rig.restart();
        assert_eq!(state(&rig).0, SagaState::Parked, "it stays so over a restart");
        let noted = rig.store.journal.iter().find(|it| it.kind == JournalKind::SagaParked);
        let noted = noted.expect("the journal keeps it");
        assert_eq!((noted.queue.as_str(), &noted.actor), ("flight.undo", &Actor::broker()));
        assert!(noted.reason.starts_with("saga trip s: step flight: "), "{}", noted.reason);
        assert_eq!(rig.pass(3_600_000), [], "nothing happens by itself");
        let refused = act_on(&mut rig, wanted, Some(SagaState::Running));
        assert!(refused.is_err(), "it was seen while it ran: the same act would do another thing");
        assert_eq!(state(&rig).0, SagaState::Parked);
        act_on(&mut rig, wanted, Some(SagaState::Parked)).unwrap();
        let all = workers(&mut rig);
        let first = match wanted {
            SagaAct::Retry => {
                let [undo] = &all[..] else { panic!("{all:?}") };
                assert_eq!(undo.queue, "flight.undo");
                assert_eq!(header(&rig, "flight.undo")["id"], "s/flight/undo~2");
                ack(&mut rig, undo, "");
                (SagaState::Compensated, StepState::Compensated)
            }
            SagaAct::Skip => (SagaState::Compensated, StepState::Skipped),
            SagaAct::Abort => (SagaState::Aborted, StepState::Stuck),
        };
        let (saga, steps) = state(&rig);
        assert_eq!((saga, steps[0]), first);
        assert_eq!(header(&rig, "end")["saga"]["state"], saga.as_str());
        assert!(act(&mut rig, SagaAct::Abort).is_err(), "it is over");
    }
}

#[test]
fn a_restart_at_any_point_sends_no_step_twice() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        rig.restart();
        let one = workers(&mut rig).remove(0);
        assert!(seen.insert((one.queue.clone(), one.seq)), "{one:?}");
        rig.restart();
        let again = workers(&mut rig).remove(0);
        assert_eq!((&again.queue, again.seq), (&one.queue, one.seq), "the same message");
        ack(&mut rig, &again, "1");
    }
    assert_eq!(state(&rig).0, SagaState::Completed);
    for name in ["flight", "hotel", "car"] {
        assert_eq!(rig.store.queue_named(name).unwrap().accepted.len(), 1, "{name}");
    }
}

#[test]
fn a_step_that_nobody_takes_in_time_is_withdrawn_and_what_a_worker_has_is_compensated() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    rig.pass(TIMEOUT_MS);
    assert_eq!(
        state(&rig),
        (SagaState::Compensated, vec![StepState::Failed, StepState::Pending, StepState::Pending])
    );
    assert_eq!(rig.view("flight").depth, 0, "nobody does it any more");

    let mut rig = self::rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = workers(&mut rig).remove(0);
    for _ in 0..TIMEOUT_MS / 1_000 {
        for worker in 1..=6 {
            rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(worker) });
        }
        rig.pass(1_000);
    }
    assert_eq!(
        state(&rig),
        (
            SagaState::Compensating,
            vec![StepState::Compensating, StepState::Pending, StepState::Pending]
        )
    );
    ack(&mut rig, &flight, "too late");
    assert_eq!(header(&rig, "flight.undo")["id"], "s/flight/undo");
}

#[test]
fn a_step_that_was_given_up_in_a_workers_hands_is_never_handed_out_again() {
    for restarts in [false, true] {
        let mut rig = rig();
        start(&mut rig, input("s", json!({}))).unwrap();
        let flight = delivered(&rig.ready(1, &["flight"], 1));
        act(&mut rig, SagaAct::Abort).unwrap();
        let undo = delivered(&rig.ready(2, &["flight.undo"], 1));
        rig.ack(&undo);
        assert_eq!(state(&rig).0, SagaState::Compensated);
        // The worker goes away without a word.
        if restarts {
            rig.restart();
        } else {
            rig.gone(flight.worker);
        }
        assert_eq!(deliveries(&rig.ready(3, &["flight"], 1)), []);
        assert_eq!(rig.view("flight").depth, 0);
        let last = rig.store.journal.last().unwrap();
        assert_eq!((last.kind, last.seq), (JournalKind::Cancelled, Some(Seq(1))));
    }
}

#[test]
fn a_step_is_tried_again_as_often_as_it_says_each_time_under_another_id() {
    let mut definition = trip();
    definition.steps[0].attempts = 3;
    let mut rig = Rig::with_options(options(definition), QueueSettings::default());
    start(&mut rig, input("s", json!({}))).unwrap();
    let mut one = workers(&mut rig).remove(0);
    for nth in 2..=3 {
        assert_eq!(deliveries(&reject(&mut rig, &one)), []);
        one = delivered(&rig.pass(1_000));
        assert_eq!(header(&rig, "flight")["id"], format!("s/flight~{nth}"));
    }
    reject(&mut rig, &one);
    assert_eq!(state(&rig).0, SagaState::Compensated);
}

#[test]
fn a_blocked_step_waits_for_its_repair() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = workers(&mut rig).remove(0);
    rig.nack(&flight);
    assert_eq!(state(&rig).0, SagaState::Running);
    let detail = rig.engine.saga_detail(&MessageId::new("s").unwrap()).unwrap();
    assert_eq!(detail.saga.steps[0].error.as_ref().unwrap().message, "it failed");
}

#[test]
fn a_saga_that_runs_keeps_the_definition_that_it_began_with() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let mut other = trip();
    other.steps.truncate(1);
    other.version = 4;
    rig.restart_with(options(other));
    let flight = workers(&mut rig).remove(0);
    assert_eq!(delivered(&ack(&mut rig, &flight, "1")).queue, "hotel");
    start(&mut rig, input("t", json!({}))).unwrap();
    let second = rig.engine.saga_detail(&MessageId::new("t").unwrap()).unwrap();
    assert_eq!((second.saga.version, second.saga.steps.len()), (4, 1));
}

#[test]
fn a_start_that_is_repeated_or_cant_be_changes_nothing() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    assert!(start(&mut rig, input("s", json!({}))).unwrap().duplicate);
    assert_eq!(rig.view("flight").depth, 1);
    let unknown = Event::Start {
        origin: Origin(1),
        saga: SagaName::new("none").unwrap(),
        input: input("u", json!({})),
    };
    let told = rig.run(unknown);
    assert!(
        matches!(&told[..], [Effect::Rejected { rejection, .. }] if rejection.reason.contains("no saga none"))
    );
    let long = "x".repeat(161);
    assert!(
        start(&mut rig, input(&long, json!({}))).unwrap_err().reason.contains("at most 160 bytes")
    );
    let full = QueueSettings { max_messages: 1, ..QueueSettings::default() };
    rig.put_queue("flight", full);
    let refused = start(&mut rig, input("v", json!({}))).unwrap_err();
    assert!(refused.reason.contains("takes at most 1 messages"), "{refused:?}");
    assert!(rig.engine.saga_detail(&MessageId::new("v").unwrap()).is_none());
}

#[test]
fn a_queue_that_is_full_later_is_waited_for() {
    let mut rig = rig();
    rig.put_queue("hotel", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send("hotel", "other");
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = delivered(&rig.ready(1, &["flight"], 1));
    ack(&mut rig, &flight, "1");
    let view = rig.engine.saga_detail(&MessageId::new("s").unwrap()).unwrap();
    assert!(view.saga.steps[1].error.as_ref().unwrap().message.contains("at most 1 messages"));
    let other = delivered(&rig.ready(2, &["hotel"], 1));
    rig.ack(&other);
    assert_eq!(
        delivered(&rig.pass(1_000)).payload,
        r#"{"input":{"to": "Rome", "sum": 1.10},"results":{"flight":1}}"#
    );
}

#[test]
fn a_message_that_was_in_ram_only_is_sent_again_after_a_restart() {
    let mut rig = rig();
    let (mailbox, dedup) = (MailboxKind::Memory, Dedup::Off);
    rig.put_queue("flight", QueueSettings { mailbox, dedup, ..QueueSettings::default() });
    start(&mut rig, input("s", json!({}))).unwrap();
    rig.store.lose("flight");
    rig.restart();
    rig.pass(0);
    let flight = workers(&mut rig).remove(0);
    assert_eq!(header(&rig, "flight")["id"], "s/flight");
    assert_eq!(delivered(&ack(&mut rig, &flight, "1")).queue, "hotel");
}

#[test]
fn a_result_that_is_too_large_fails_its_step_which_is_taken_back() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = workers(&mut rig).remove(0);
    let undo = delivered(&ack(&mut rig, &flight, &"9".repeat(2 << 20)));
    assert_eq!(undo.queue, "flight.undo");
}

#[test]
fn a_step_that_ends_late_leaves_the_next_one_its_time() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = workers(&mut rig).remove(0);
    // The ACK is handled before the timer is.
    rig.now = rig.now.plus_ms(TIMEOUT_MS);
    ack(&mut rig, &flight, "1");
    assert_eq!((rig.view("hotel").depth, state(&rig).0), (1, SagaState::Running));
}

#[test]
fn a_saga_that_is_forgotten_is_not_done_again_while_its_queue_knows_it() {
    let mut rig = rig();
    for n in 0..=1_000 {
        let id = if n == 0 { "s".to_owned() } else { n.to_string() };
        start(&mut rig, input(&id, json!({}))).unwrap();
        rig.pass(TIMEOUT_MS);
    }
    assert!(rig.engine.saga_detail(&MessageId::new("s").unwrap()).is_none(), "it is forgotten");
    let depth = rig.view("flight").depth;
    assert!(start(&mut rig, input("s", json!({}))).unwrap().duplicate);
    assert_eq!(rig.view("flight").depth, depth);
    rig.restart();
    start(&mut rig, input("new", json!({}))).unwrap();
    rig.pass(TIMEOUT_MS);
    assert!(rig.engine.saga_detail(&MessageId::new("1").unwrap()).is_none(), "the oldest goes");
    assert!(rig.engine.saga_detail(&MessageId::new("1000").unwrap()).is_some());
}

#[test]
fn a_compensation_that_its_queue_never_takes_parks_the_saga_whatever_the_steps_attempts() {
    let mut definition = trip();
    definition.steps[0].attempts = 3;
    let mut rig = Rig::with_options(options(definition), QueueSettings::default());
    rig.put_queue("flight.undo", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send("flight.undo", "other");
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = delivered(&rig.ready(1, &["flight"], 1));
    ack(&mut rig, &flight, "1");
    let hotel = delivered(&rig.ready(2, &["hotel"], 1));
    reject(&mut rig, &hotel);
    for _ in 0..=TIMEOUT_MS / 1_000 {
        rig.pass(1_000);
    }
    assert_eq!(state(&rig).0, SagaState::Parked);
}

#[test]
fn a_step_has_its_time_after_nobody_could_be_heard() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    rig.now = rig.now.plus_ms(TIMEOUT_MS);
    rig.run(Event::Unheard { ms: TIMEOUT_MS });
    assert_eq!(state(&rig).0, SagaState::Running);
    rig.pass(TIMEOUT_MS);
    assert_eq!(state(&rig).0, SagaState::Compensated);
}

#[test]
fn aborting_a_running_saga_takes_back_what_it_has_done() {
    let mut rig = rig();
    start(&mut rig, input("s", json!({}))).unwrap();
    let flight = delivered(&rig.ready(1, &["flight"], 1));
    ack(&mut rig, &flight, "1");
    assert_eq!(rig.view("hotel").depth, 1);
    act(&mut rig, SagaAct::Abort).unwrap();
    assert_eq!(rig.view("hotel").depth, 0, "its step is withdrawn");
    assert_eq!(rig.view("flight.undo").depth, 1);
    assert_eq!(state(&rig).0, SagaState::Compensating);
}

#[test]
fn a_step_that_is_done_on_delivery_is_waited_for_all_the_same() {
    let mut rig = rig();
    let once = QueueSettings { ack: AckMode::OnDelivery, ..QueueSettings::default() };
    rig.put_queue("flight", once);
    // A worker is free, so the message is done while it is accepted.
    rig.ready(1, &["flight"], 1);
    let told =
        rig.run(Event::Start { origin: Origin(1), saga: name(), input: input("s", json!({})) });
    assert_eq!(state(&rig).1[0], StepState::Running);
    ack(&mut rig, &delivered(&told), "\"LH 1\"");
    assert_eq!(state(&rig).1[..2], [StepState::Done, StepState::Running]);
}
