//! The clients' and the workers' sockets behind their guards: envelopes opened, frames decoded, requests handed to the
//! loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::admission::{Admitted, DoorAuth, too_large_for_a_stranger};
use super::guard::{End, GuardCounters, Inside, Outbox, Peer, Refusal, Role};
use super::intake::{Intake, LoopEnded};
use super::majordomo::{self, Step};
use super::options::NetLimits;
use super::sender::Sender;
use super::{Inbound, Outbound, PeerId, ReplyForm};
use crate::model::{MessageId, Rejection};
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
        let passed = match self.side {
            Side::Clients => self.client(peer, delimited, frames).await,
            Side::Workers => self.worker(peer, delimited, frames).await,
        };
        match passed {
            Ok(()) => Ok(()),
            // The phase follows. Until then, what is out may still leave.
            Err(Stopped::LoopEnded) => std::future::pending().await,
            Err(Stopped::Told(refusal)) => Err(End::Told(refusal)),
        }
    }

    fn subscribe(&self, _: &Peer, _: &[u8], _: bool) -> Result<(), Refusal> {
        Err(Refusal::Command)
    }

    fn tell_stranger(&self, peer: &Peer, delimited: bool) {
        let (peer, rejection) = (peer.id, too_large_for_a_stranger());
        self.counters.may_not();
        self.sender.send(match self.side {
            Side::Clients => {
                let reply_form = if delimited { ReplyForm::Delimited } else { ReplyForm::Plain };
                Outbound::Client { peer, reply_form, reply: ClientReply::Rejected(rejection) }
            }
            Side::Workers => Outbound::Worker { peer, message: BrokerMessage::Rejected(rejection) },
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

/// Why no more is heard of a peer.
enum Stopped {
    LoopEnded,
    /// It has been told why.
    Told(Refusal),
}

impl From<LoopEnded> for Stopped {
    fn from(_: LoopEnded) -> Self {
        Self::LoopEnded
    }
}

impl Router {
    async fn client(
        &self,
        peer: &Peer,
        delimited: bool,
        frames: Vec<Bytes>,
    ) -> Result<(), Stopped> {
        let bytes = frames.iter().map(Bytes::len).sum();
        let reply_form = if delimited { ReplyForm::Delimited } else { ReplyForm::Plain };
        if majordomo::is_clients(&frames) {
            let step = majordomo::client(peer, &reply_form, frames, self.new_message_id);
            return self.majordomo(peer, step, bytes).await;
        }
        let id = peer.id;
        match ClientRequest::decode(frames, self.new_message_id) {
            Ok(request) => {
                self.pass(peer, Inbound::Client { peer: id, reply_form, request }, bytes).await
            }
            Err(rejection) => {
                let reply = ClientReply::Rejected(rejection);
                self.answer(Outbound::Client { peer: id, reply_form, reply });
                Ok(())
            }
        }
    }

    async fn worker(
        &self,
        peer: &Peer,
        delimited: bool,
        frames: Vec<Bytes>,
    ) -> Result<(), Stopped> {
        peer.set_delimited(delimited);
        let bytes = frames.iter().map(Bytes::len).sum();
        if majordomo::is_workers(&frames) {
            let step = majordomo::worker(peer, frames);
            return self.majordomo(peer, step, bytes).await;
        }
        let id = peer.id;
        match WorkerMessage::decode(frames) {
            Ok(message) => self.pass(peer, Inbound::Worker { peer: id, message }, bytes).await,
            Err(rejection) => {
                let message = BrokerMessage::Rejected(rejection);
                self.answer(Outbound::Worker { peer: id, message });
                Ok(())
            }
        }
    }

    /// Does what a Majordomo peer's message asks for. What can't be read is dropped and counted.
    async fn majordomo(
        &self,
        peer: &Peer,
        step: Result<Step, Rejection>,
        bytes: usize,
    ) -> Result<(), Stopped> {
        match step {
            Ok(Step::In(inbound)) => self.pass(peer, inbound, bytes).await,
            Ok(Step::Out(outbound)) => {
                self.sender.send(outbound);
                Ok(())
            }
            Ok(Step::Unexpected) => {
                let message = BrokerMessage::Bye { reason: "READY twice".to_owned() };
                self.sender.send(Outbound::Worker { peer: peer.id, message });
                Ok(self.intake.send(Inbound::WorkerGone { peer: peer.id }, bytes).await?)
            }
            Err(rejection) => {
                tracing::debug!(reason = rejection.reason, "a Majordomo message is dropped");
                self.counters.could_not_read();
                Ok(())
            }
        }
    }

    /// Hands on what the peer may say; HELLO, and what it may not, is answered here.
    async fn pass(&self, peer: &Peer, inbound: Inbound, bytes: usize) -> Result<(), Stopped> {
        let admitted = match &self.auth {
            Some(auth) => auth.admit(&peer.session, inbound),
            None => Admitted::In(inbound),
        };
        match admitted {
            Admitted::In(inbound) => Ok(self.intake.send(inbound, bytes).await?),
            Admitted::Welcome(outbound) => {
                self.sender.send(outbound);
                Ok(())
            }
            Admitted::Out(outbound) => {
                self.counters.may_not();
                self.sender.send(outbound);
                Ok(())
            }
            Admitted::Over(outbound) => {
                self.counters.may_not();
                self.sender.send(outbound);
                Err(Stopped::Told(Refusal::Token))
            }
        }
    }

    fn answer(&self, rejected: Outbound) {
        self.counters.could_not_read();
        self.sender.send(rejected);
    }
}
