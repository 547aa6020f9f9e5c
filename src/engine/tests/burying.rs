//! Dead letters of failed messages (design.md rules 4 and 5).

use super::rig::{Rig, content, delivered, deliveries, notice, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    CallStatus, Finish, MessageState, NackAction, Notice, OnFailure, Ordering, Origin,
    QueueSettings, QueueState, RejectCode, Rejection, Retry, Seq,
};

fn burying(attempts: u32) -> QueueSettings {
    let retry = Retry { attempts, jitter: 0.0, ..Retry::default() };
    QueueSettings { retry, on_failure: OnFailure::DeadLetter, ..QueueSettings::default() }
}

/// Reason, attempts and error of the dead letter at a place.
fn came_from(rig: &Rig, seq: u64) -> (String, u64, String) {
    let dead = rig.store.queue_named("q.dead").expect("it was made");
    let header = dead.messages[&Seq(seq)].newest().header.to_map();
    let from = header["dead_letter"].as_object().expect("an object");
    let text = |key: &str| from[key].as_str().expect("a text").to_owned();
    (text("reason"), from["attempts"].as_u64().expect("a number"), text("error"))
}

#[test]
fn a_message_whose_attempts_are_used_up_leaves_and_the_queue_goes_on() {
    let mut rig = Rig::new(burying(2));
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let a = delivered(&rig.ready(1, &["q"], 1));
    assert!(deliveries(&rig.nack(&a)).is_empty(), "it waits for its second attempt");
    let again = delivered(&rig.pass(1_000));
    assert_eq!(delivered(&rig.nack(&again)).payload, "b");
    assert_eq!(came_from(&rig, 1), ("attempts".to_owned(), 2, "exit-1: it failed".to_owned()));
    let view = rig.view("q");
    assert_eq!((view.state, view.depth, view.dead_lettered), (QueueState::Running, 1, 1));
    rig.restart();
    assert_eq!((rig.view("q").depth, rig.view("q.dead").depth), (1, 1));
}

#[test]
fn those_who_watch_are_told_where_a_dead_letter_went_and_why() {
    let mut rig = Rig::new(burying(1));
    rig.send("q", "a");
    let a = delivered(&rig.ready(1, &["q"], 1));
    let told = rig.nack(&a).into_iter().find_map(|effect| match notice(&effect)? {
        Notice::DeadLettered { queue, seq, reason, to, to_seq, .. } => {
            Some((queue.to_string(), seq.as_ref()?.0, reason.clone(), to.to_string(), to_seq.0))
        }
        _ => None,
    });
    let [q, reason, to] = ["q", "attempts", "q.dead"].map(str::to_owned);
    assert_eq!(told, Some((q, 1, reason, to, 1)));
}

#[test]
fn a_worker_may_reject_a_message_or_block_it_whatever_the_queue_does() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let a = delivered(&rig.ready(1, &["q"], 1));
    let b = delivered(&rig.nack_with(&a, NackAction::DeadLetter, None));
    assert_eq!(came_from(&rig, 1), ("rejected".to_owned(), 1, "exit-1: it failed".to_owned()));
    assert_eq!(b.payload, "b");
    let mut rig = Rig::new(burying(1));
    rig.send("q", "a");
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.nack_with(&a, NackAction::Block, None);
    assert_eq!(rig.view("q").state, QueueState::Blocked);
}

#[test]
fn a_dead_letter_queue_blocks_what_it_can_not_dead_letter() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    let a = delivered(&rig.ready(1, &["q", "q.dead"], 1));
    let dead = delivered(&rig.nack_with(&a, NackAction::DeadLetter, None));
    assert_eq!(dead.queue, "q.dead");
    rig.nack_with(&dead, NackAction::DeadLetter, None);
    let head = rig.view("q.dead").head.expect("a head");
    let error = head.error.expect("an error").message;
    assert_eq!(head.state, MessageState::Blocked);
    assert!(error.contains("it is a dead-letter queue itself"), "{error}");
    assert!(rig.store.queue_named("q.dead.dead").is_none());
}

#[test]
fn a_full_dead_letter_queue_blocks_the_queue_before_it() {
    let mut rig = Rig::new(burying(1));
    rig.put_queue("q.dead", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let a = delivered(&rig.ready(1, &["q"], 1));
    let b = delivered(&rig.nack(&a));
    rig.nack(&b);
    let view = rig.view("q");
    let error = view.head.expect("a head").error.expect("an error").message;
    assert_eq!((view.state, view.depth), (QueueState::Blocked, 1));
    assert!(error.contains("q.dead is full") && error.contains("it failed"), "{error}");
}

#[test]
fn a_caller_hears_that_its_message_is_a_dead_letter() {
    let mut rig = Rig::new(burying(1));
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 10_000));
    let told = rig.nack(&a);
    let reply = told.iter().find_map(|effect| match effect {
        Effect::CallEnded { reply, .. } => Some(reply.clone()),
        _ => None,
    });
    let reply = reply.expect("the call ended");
    assert_eq!(reply.status, CallStatus::Failed);
    assert_eq!(reply.error.expect("an error").message, "its attempts are used up; it is in q.dead");
}

#[test]
fn a_dead_letter_frees_its_order_key() {
    let settings = QueueSettings { ordering: Ordering::Key, ..burying(1) };
    let mut rig = Rig::new(settings);
    let messages = [1, 2].map(|n| (super::rig::queue("q"), super::convoys::message(n, 1, 0)));
    let (origin, messages) = (crate::model::Origin(1), messages.to_vec());
    rig.run(crate::engine::Event::Send { origin, messages, call: None });
    let one = delivered(&rig.ready(1, &["q"], 4));
    let two = delivered(&rig.nack(&one));
    assert_eq!(two.seq, 2);
    rig.ack(&two);
    let kept = rig.store.queue_named("q").expect("q");
    assert_eq!(kept.finished, [(Seq(1), Finish::DeadLettered), (Seq(2), Finish::Done)]);
    assert_eq!((rig.view("q").depth, rig.view("q").bytes), (0, 0));
}

#[test]
fn what_nobody_can_be_told_of_is_a_dead_letter_although_no_template_makes_its_queue() {
    let mut rig = Rig::new(burying(1));
    let to = queue("push.dead");
    let bury = |to| Event::Bury {
        origin: Origin(9),
        to,
        content: content("m", "x"),
        queue: Some(queue("nowhere")),
        rejection: Rejection::new(RejectCode::NoSuchQueue, "there is no queue nowhere"),
    };
    let effects = rig.run(bury(to.clone()));
    assert!(
        matches!(&effects[..], [.., Effect::Accepted { accepted, .. }] if accepted[0].seq.0 == 1)
    );
    let dead = rig.store.queue_named("push.dead").expect("it was made");
    let header = dead.messages[&Seq(1)].newest().header.to_map();
    let why = |key: &str| header["dead_letter"][key].as_str().map(str::to_owned);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!((why("reason"), why("code")), (text("refused"), text("no_such_queue")));
    assert_eq!((why("queue"), why("error")), (text("nowhere"), text("there is no queue nowhere")));
    let letter = delivered(&rig.ready(1, &["push.dead"], 1));
    rig.nack_with(&letter, NackAction::DeadLetter, None);
    assert_eq!(rig.view("push.dead").state, QueueState::Blocked, "nothing leaves it so");
}
