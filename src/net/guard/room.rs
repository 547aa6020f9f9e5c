//! Room for large messages that are under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::End;
use super::counters::Refusal;
use super::relay::MAX_READ_BYTES;
use crate::net::room::{ROOM_UNIT_BYTES, units};

/// Messages up to this size need no room from the common store: one fits the read buffers anyway.
const SMALL_MESSAGE_BYTES: u64 = MAX_READ_BYTES as u64;

/// Room shared by all peers of a door.
#[derive(Debug, Clone)]
pub(super) struct Room {
    open: Arc<Semaphore>,
    /// For what isn't out of CURVE's boxes yet.
    pub(super) boxes: Arc<Semaphore>,
}

impl Room {
    /// `bytes` for all peers; at least one largest message fits.
    pub(super) fn new(bytes: usize, message_bytes: usize) -> Self {
        let bytes = bytes.max(message_bytes);
        let open = Arc::new(Semaphore::new(bytes.div_ceil(ROOM_UNIT_BYTES)));
        Self { open, boxes: crate::net::curve::room(bytes) }
    }
}

/// What one message holds of it.
pub(super) struct Held {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn of(room: &Room) -> Self {
        Self { room: room.clone(), permit: None }
    }

    /// Gives back what a message held that has been handed on.
    pub(super) fn release(&mut self) {
        self.permit = None;
    }

    /// Whether there is room for a message of which `bytes` are declared so far, taken now if need be. Who holds nothing is to
    /// wait if there isn't; who holds a part already must not, or two could wait for each other.
    pub(super) fn has_enough(&mut self, bytes: u64) -> Result<bool, End> {
        if bytes <= SMALL_MESSAGE_BYTES {
            return Ok(true);
        }
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = units_of(bytes).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        if missing == 0 {
            return Ok(true);
        }
        match (self.room.open.clone().try_acquire_many_owned(missing), &mut self.permit) {
            (Ok(more), Some(permit)) => permit.merge(more),
            (Ok(all), none) => *none = Some(all),
            (Err(_), Some(_)) => return Err(End::Refused(Refusal::IncomingBytes)),
            (Err(_), None) => return Ok(false),
        }
        Ok(true)
    }

    /// Waits for all of it.
    pub(super) async fn wait(&mut self, bytes: u64) {
        let room = self.room.open.clone();
        // It is never closed.
        self.permit = room.acquire_many_owned(units_of(bytes)).await.ok();
    }
}

fn units_of(bytes: u64) -> u32 {
    units(usize::try_from(bytes).unwrap_or(usize::MAX))
}
