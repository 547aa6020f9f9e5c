//! The loop over a real store that fails when told to, without sockets.

mod pushed;
mod rig;
mod room;

use std::sync::Arc;
use std::time::Duration;

use self::rig::*;
use bytes::Bytes;
use tokio::time::timeout;

use super::event_loop::Ended;
use super::messages::Act;
use super::operator_error::OperatorError;
use super::watch::Sight;
use crate::engine::EngineOptions;
use crate::mailbox::DiskReserve;
use crate::model::{
    Actor, CallStatus, Edit, IdempotencyKey, MessageFilter, MessageId, MessageState, Notice,
    Payload, QueueId, QueueSettings, RejectCode, RepairRefusal, Revision, SchemaText, Seq, Totals,
};
use crate::net::Outbound;
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, WorkerMessage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_before_its_sync() {
    let mut broker = start();
    let fault = broker.fault();
    fault.hold_syncs();
    broker.send("m1").await;
    held_sync(Arc::clone(&fault)).await;
    broker.taken_in().await;
    assert!(broker.outbound.try_recv().is_err(), "told before it is durable");
    fault.release_syncs();
    let ClientReply::Accepted(accepted) = broker.reply().await else { panic!("not accepted") };
    assert_eq!((accepted.seq, accepted.duplicate), (Seq(1), false));
    drop(fault);
    assert_eq!(broker.stop().await, Ended::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_during_a_flush_shares_the_next_one() {
    let mut broker = start();
    let fault = broker.fault();
    fault.hold_syncs();
    broker.send("m0").await;
    held_sync(Arc::clone(&fault)).await;
    let (_, before) = fault.counts();
    for n in 1..=100 {
        broker.send(&format!("m{n}")).await;
    }
    broker.taken_in().await;
    fault.release_syncs();
    for n in 1..=101 {
        let ClientReply::Accepted(accepted) = broker.reply().await else { panic!("not accepted") };
        assert_eq!(accepted.seq, Seq(n));
    }
    assert_eq!(fault.counts().1, before + 1, "one flush for all that came meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_fails_takes_back_what_was_appended_meanwhile() {
    let mut broker = start();
    assert_eq!(broker.send_until_accepted("m1").await, Seq(1));
    let fault = broker.fault();
    let (appends, _) = fault.counts();
    fault.hold_syncs();
    fault.fail_sync(0);
    broker.send_large("m2").await;
    held_sync(Arc::clone(&fault)).await;
    broker.send_large("m3").await;
    let meanwhile = Arc::clone(&fault);
    tokio::task::spawn_blocking(move || meanwhile.wait_for_appends(appends + 2)).await.unwrap();
    assert!(broker.outbound.try_recv().is_err(), "told before it is durable");
    fault.release_syncs();
    drop(fault);
    // Each refusal names its message: by nothing else would the client know which of them to send again.
    for id in ["m2", "m3"] {
        let ClientReply::Rejected(rejection) = broker.reply().await else { panic!("not rejected") };
        assert_eq!(rejection.code, RejectCode::StoreUnavailable);
        assert_eq!(rejection.id, MessageId::new(id).ok());
    }
    // Sent again with their ids, each is there once, whatever had reached the disk.
    broker.send_until_accepted("m2").await;
    broker.send_until_accepted("m3").await;
    assert_eq!(broker.handle.queue(&queue()).await.unwrap().depth, 3);
    assert_eq!(broker.stop().await, Ended::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_flight_together_are_accepted_in_order() {
    let mut broker = start();
    let fault = broker.fault();
    let (appends, _) = fault.counts();
    fault.hold_syncs();
    broker.send_large("m1").await;
    held_sync(Arc::clone(&fault)).await;
    broker.send_large("m2").await;
    let meanwhile = Arc::clone(&fault);
    tokio::task::spawn_blocking(move || meanwhile.wait_for_appends(appends + 2)).await.unwrap();
    broker.send_large("m3").await;
    broker.taken_in().await;
    fault.release_syncs();
    for n in 1..=3 {
        let ClientReply::Accepted(accepted) = broker.reply().await else { panic!("not accepted") };
        assert_eq!(accepted.seq, Seq(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_sees_is_durable() {
    let mut broker = start();
    let fault = broker.fault();
    fault.hold_syncs();
    broker.send("m1").await;
    held_sync(Arc::clone(&fault)).await;
    let handle = broker.handle.clone();
    let mut view = tokio::spawn(async move { handle.queue(&queue()).await });
    broker.taken_in().await;
    assert!(timeout(Duration::from_millis(50), &mut view).await.is_err());
    fault.release_syncs();
    assert_eq!(timeout(LIMIT, view).await.unwrap().unwrap().unwrap().depth, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_flush_refuses_reopens_and_goes_on() {
    let mut broker = start();
    assert_eq!(broker.send_until_accepted("m1").await, Seq(1));
    broker.worker_ready().await;
    let first = broker.delivery().await;
    let mut watch = broker.handle.watch().await.unwrap();
    let generation = broker.handle.overview().await.unwrap().generation;

    broker.fault().fail_sync(0);
    broker.send("m2").await;
    let ClientReply::Rejected(rejection) = broker.reply().await else { panic!("not rejected") };
    assert_eq!(rejection.code, RejectCode::StoreUnavailable);
    assert!(rejection.retry_after_ms.is_some());

    // The worker is told to say READY again, and gets what it had with a new lease.
    let BrokerMessage::Bye { .. } = broker.told().await else { panic!("not told BYE") };
    broker.worker_ready().await;
    let again = broker.delivery().await;
    assert_eq!((again.seq, &again.content), (first.seq, &first.content));
    assert!(again.delivery.generation > first.delivery.generation);
    broker.worker(WorkerMessage::Ack { delivery: first.delivery, reply: Bytes::new() }).await;
    assert_eq!(broker.told().await, BrokerMessage::Stale { delivery: first.delivery });

    // Sent again with its id, it is there once, whether or not the flush had brought it to the disk.
    assert_eq!(broker.send_until_accepted("m2").await, Seq(2));
    assert_eq!(broker.handle.queue(&queue()).await.unwrap().depth, 2);
    assert!(broker.handle.overview().await.unwrap().generation > generation);

    let mut notices = Vec::new();
    while notices.len() < 2 {
        let sight = timeout(LIMIT, watch.next.recv()).await.unwrap().unwrap();
        let Sight::Happened(event) = sight.sight() else { continue };
        match event.what {
            Notice::StoreDown { .. } => notices.push("down"),
            Notice::StoreUp => notices.push("up"),
            _ => {}
        }
    }
    assert_eq!(notices, ["down", "up"]);
    drop(watch);
    assert_eq!(broker.stop().await, Ended::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_go_on_from_where_they_were_when_the_store_is_opened_again() {
    let mut broker = start();
    assert_eq!(broker.send_until_accepted("m1").await, Seq(1));
    broker.send_until_accepted("m1").await;
    broker.worker_ready().await;
    let delivery = broker.delivery().await.delivery;
    broker.nack(delivery).await;
    while broker.handle.queue(&queue()).await.unwrap().blocked == 0 {
        tokio::task::yield_now().await;
    }
    let totals = broker.handle.figures().await.unwrap();
    let (of_queue, _) = broker.handle.queue_figures(QueueId(0)).await.unwrap();
    assert_eq!((totals.totals.accepted, totals.totals.duplicates, totals.totals.failed), (1, 1, 1));
    assert_eq!((totals.delivered, of_queue[0].totals), (1, totals.totals));

    let fault = broker.fault();
    fault.fail_sync(0);
    drop(fault);
    // The worker hears of it too.
    let answer = async |broker: &mut Broker, id: &str| {
        broker.send(id).await;
        loop {
            if let Outbound::Client { reply, .. } = broker.out().await {
                return reply;
            }
        }
    };
    assert!(matches!(answer(&mut broker, "m2").await, ClientReply::Rejected(_)));
    while !matches!(answer(&mut broker, "m3").await, ClientReply::Accepted(_)) {}
    let after = broker.handle.figures().await.unwrap();
    let (of_queue, _) = broker.handle.queue_figures(QueueId(0)).await.unwrap();
    // m2 may be counted: it was taken, and refused since nobody knew of it.
    assert!((2..=3).contains(&after.totals.accepted), "{after:?}");
    let same = |totals: Totals| (totals.duplicates, totals.failed, totals.done);
    assert_eq!((same(after.totals), after.delivered), (same(totals.totals), 1));
    assert_eq!(of_queue[0].totals, after.totals);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_not_appended_is_not_there_afterwards() {
    let mut broker = start();
    assert_eq!(broker.send_until_accepted("m1").await, Seq(1));
    broker.fault().fail_append(0);
    broker.send("lost").await;
    let ClientReply::Rejected(_) = broker.reply().await else { panic!("not rejected") };
    assert_eq!(broker.send_until_accepted("m2").await, Seq(2));
    let lost = broker.handle.locate(&MessageId::new("lost").unwrap()).await;
    assert!(matches!(lost, Err(OperatorError::NotFound { .. })), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_message_is_looked_at_edited_and_delivered_as_saved() {
    let mut broker = start();
    broker.send_until_accepted("m1").await;
    broker.send_until_accepted("m2").await;
    broker.worker_ready().await;
    let delivery = broker.delivery().await;
    broker.nack(delivery.delivery).await;
    broker.taken_in().await;

    let page =
        broker.handle.messages(&queue(), Seq(1), 10, &MessageFilter::default()).await.unwrap();
    let states: Vec<MessageState> = page.messages.iter().map(|row| row.state).collect();
    assert_eq!(states, [MessageState::Blocked, MessageState::Ready]);
    assert_eq!(page.next, None);
    let page =
        broker.handle.messages(&queue(), Seq(1), 1, &MessageFilter::default()).await.unwrap();
    assert_eq!((page.messages.len(), page.next), (1, Some(Seq(2))));
    let ready = MessageFilter::in_state(MessageState::Ready);
    let page = broker.handle.messages(&queue(), Seq(1), 10, &ready).await.unwrap();
    assert_eq!(page.messages[0].seq, Seq(2));

    let view = broker.handle.message(&queue(), Seq(1)).await.unwrap();
    assert_eq!(view.payload, Payload::Utf8(r#"{"of":"m1"}"#.to_owned()));
    assert_eq!((view.attempts.len(), view.behind, view.history.len()), (1, 1, 1));

    let edit = Edit { payload: Bytes::from_static(b"{ }"), header: None };
    let order = |revision| repair_order(revision, Act::SaveAndRetry(edit.clone()));
    let refused = broker.handle.repair(order(7)).await.unwrap_err();
    assert!(matches!(refused, OperatorError::Refused(RepairRefusal::Changed { .. })), "{refused}");
    let outcome = broker.handle.repair(order(0)).await.unwrap();
    assert_eq!((outcome.revision, outcome.repeated), (Revision(1), false));
    assert!(broker.handle.repair(order(0)).await.unwrap().repeated);
    let delivery = broker.delivery().await;
    assert_eq!((delivery.seq, &delivery.content.payload[..]), (Seq(1), &b"{ }"[..]));
    let original = broker.handle.content(&queue(), Seq(1), Some(Revision(0))).await.unwrap();
    assert_eq!(&original.payload[..], br#"{"of":"m1"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_refuses_callers_and_sends_workers_away() {
    let mut broker = start();
    let call = ClientRequest::Call { send: send_request("c1"), timeout_ms: 60_000, parts: false };
    broker.client(call).await;
    broker.worker_ready().await;
    broker.delivery().await;
    broker.handle.shut_down();
    let (mut rejected, mut bye) = (None, false);
    while rejected.is_none() || !bye {
        match broker.out().await {
            Outbound::Client { reply: ClientReply::Rejected(rejection), .. } => {
                rejected = Some(rejection.code);
            }
            Outbound::Client { reply: ClientReply::Reply(reply), .. } => {
                panic!("a call can't end well here: {:?}", CallStatus::Ok == reply.status)
            }
            Outbound::Worker { message: BrokerMessage::Bye { .. }, .. } => bye = true,
            _ => {}
        }
    }
    assert_eq!(rejected, Some(RejectCode::Draining));
    assert_eq!(timeout(LIMIT, broker.ended).await.unwrap().unwrap(), Ended::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_lost_while_its_heartbeats_wait_behind_a_slow_flush() {
    let silence_ms = 1_000;
    let mut broker =
        start_with(EngineOptions { heartbeat_timeout_ms: silence_ms, ..EngineOptions::default() });
    let fault = broker.fault();
    broker.worker_ready().await;
    fault.hold_syncs();
    // The first is being flushed, the second is appended meanwhile, the third fills the batch behind.
    for id in ["m1", "m2", "m3"] {
        broker.send_large(id).await;
        held_sync(Arc::clone(&fault)).await;
    }
    broker.worker(WorkerMessage::Heartbeat).await;
    // Nothing tells that time has passed but time.
    tokio::time::sleep(Duration::from_millis(2 * silence_ms)).await;
    fault.release_syncs();
    let mut delivered = None;
    for _ in 0..4 {
        match broker.out().await {
            Outbound::Worker { message: BrokerMessage::Deliver(delivery), .. } => {
                delivered = Some(delivery.seq);
            }
            Outbound::Worker { message: BrokerMessage::Bye { reason }, .. } => {
                panic!("the worker was sent away: {reason}");
            }
            _ => {}
        }
    }
    assert_eq!(delivered, Some(Seq(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_never_returns_does_not_keep_the_process() {
    let broker = start();
    let fault = broker.fault();
    fault.hold_syncs();
    broker.fill().await;
    assert_eq!(broker.stop().await, Ended::TimedOut);
    fault.release_syncs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_became_durable_is_not_told_while_the_store_is_down() {
    let mut broker = start();
    broker.send_until_accepted("m1").await;
    let fault = broker.fault();
    fault.hold_syncs();
    let key = IdempotencyKey::new("k1").unwrap();
    let (handle, order) = (broker.handle.clone(), repair_order(0, Act::Cancel));
    let repair = tokio::spawn(async move { handle.repair(order).await });
    held_sync(Arc::clone(&fault)).await;
    // A reader that holds on to the broken store keeps it from being opened again.
    fault.fail_held_sync();
    fault.release_syncs();
    let unknown = timeout(LIMIT, repair).await.unwrap().unwrap();
    assert!(matches!(unknown, Err(OperatorError::StoreBroke)), "{unknown:?}");
    let told = broker.handle.repair_outcome(key.clone()).await;
    assert!(
        matches!(told, Err(OperatorError::Refused(RepairRefusal::StoreUnavailable { .. }))),
        "{told:?}"
    );
    drop(fault);
    broker.send_until_accepted("m2").await;
    assert!(broker.handle.repair_outcome(key).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_not_known_is_told_to_say_ready() {
    let mut broker = start();
    broker.worker(WorkerMessage::Heartbeat).await;
    assert!(matches!(broker.told().await, BrokerMessage::Bye { .. }));
    // What it had sent already brings it no second one.
    broker.worker(WorkerMessage::Heartbeat).await;
    broker.taken_in().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_was_configured_since_counts_when_the_store_is_back() {
    let mut broker = start();
    let schema = SchemaText::new(r#"{"type":"array"}"#);
    let settings = QueueSettings { schema, ..QueueSettings::default() };
    broker.handle.put_queue(Actor::broker(), queue(), settings).await.unwrap();
    // None of these comes by a door that asks the schema.
    broker.send_until_accepted("m1").await;
    let fault = broker.fault();
    fault.hold_syncs();
    broker.send("m2").await;
    held_sync(Arc::clone(&fault)).await;
    fault.fail_held_sync();
    fault.release_syncs();
    drop(fault);
    assert!(matches!(broker.reply().await, ClientReply::Rejected(_)), "m2 isn't durable");
    broker.send_until_accepted("m3").await;
    let refused = broker.handle.send_message(queue(), send_request("m4").content).await;
    let Err(OperatorError::Rejected(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.code, RejectCode::Schema);
    let again = broker.handle.send_message(queue(), send_request("m1").content).await.unwrap();
    assert!(again.duplicate, "what was accepted before is a duplicate, whatever the schema says");
}
