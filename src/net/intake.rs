//! The way into the loop, bounded in bytes as well as in count.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};

use super::Inbound;

/// Bytes of one door that may wait for the loop. The channel counts messages only, and a thousand of the
/// largest would be 16 GiB.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// One door's sending side of the channel into the loop, for all its connections.
#[derive(Debug)]
pub(super) struct Intake {
    inbound: mpsc::Sender<Inbound>,
    max_bytes: usize,
    /// Held while one waits for room: the others have their turn in the order in which they came.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The sizes of what this door has sent and the loop may not have taken yet, oldest first. As the
    /// channel is first in, first out, no more of ours wait than the channel holds in all.
    sizes: VecDeque<usize>,
    bytes: usize,
}

/// The loop has ended.
#[derive(Debug)]
pub(super) struct LoopEnded;

impl Intake {
    pub(super) fn new(inbound: mpsc::Sender<Inbound>) -> Self {
        Self { inbound, max_bytes: MAX_WAITING_BYTES, waiting: Mutex::default() }
    }

    /// Hands `event` on once there is room for it and its `bytes`.
    pub(super) async fn send(&self, event: Inbound, bytes: usize) -> Result<(), LoopEnded> {
        let mut waiting = self.waiting.lock().await;
        waiting.forget_taken(self.held());
        if let Some(keep) = waiting.too_many_by(bytes, self.max_bytes) {
            // Room for all but `keep` in the channel says that the loop has taken the others.
            let all_but = self.inbound.max_capacity() - keep;
            let permits = self.inbound.reserve_many(all_but).await.map_err(|_| LoopEnded)?;
            drop(permits);
            waiting.forget_taken(keep);
        }
        self.inbound.send(event).await.map_err(|_| LoopEnded)?;
        waiting.add(bytes);
        Ok(())
    }

    /// The same, if there is room at once and nobody waits for some: mostly so, and many times cheaper. What there is
    /// no room for comes back, and has to be sent.
    pub(super) fn try_send(
        &self,
        event: Inbound,
        bytes: usize,
    ) -> Result<Option<Inbound>, LoopEnded> {
        let Ok(mut waiting) = self.waiting.try_lock() else { return Ok(Some(event)) };
        waiting.forget_taken(self.held());
        if waiting.too_many_by(bytes, self.max_bytes).is_some() {
            return Ok(Some(event));
        }
        match self.inbound.try_send(event) {
            Ok(()) => {
                waiting.add(bytes);
                Ok(None)
            }
            Err(TrySendError::Full(event)) => Ok(Some(event)),
            Err(TrySendError::Closed(_)) => Err(LoopEnded),
        }
    }

    /// Messages in the channel, of all senders.
    fn held(&self) -> usize {
        self.inbound.max_capacity() - self.inbound.capacity()
    }
}

impl Waiting {
    fn add(&mut self, bytes: usize) {
        self.sizes.push_back(bytes);
        self.bytes += bytes;
    }

    fn forget_taken(&mut self, held: usize) {
        while self.sizes.len() > held {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
    }

    /// How many of the waiting may stay so that `bytes` more fit; `None` if all may.
    fn too_many_by(&self, bytes: usize, max_bytes: usize) -> Option<usize> {
        let (mut keep, mut left) = (self.sizes.len(), self.bytes);
        for oldest in &self.sizes {
            if left + bytes <= max_bytes {
                break;
            }
            left -= oldest;
            keep -= 1;
        }
        (keep < self.sizes.len()).then_some(keep)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::PeerId;
    use super::*;

    const EVENT: Inbound = Inbound::ClientGone { peer: PeerId(1) };

    #[tokio::test]
    async fn bytes_that_wait_are_bounded_and_one_large_message_always_passes() {
        let (sender, mut receiver) = mpsc::channel(10);
        let intake = Intake { max_bytes: 100, ..Intake::new(sender) };
        assert_eq!(intake.try_send(EVENT, 1000).unwrap(), None);
        assert_eq!(intake.try_send(EVENT, 1).unwrap(), Some(EVENT), "no room beside the large one");
        let soon = Duration::from_millis(20);
        timeout(soon, intake.send(EVENT, 1)).await.expect_err("nothing beside the large one");
        receiver.recv().await.unwrap();
        for bytes in [40, 40, 20] {
            timeout(soon, intake.send(EVENT, bytes)).await.expect("100 fit").unwrap();
        }
        timeout(soon, intake.send(EVENT, 50)).await.expect_err("two must go first");
        receiver.recv().await.unwrap();
        timeout(soon, intake.send(EVENT, 50)).await.expect_err("one more");
        receiver.recv().await.unwrap();
        timeout(soon, intake.send(EVENT, 50)).await.expect("fits").unwrap();
        drop(receiver);
        intake.send(EVENT, 1).await.expect_err("the loop has ended");
        intake.try_send(EVENT, 1).expect_err("the loop has ended");
    }

    #[tokio::test]
    async fn a_message_that_waits_goes_on_when_the_loop_takes_the_others() {
        let (sender, mut receiver) = mpsc::channel(4);
        let intake = Intake { max_bytes: 100, ..Intake::new(sender) };
        let sent = tokio::spawn(async move {
            for _ in 0..1000 {
                intake.send(EVENT, 60).await.unwrap();
            }
        });
        for _ in 0..1000 {
            receiver.recv().await.unwrap();
            assert!(receiver.len() <= 1, "never two of 60 in 100");
        }
        sent.await.unwrap();
    }
}
