//! The clients' and the workers' sockets behind their guards: envelopes opened, frames decoded, requests handed to the
//! loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::admission::{Admitted, DoorAuth, admit_all, too_large_for_a_stranger};
use super::fitting::fitting;
use super::guard::{End, GuardCounters, Inside, Outbox, Peer, Refusal, Role};
use super::intake::{Intake, LoopEnded};
use super::majordomo::{self, Step};
use super::options::NetLimits;
use super::sender::Sender;
use super::{Inbound, Outbound, PeerId, ReplyForm};
use crate::model::{MessageId, Rejection};
use crate::schema::Checks;
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, WorkerMessage};

/// Whose door it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The clients'.
    Clients,
    /// The workers'.
    Workers,
}

/// A ROUTER: each answer goes to the connection that its request came from.
pub(super) struct Router {
    pub(super) side: Side,
    pub(super) intake: Intake,
    pub(super) sender: Sender,
    pub(super) counters: Arc<GuardCounters>,
    /// Whom it lets do what; anybody anything if absent.
    pub(super) auth: Option<DoorAuth>,
    /// What holds messages against the schemas of their queues.
    pub(super) checks: Option<Arc<Checks>>,
    pub(super) new_message_id: fn() -> MessageId,
}

impl Inside for Router {
    fn role(&self) -> Role {
        Role { name: "ROUTER", meets: &["REQ", "DEALER", "ROUTER"] }
    }

    fn stall(&self, limits: &NetLimits) -> Option<Duration> {
        Some(limits.stall)
    }

    fn joined(&self, _: &Peer) {}

    async fn hear(&self, peer: &Peer, mut frames: Vec<Bytes>) -> Result<(), End> {
        let delimited = frames.first().is_some_and(Bytes::is_empty);
        if delimited {
            frames.remove(0);
        }
        let bytes = frames.iter().map(Bytes::len).sum();
        let heard = match self.side {
            Side::Clients => self.client(peer, delimited, frames),
            Side::Workers => self.worker(peer, delimited, frames),
        };
        let Some(inbound) = heard.map_err(End::Told)? else { return Ok(()) };
        // Its connection waits meanwhile, so that what it sends keeps its order.
        let inbound = fitting(self.checks.as_deref(), inbound).await;
        let sent = match self.intake.try_send(inbound, bytes) {
            Ok(None) => Ok(()),
            Ok(Some(inbound)) => self.intake.send(inbound, bytes).await,
            Err(ended) => Err(ended),
        };
        match sent {
            Ok(()) => Ok(()),
            // The phase follows. Until then, what is out may still leave.
            Err(LoopEnded) => std::future::pending().await,
        }
    }

    fn subscribe(&self, _: &Peer, _: &[u8], _: bool) -> Result<(), Refusal> {
        Err(Refusal::Command)
    }

    fn tell_stranger(&self, from: &Peer, delimited: bool) {
        let (peer, rejection) = (from.id, too_large_for_a_stranger());
        self.counters.may_not();
        self.sender.send(match self.side {
            Side::Clients => {
                let reply_form = if delimited { ReplyForm::Delimited } else { ReplyForm::Plain };
                Outbound::Client { peer, reply_form, reply: ClientReply::Rejected(rejection) }
            }
            Side::Workers => {
                from.set_delimited(delimited);
                Outbound::Worker { peer, message: BrokerMessage::Rejected(rejection) }
            }
        });
    }

    fn taken(&self) {}

    async fn left(&self, peer: PeerId, _: Outbox) {
        let gone = match self.side {
            Side::Clients => Inbound::ClientGone { peer },
            Side::Workers => Inbound::WorkerGone { peer },
        };
        // If the loop has ended, nobody asks.
        let _ = self.intake.send(gone, 0).await;
    }
}

/// What goes to the loop, if anything does; why no more is heard of the peer, which has been told.
type Heard = Result<Option<Inbound>, Refusal>;

impl Router {
    fn client(&self, peer: &Peer, delimited: bool, frames: Vec<Bytes>) -> Heard {
        let reply_form = if delimited { ReplyForm::Delimited } else { ReplyForm::Plain };
        if majordomo::is_clients(&frames) {
            let step = majordomo::client(peer, &reply_form, frames, self.new_message_id);
            return self.majordomo(peer, step);
        }
        let id = peer.id;
        match ClientRequest::decode(frames, self.new_message_id) {
            Ok(request) => self.admit(peer, Inbound::Client { peer: id, reply_form, request }),
            Err(rejection) => {
                let reply = ClientReply::Rejected(rejection);
                self.answer(Outbound::Client { peer: id, reply_form, reply });
                Ok(None)
            }
        }
    }

    fn worker(&self, peer: &Peer, delimited: bool, frames: Vec<Bytes>) -> Heard {
        peer.set_delimited(delimited);
        if majordomo::is_workers(&frames) {
            let step = majordomo::worker(peer, frames);
            return self.majordomo(peer, step);
        }
        let id = peer.id;
        match WorkerMessage::decode(frames) {
            Ok(message) => self.admit(peer, Inbound::Worker { peer: id, message }),
            Err(rejection) => {
                let message = BrokerMessage::Rejected(rejection);
                self.answer(Outbound::Worker { peer: id, message });
                Ok(None)
            }
        }
    }

    /// Does what a Majordomo peer's message asks for. What can't be read is dropped and counted.
    fn majordomo(&self, peer: &Peer, step: Result<Step, Rejection>) -> Heard {
        match step {
            Ok(Step::In(inbound)) => self.admit(peer, inbound),
            Ok(Step::Out(outbound)) => {
                self.sender.send(outbound);
                Ok(None)
            }
            Ok(Step::Unexpected) => {
                let message = BrokerMessage::Bye { reason: "READY twice".to_owned() };
                self.sender.send(Outbound::Worker { peer: peer.id, message });
                Ok(Some(Inbound::WorkerGone { peer: peer.id }))
            }
            Err(rejection) => {
                tracing::debug!(reason = rejection.reason, "a Majordomo message is dropped");
                self.counters.could_not_read();
                Ok(None)
            }
        }
    }

    /// What the peer may say goes to the loop; HELLO, and what it may not, is answered here.
    fn admit(&self, peer: &Peer, inbound: Inbound) -> Heard {
        let admitted = match &self.auth {
            Some(auth) => auth.admit(&peer.session, inbound),
            None => admit_all(inbound),
        };
        match admitted {
            Admitted::In(inbound) => Ok(Some(inbound)),
            Admitted::Welcome(outbound) => {
                self.sender.send(outbound);
                Ok(None)
            }
            Admitted::Out(outbound) => {
                self.counters.may_not();
                self.sender.send(outbound);
                Ok(None)
            }
            Admitted::Over(outbound) => {
                self.counters.may_not();
                self.sender.send(outbound);
                Err(Refusal::Token)
            }
        }
    }

    fn answer(&self, rejected: Outbound) {
        self.counters.could_not_read();
        self.sender.send(rejected);
    }
}
