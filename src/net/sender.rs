//! The way out of the clients' and the workers' doors.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::frames::Wire;
use super::guard::{Peer, Peers, Sent};
use super::{Outbound, PeerId, ReplyForm, majordomo};
use crate::wire::BrokerMessage;

/// Takes what is to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Ways>);

#[derive(Debug)]
struct Ways {
    clients: Arc<Peers>,
    workers: Arc<Peers>,
    /// Workers that are doors.
    pulls: HashMap<PeerId, mpsc::Sender<BrokerMessage>>,
}

impl Sender {
    pub(super) fn new(
        clients: Arc<Peers>,
        workers: Arc<Peers>,
        pulls: HashMap<PeerId, mpsc::Sender<BrokerMessage>>,
    ) -> Self {
        Self(Arc::new(Ways { clients, workers, pulls }))
    }

    /// Never waits. A message to a peer that is gone is dropped; a peer for which too much waits is cut off, and
    /// `ClientGone` or `WorkerGone` follows.
    pub fn send(&self, outbound: Outbound) {
        let Ways { clients, workers, .. } = &*self.0;
        match outbound {
            Outbound::Client { peer, reply_form, reply } => {
                let (delimited, frames) = match reply_form {
                    ReplyForm::Plain => (false, Some(reply.encode())),
                    ReplyForm::Delimited => (true, Some(reply.encode())),
                    ReplyForm::Majordomo(form) => (form.delimited(), form.encode(&reply)),
                };
                if let Some(frames) = frames {
                    put(clients, peer, delimited, &frames);
                }
            }
            Outbound::Served { peer, form, is_served } => {
                put(clients, peer, form.delimited(), &form.encode_served(is_served));
            }
            Outbound::Frames { peer, delimited, frames } => put(clients, peer, delimited, &frames),
            Outbound::Worker { peer: id, message } => {
                if let Sent::Unknown = workers.send_with(id, |peer| to_worker(peer, &message)) {
                    self.pull(id, message);
                }
            }
        }
    }

    /// To a worker that is a door, if it is one.
    fn pull(&self, peer: PeerId, message: BrokerMessage) {
        if let Some(door) = self.0.pulls.get(&peer)
            && door.try_send(message).is_err()
        {
            tracing::warn!("a pull door doesn't take what it is told");
        }
    }
}

fn to_worker(peer: &Peer, message: &BrokerMessage) -> Option<Wire> {
    let frames = match (peer.majordomo(), message) {
        (Some(version), _) => majordomo::to_worker(peer, version, message)?,
        (None, BrokerMessage::Deliver(delivery)) => {
            let own = delivery.own_fields();
            let parts = delivery.parts(&own);
            return Some(Wire::of_parts(peer.delimited(), &parts, &delivery.content.payload));
        }
        (None, _) => message.encode(),
    };
    Some(framed(peer.delimited(), &frames))
}

fn put(peers: &Peers, id: PeerId, delimited: bool, frames: &[Bytes]) {
    peers.send(id, framed(delimited, frames));
}

fn framed(delimited: bool, frames: &[Bytes]) -> Wire {
    if delimited { Wire::delimited(frames) } else { Wire::of(frames) }
}
