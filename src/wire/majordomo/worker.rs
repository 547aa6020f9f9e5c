//! A worker's side.

use bytes::Bytes;

use super::{Version, body, missing, service};
use crate::model::{DeliveryId, Rejection, WorkerInfo};
use crate::wire::frames::{check_payload, malformed};
use crate::wire::{BrokerMessage, Delivery, WorkerMessage};

const TAG_1: &[u8] = b"MDPW01";
const TAG_2: &[u8] = b"MDPW02";
/// Commands that both versions have.
const READY: u8 = 1;
const REQUEST: u8 = 2;
/// A version's others.
const REPLY_1: u8 = 3;
const HEARTBEAT_1: u8 = 4;
const DISCONNECT_1: u8 = 5;
const PARTIAL_2: u8 = 3;
const FINAL_2: u8 = 4;
const HEARTBEAT_2: u8 = 5;
const DISCONNECT_2: u8 = 6;

/// What a worker says.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// What a worker of MUB1 says too.
    Message(WorkerMessage),
    /// It goes, and doesn't answer what it has.
    Disconnect,
}

impl Version {
    /// Reads a worker's frames, the tag first. What can't be read is dropped: the rejection is for the log.
    pub fn decode_worker(frames: Vec<Bytes>) -> Result<(Self, Says), Rejection> {
        let mut frames = frames.into_iter();
        let version = match frames.next().as_deref() {
            Some(TAG_1) => Self::V1,
            Some(TAG_2) => Self::V2,
            _ => return Err(malformed("the tag is neither MDPW01 nor MDPW02")),
        };
        let command = frames.next().ok_or_else(missing("command"))?;
        let says = match (version, &command[..]) {
            (Self::V1 | Self::V2, [READY]) => {
                let name = frames.next().ok_or_else(missing("service"))?;
                Says::Message(ready(version, &name)?)
            }
            (Self::V1, [REPLY_1]) | (Self::V2, [FINAL_2]) => {
                let (delivery, reply) = answer(frames)?;
                Says::Message(WorkerMessage::Ack { delivery, reply })
            }
            (Self::V2, [PARTIAL_2]) => {
                let (delivery, payload) = answer(frames)?;
                Says::Message(WorkerMessage::Partial { delivery, payload })
            }
            (Self::V1, [HEARTBEAT_1]) | (Self::V2, [HEARTBEAT_2]) => {
                Says::Message(WorkerMessage::Heartbeat)
            }
            (Self::V1, [DISCONNECT_1]) | (Self::V2, [DISCONNECT_2]) => Says::Disconnect,
            (Self::V1 | Self::V2, _) => {
                return Err(malformed(format!("{command:?} is no command of a worker")));
            }
        };
        Ok((version, says))
    }

    /// The frames for a worker, the tag first; none where the protocol has no word for it.
    pub fn encode(self, message: &BrokerMessage) -> Option<Vec<Bytes>> {
        let (heartbeat, disconnect) = match self {
            Self::V1 => (HEARTBEAT_1, DISCONNECT_1),
            Self::V2 => (HEARTBEAT_2, DISCONNECT_2),
        };
        match message {
            BrokerMessage::Deliver(delivery) => Some(self.request(delivery)),
            BrokerMessage::Heartbeat => Some(self.command(heartbeat)),
            BrokerMessage::Bye { .. } | BrokerMessage::Rejected(_) => {
                Some(self.command(disconnect))
            }
            BrokerMessage::Welcome(_)
            | BrokerMessage::Stale { .. }
            | BrokerMessage::Pause { .. }
            | BrokerMessage::Resume { .. }
            | BrokerMessage::Drain { .. }
            | BrokerMessage::Restart { .. } => None,
        }
    }

    /// The address is the delivery: it comes back with the reply.
    fn request(self, delivery: &Delivery) -> Vec<Bytes> {
        let mut frames = self.command(REQUEST);
        frames.push(Bytes::from(delivery.delivery.to_string()));
        frames.push(Bytes::new());
        frames.extend(body::split(&delivery.content.payload));
        frames
    }

    fn command(self, command: u8) -> Vec<Bytes> {
        let tag = match self {
            Self::V1 => TAG_1,
            Self::V2 => TAG_2,
        };
        vec![Bytes::from_static(tag), Bytes::copy_from_slice(&[command])]
    }
}

fn ready(version: Version, name: &[u8]) -> Result<WorkerMessage, Rejection> {
    let spoken = match version {
        Version::V1 => "Majordomo 0.1",
        Version::V2 => "Majordomo 0.2",
    };
    let info = WorkerInfo { version: Some(spoken.to_owned()), ..WorkerInfo::default() };
    Ok(WorkerMessage::Ready { queues: vec![service(name)?], credit: 1, info })
}

/// Address, empty frame, body.
fn answer(mut frames: impl Iterator<Item = Bytes>) -> Result<(DeliveryId, Bytes), Rejection> {
    let address = frames.next().ok_or_else(missing("address"))?;
    let text = std::str::from_utf8(&address).map_err(|e| malformed(format!("the address: {e}")))?;
    let delivery = text.parse().map_err(|e| malformed(format!("the address: {e}")))?;
    match frames.next() {
        Some(empty) if empty.is_empty() => {}
        _ => return Err(malformed("there is no empty frame after the address")),
    }
    let frames: Vec<Bytes> = frames.collect();
    if frames.is_empty() {
        return Err(missing("body")());
    }
    let payload = body::join(frames);
    check_payload(&payload)?;
    Ok((delivery, payload))
}
