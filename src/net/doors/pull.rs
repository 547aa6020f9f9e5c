//! A queue drained to plain PULL sinks, at most once.
//!
//! The door is a worker of its queue inside the broker, while a sink is there. What it is given counts as done with
//! that (the engine's `at_most_once`), in a commit before; it goes to the next sink that has room, and waits here, a few
//! at most, while none has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::model::limits::HEARTBEAT_MS;
use crate::model::{DeliveryId, QueueName, WorkerInfo};
use crate::net::frames::Wire;
use crate::net::guard::{Phase, reached};
use crate::net::intake::LoopEnded;
use crate::net::plain::{Links, Opened};
use crate::net::{Inbound, PeerId};
use crate::wire::{BrokerMessage, WorkerMessage};

/// Messages in hand: enough that commits are shared, few since they are lost with the broker.
const CREDIT: u32 = 32;
/// What the broker may say before it is read: deliveries, and a few words about them.
const SAID: usize = 4 * CREDIT as usize;

pub(super) struct PullDoor {
    peer: PeerId,
    queue: QueueName,
    endpoint: String,
    links: Arc<Links>,
    inbound: mpsc::Sender<Inbound>,
    said: mpsc::Receiver<BrokerMessage>,
    /// In hand, in order.
    waiting: VecDeque<(DeliveryId, Wire)>,
    is_ready: bool,
}

impl PullDoor {
    pub(super) fn new(
        peer: PeerId,
        queue: QueueName,
        opened: &Opened,
        inbound: mpsc::Sender<Inbound>,
    ) -> (Self, mpsc::Sender<BrokerMessage>) {
        let (messages, said) = mpsc::channel(SAID);
        let (links, endpoint) = (Arc::clone(&opened.links), opened.endpoint.clone());
        let waiting = VecDeque::new();
        (Self { peer, queue, endpoint, links, inbound, said, waiting, is_ready: false }, messages)
    }

    /// Runs until the broker stops.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let draining = async {
            // An error says that the loop has ended; the phase follows.
            let _ = self.serve().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = draining => {}
            () = reached(&mut phase, Phase::Draining) => {}
        }
        for _ in &self.waiting {
            self.links.lose();
        }
        if !self.waiting.is_empty() {
            let (queue, lost) = (&self.queue, self.waiting.len());
            tracing::warn!(%queue, lost, "no sink took what a pull door had in hand");
        }
    }

    async fn serve(&mut self) -> Result<(), LoopEnded> {
        let mut sinks = self.links.count();
        let mut heartbeat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_sinks = *sinks.borrow_and_update() > 0;
            if has_sinks != self.is_ready {
                self.is_ready = has_sinks;
                self.say(if has_sinks { self.ready() } else { WorkerMessage::Bye }).await?;
            }
            let next = self.waiting.front().cloned();
            tokio::select! {
                changed = sinks.changed() => changed.map_err(|_| LoopEnded)?,
                message = self.said.recv() => self.hear(message.ok_or(LoopEnded)?),
                delivery = give(&self.links, next), if !self.waiting.is_empty() => {
                    self.waiting.pop_front();
                    self.say(WorkerMessage::Ack { delivery, reply: Bytes::new() }).await?;
                }
                _ = heartbeat.tick(), if self.is_ready || !self.waiting.is_empty() => {
                    self.beat().await?;
                }
            }
        }
    }

    fn hear(&mut self, message: BrokerMessage) {
        match message {
            BrokerMessage::Deliver(delivery) => {
                let wire = Wire::of(std::slice::from_ref(&delivery.content.payload));
                self.waiting.push_back((delivery.delivery, wire));
            }
            // The store was opened anew, or a loop stood still: READY again, if there are sinks.
            BrokerMessage::Bye { .. } => self.is_ready = false,
            // A door has no process of its own that could end.
            BrokerMessage::Welcome(_)
            | BrokerMessage::Pause { .. }
            | BrokerMessage::Resume { .. }
            | BrokerMessage::Drain { .. }
            | BrokerMessage::Restart { .. }
            | BrokerMessage::Stale { .. }
            | BrokerMessage::Heartbeat
            | BrokerMessage::Rejected(_) => {}
        }
    }

    fn ready(&self) -> WorkerMessage {
        let name = format!("pull {}", self.endpoint);
        let info = WorkerInfo { name, at_most_once: true, ..WorkerInfo::default() };
        WorkerMessage::Ready { queues: vec![self.queue.clone()], credit: CREDIT, info }
    }

    /// What waits for a sink waits as long as it takes.
    async fn beat(&mut self) -> Result<(), LoopEnded> {
        self.say(WorkerMessage::Heartbeat).await?;
        for (delivery, _) in self.waiting.clone() {
            let note = "waits for a sink".to_owned();
            self.say(WorkerMessage::Progress { delivery, extend_ms: None, note }).await?;
        }
        Ok(())
    }

    async fn say(&self, message: WorkerMessage) -> Result<(), LoopEnded> {
        let event = Inbound::Worker { peer: self.peer, message };
        self.inbound.send(event).await.map_err(|_| LoopEnded)
    }
}

/// Gives the next to a sink. Cancel safe: dropped, none got it.
async fn give(links: &Links, next: Option<(DeliveryId, Wire)>) -> DeliveryId {
    match next {
        Some((delivery, wire)) => {
            links.send_to_any(wire).await;
            delivery
        }
        None => std::future::pending().await,
    }
}
