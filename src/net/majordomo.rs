//! Majordomo peers at the clients' and the workers' door: their frames as requests of MUB1, and the answers back.
//!
//! What a client's answer must look like is in its [`ReplyForm`]; what a worker speaks is noted with its connection.

use std::sync::Arc;

use bytes::Bytes;

use super::guard::Peer;
use super::{Inbound, Outbound, PeerId, ReplyForm};
use crate::model::{MessageId, Rejection};
use crate::wire::majordomo::{Asked, Asks, Says, Version};
pub(super) use crate::wire::majordomo::{is_clients, is_workers};
use crate::wire::{BrokerMessage, ClientReply, WorkerMessage};

/// How a Majordomo client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MajordomoForm {
    asked: Asked,
    delimited: bool,
}

impl MajordomoForm {
    /// The frames after identity and delimiter; none: it is not answered.
    pub(super) fn encode(&self, reply: &ClientReply) -> Option<Vec<Bytes>> {
        self.asked.encode(reply)
    }

    /// The same, for who asked whether a service is there.
    pub(super) fn encode_served(&self, is_served: bool) -> Vec<Bytes> {
        self.asked.served(is_served)
    }

    /// The answer to who wants a request no more.
    pub fn closed(&self, peer: PeerId, is_done: bool) -> Outbound {
        let (delimited, frames) = (self.delimited, self.asked.closed(is_done));
        Outbound::Frames { peer, delimited, frames }
    }

    /// Whether the answer has an empty delimiter.
    pub(super) fn delimited(&self) -> bool {
        self.delimited
    }
}

/// What is to be done with a message of a Majordomo peer.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes to the loop.
    In(Inbound),
    /// It is answered here.
    Out(Outbound),
    /// The worker must begin anew: it said READY twice.
    Unexpected,
}

/// What a client asks.
pub(super) fn client(
    peer: &Peer,
    form: &ReplyForm,
    frames: Vec<Bytes>,
    new_id: fn() -> MessageId,
) -> Result<Step, Rejection> {
    let (asked, asks) = Asked::decode(frames, new_id)?;
    let delimited = *form == ReplyForm::Delimited;
    let form = Arc::new(MajordomoForm { asked, delimited });
    let peer = peer.id;
    Ok(match asks {
        Asks::Request(request) => {
            let reply_form = ReplyForm::Majordomo(form);
            Step::In(Inbound::Client { peer, reply_form, request })
        }
        Asks::Served(queue) => Step::In(Inbound::Service { peer, form, queue }),
        Asks::Close(id) => Step::In(Inbound::Close { peer, form, id }),
        Asks::Code(code) => {
            let frames = form.asked.code(code);
            Step::Out(Outbound::Frames { peer, delimited, frames })
        }
    })
}

/// What a worker says.
pub(super) fn worker(peer: &Peer, frames: Vec<Bytes>) -> Result<Step, Rejection> {
    let (version, says) = Version::decode_worker(frames)?;
    peer.set_majordomo(version);
    Ok(match says {
        Says::Disconnect => {
            peer.set_ready(false);
            Step::In(Inbound::WorkerGone { peer: peer.id })
        }
        Says::Message(WorkerMessage::Ready { .. }) if peer.set_ready(true) => Step::Unexpected,
        Says::Message(message) => Step::In(Inbound::Worker { peer: peer.id, message }),
    })
}

/// What a worker is told. One that is told to go may say READY again.
pub(super) fn to_worker(
    peer: &Peer,
    version: Version,
    message: &BrokerMessage,
) -> Option<Vec<Bytes>> {
    match message {
        BrokerMessage::Bye { .. } | BrokerMessage::Rejected(_) => drop(peer.set_ready(false)),
        BrokerMessage::Welcome(_)
        | BrokerMessage::Deliver(_)
        | BrokerMessage::Stale { .. }
        | BrokerMessage::Heartbeat
        | BrokerMessage::Pause { .. }
        | BrokerMessage::Resume { .. }
        | BrokerMessage::Drain { .. }
        | BrokerMessage::Restart { .. } => {}
    }
    version.encode(message)
}
