//! One door's way in: envelopes opened, frames decoded, requests handed to the loop.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use zeromq::{RouterRecvHalf, SocketRecv, ZmqMessage};

use super::guard::Peer;
use super::intake::{Intake, LoopEnded};
use super::majordomo::{self, Step};
use super::sockets::DoorState;
use super::{Inbound, Outbound, PeerId, ReplyForm};
use crate::model::{MessageId, Rejection};
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, WorkerMessage};

/// Payloads up to this size are copied out of the crate's read buffer: a slice of it would keep all of
/// the buffer and its other messages alive for as long as this one waits. Copying this much takes less
/// time than the disk takes to store it; larger ones have a buffer nearly to themselves.
const COPY_BYTES: usize = 1024 * 1024;

/// One door's way in.
pub(super) struct Receiver {
    pub(super) state: DoorState,
    pub(super) intake: Intake,
    pub(super) outbound: mpsc::Sender<Outbound>,
    pub(super) new_message_id: fn() -> MessageId,
}

impl Receiver {
    pub(super) async fn clients(mut self, mut router: RouterRecvHalf) {
        while let Ok(message) = router.recv().await {
            let Some((peer, reply_form, frames)) = self.open(message) else { continue };
            let bytes = frames.iter().map(Bytes::len).sum();
            if majordomo::is_clients(&frames) {
                let step = majordomo::client(&peer, &reply_form, frames, self.new_message_id);
                if self.majordomo(&peer, step, bytes).await.is_err() {
                    return;
                }
                continue;
            }
            let delivered = match ClientRequest::decode(frames, self.new_message_id) {
                Ok(request) => {
                    self.pass(Inbound::Client { peer: peer.id, reply_form, request }, bytes).await
                }
                Err(rejection) => {
                    let reply = ClientReply::Rejected(rejection);
                    self.answer(Outbound::Client { peer: peer.id, reply_form, reply }).await;
                    Ok(())
                }
            };
            if delivered.is_err() {
                return;
            }
        }
    }

    pub(super) async fn workers(mut self, mut router: RouterRecvHalf) {
        while let Ok(message) = router.recv().await {
            let Some((peer, form, frames)) = self.open(message) else { continue };
            peer.set_delimited(form == ReplyForm::Delimited);
            let bytes = frames.iter().map(Bytes::len).sum();
            if majordomo::is_workers(&frames) {
                let step = majordomo::worker(&peer, frames);
                if self.majordomo(&peer, step, bytes).await.is_err() {
                    return;
                }
                continue;
            }
            let delivered = match WorkerMessage::decode(frames) {
                Ok(message) => self.pass(Inbound::Worker { peer: peer.id, message }, bytes).await,
                Err(rejection) => {
                    let message = rejected(rejection);
                    self.answer(Outbound::Worker { peer: peer.id, message }).await;
                    Ok(())
                }
            };
            if delivered.is_err() {
                return;
            }
        }
    }

    /// Hands on what a peer says, in memory of its own.
    async fn pass(&mut self, inbound: Inbound, bytes: usize) -> Result<(), LoopEnded> {
        let inbound = match inbound {
            Inbound::Client { peer, reply_form, request } => {
                Inbound::Client { peer, reply_form, request: detach(request) }
            }
            Inbound::Worker { peer, message } => {
                Inbound::Worker { peer, message: detach_reply(message) }
            }
            other => other,
        };
        self.intake.send(inbound, bytes).await
    }

    /// Does what a Majordomo peer's message asks for. What can't be read is dropped and counted.
    async fn majordomo(
        &mut self,
        peer: &Peer,
        step: Result<Step, Rejection>,
        bytes: usize,
    ) -> Result<(), LoopEnded> {
        match step {
            Ok(Step::In(inbound)) => self.pass(inbound, bytes).await,
            Ok(Step::Out(outbound)) => {
                // Closed only while the broker stops.
                let _ = self.outbound.send(outbound).await;
                Ok(())
            }
            Ok(Step::Unexpected) => {
                let message = BrokerMessage::Bye { reason: "READY twice".to_owned() };
                let _ = self.outbound.send(Outbound::Worker { peer: peer.id, message }).await;
                self.intake.send(Inbound::WorkerGone { peer: peer.id }, bytes).await
            }
            Err(rejection) => {
                tracing::debug!(reason = rejection.reason, "a Majordomo message is dropped");
                self.state.counters.could_not_read();
                Ok(())
            }
        }
    }

    /// Splits the envelope: who, whether with a delimiter, the frames from the magic on. `None` for a
    /// peer that has left.
    fn open(&self, message: ZmqMessage) -> Option<(Arc<Peer>, ReplyForm, Vec<Bytes>)> {
        let mut frames = message.into_vecdeque();
        let identity = frames.pop_front()?;
        let id = PeerId(u64::from_be_bytes(identity[..].try_into().ok()?));
        let peer = self.state.peers.get(id)?;
        let form = if frames.front().is_some_and(Bytes::is_empty) {
            frames.pop_front();
            ReplyForm::Delimited
        } else {
            ReplyForm::Plain
        };
        Some((peer, form, frames.into()))
    }

    async fn answer(&self, rejected: Outbound) {
        self.state.counters.could_not_read();
        // Closed only while the broker stops.
        let _ = self.outbound.send(rejected).await;
    }
}

fn rejected(rejection: Rejection) -> BrokerMessage {
    BrokerMessage::Rejected(rejection)
}

/// As [`detach`], for what a worker says.
fn detach_reply(message: WorkerMessage) -> WorkerMessage {
    match message {
        WorkerMessage::Ack { delivery, reply } => {
            WorkerMessage::Ack { delivery, reply: own(reply) }
        }
        WorkerMessage::Partial { delivery, payload } => {
            WorkerMessage::Partial { delivery, payload: own(payload) }
        }
        other => other,
    }
}

/// Copies small payloads out of the read buffer (see [`COPY_BYTES`]). Headers and ids are the codec's own
/// copies already.
fn detach(request: ClientRequest) -> ClientRequest {
    let detach = |mut send: crate::wire::SendRequest| {
        send.content.payload = own(send.content.payload);
        send
    };
    match request {
        ClientRequest::Send(send) => ClientRequest::Send(detach(send)),
        ClientRequest::SendMany(sends) => {
            ClientRequest::SendMany(sends.into_iter().map(detach).collect())
        }
        ClientRequest::Call { send, timeout_ms, parts } => {
            ClientRequest::Call { send: detach(send), timeout_ms, parts }
        }
        ClientRequest::Gather(mut request) => {
            request.content.payload = own(request.content.payload);
            ClientRequest::Gather(request)
        }
        ClientRequest::Publish { topic, mut content, mandatory } => {
            content.payload = own(content.payload);
            ClientRequest::Publish { topic, content, mandatory }
        }
        ClientRequest::Start { saga, mut input } => {
            input.payload = own(input.payload);
            ClientRequest::Start { saga, input }
        }
        other @ (ClientRequest::Hello { .. }
        | ClientRequest::Subscribe { .. }
        | ClientRequest::Unsubscribe { .. }
        | ClientRequest::Status { .. }
        | ClientRequest::Ping) => other,
    }
}

fn own(payload: Bytes) -> Bytes {
    if payload.len() <= COPY_BYTES { Bytes::copy_from_slice(&payload) } else { payload }
}
