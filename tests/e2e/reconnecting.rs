//! The Rust client and worker when the broker is killed under them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mubroker::client::{Client, ClientError, Confirm, NewMessage};
use mubroker::model::{Accepted, CallStatus, QueueName, Seq};
use mubroker::wire::Delivery;
use mubroker::worker::{self, Failure, Handler, Work, WorkerOptions};
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;

use crate::harness::Broker;

const MESSAGES: u64 = 2_000;
const WINDOW: usize = 200;

fn queue() -> QueueName {
    QueueName::new("orders").expect("a name")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_the_broker_is_killed_is_there_once_and_in_order() {
    let mut broker = Broker::start_on_sockets("");
    let client = Client::connect(&broker.clients).await.expect("the broker listens");
    let (tell, mut told) = watch::channel(0);
    let sending = tokio::spawn(send_all(client, tell));
    for reached in [MESSAGES / 4, MESSAGES / 2] {
        told.wait_for(|confirmed| *confirmed >= reached).await.expect("it goes on");
        block_in_place(|| broker.restart(Signal::SIGKILL));
    }
    let accepted = sending.await.expect("no panic").expect("all are accepted");
    for (n, accepted) in (1..).zip(&accepted) {
        assert_eq!(accepted.seq, Seq(n), "once, and in the order of sending: {accepted:?}");
    }
    let view = broker.queue("orders").expect("the queue is there");
    assert_eq!((accepted.len() as u64, &view["depth"]), (MESSAGES, &MESSAGES.into()));
}

async fn send_all(client: Client, tell: watch::Sender<u64>) -> Result<Vec<Accepted>, ClientError> {
    let mut under_way: VecDeque<Confirm> = VecDeque::new();
    let mut accepted = Vec::new();
    for n in 0..MESSAGES {
        if under_way.len() == WINDOW {
            accepted.push(under_way.pop_front().expect("a window").accepted().await?);
            tell.send_replace(accepted.len() as u64);
        }
        let content = NewMessage::new("{}").id(&format!("m{n}")).build()?;
        under_way.push_back(client.submit(&queue(), content).await?);
    }
    for confirm in under_way {
        accepted.push(confirm.accepted().await?);
    }
    Ok(accepted)
}

/// Says that it has begun, and ends when it may.
struct Waits {
    begun: mpsc::Sender<u32>,
    may_end: watch::Receiver<bool>,
}

impl Handler for Waits {
    async fn handle(&self, delivery: Delivery, _: Work) -> Result<Bytes, Failure> {
        self.begun.send(delivery.attempt).await.expect("the test listens");
        let _ = self.may_end.clone().wait_for(|may| *may).await;
        Ok(Bytes::from(format!("did {}", delivery.content.id())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_worker_is_at_it_when_the_broker_is_killed_gets_its_reply() {
    let mut broker = Broker::start_on_sockets("");
    let (begun, mut beginnings) = mpsc::channel(8);
    let (end, may_end) = watch::channel(false);
    let options = WorkerOptions::new(&broker.workers, vec![queue()]);
    let working = tokio::spawn(worker::run(
        options,
        Waits { begun, may_end },
        std::future::pending(),
        |_| {},
    ));
    let client = Client::connect(&broker.clients).await.expect("the broker listens");
    let calling = tokio::spawn(async move {
        let content = NewMessage::new("{}").id("called").build()?;
        client.call(&queue(), content, Duration::from_secs(30)).await
    });
    beginnings.recv().await.expect("the worker works");
    block_in_place(|| broker.restart(Signal::SIGKILL));
    end.send_replace(true);
    let reply = calling.await.expect("no panic").expect("a reply");
    assert_eq!((reply.status, &reply.payload[..]), (CallStatus::Ok, &b"did called"[..]));
    let view = broker.queue("orders").expect("the queue is there");
    assert_eq!((&view["depth"], &view["done"]), (&0.into(), &1.into()), "{view}");
    working.abort();
}
