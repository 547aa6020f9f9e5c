//! A DEALER's connection, for clients and workers: messages, until it ends.
//!
//! The crate's DEALER doesn't reconnect, and tells of an end only through its monitor; here both are one stream of
//! messages that ends, and [`Pauses`] says when to connect again.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::Stream;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv,
    SocketSend, ZmqError, ZmqMessage,
};

/// The connection is over; why, for people.
#[derive(Debug)]
pub(crate) struct Gone(pub(crate) String);

/// One connection. Dropped, it still writes what was sent, as long as the runtime lives.
pub(crate) struct Dealer {
    sender: DealerSendHalf,
    receiver: DealerRecvHalf,
    monitor: Box<dyn Stream<Item = SocketEvent> + Send + Unpin>,
}

impl Dealer {
    /// Connects and shakes hands, within `limit`.
    pub(crate) async fn open(endpoint: &str, limit: Duration) -> Result<Self, ZmqError> {
        let mut options = SocketOptions::default();
        options.connect_timeout(limit);
        let mut socket = DealerSocket::with_options(options);
        let monitor = Box::new(socket.monitor());
        socket.connect(endpoint).await?;
        let (sender, receiver) = socket.split();
        Ok(Self { sender, receiver, monitor })
    }

    /// Hands frames, one at least, to the connection. The crate queues 100,000 messages: whoever sends bounds what is under
    /// way, so that this doesn't wait.
    pub(crate) async fn send(
        &mut self,
        frames: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Gone> {
        let mut frames = frames.into_iter();
        let mut message =
            ZmqMessage::from(frames.next().expect("an envelope starts with its magic"));
        frames.for_each(|frame| message.push_back(frame));
        self.sender.send(message).await.map_err(|error| Gone(error.to_string()))
    }

    /// The next message's frames; cancellation-safe.
    pub(crate) async fn recv(&mut self) -> Result<Vec<Bytes>, Gone> {
        loop {
            tokio::select! {
                biased;
                message = self.receiver.recv() => {
                    return message.map(ZmqMessage::into_vec).map_err(|error| Gone(error.to_string()));
                }
                event = self.monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => {
                        return Err(Gone("the broker closed the connection".to_owned()));
                    }
                    Some(_) => {}
                },
            }
        }
    }
}

/// What to wait before each further try to connect: it doubles, and half of it is random, so that many don't come at once.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    min: Duration,
    max: Duration,
    rng: fastrand::Rng,
}

impl Pauses {
    /// From `min` to `max`.
    pub(crate) fn new(min: Duration, max: Duration, rng: fastrand::Rng) -> Self {
        Self { next: min, min, max, rng }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + 0.5 * self.rng.f64());
        self.next = (self.next * 2).min(self.max);
        pause
    }

    /// A connection lasted: begins with the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_from_peer_to_peer() {
        let [min, max] = [100, 500].map(Duration::from_millis);
        let pauses = |seed| {
            let mut pauses = Pauses::new(min, max, fastrand::Rng::with_seed(seed));
            let first: Vec<_> = (0..5).map(|_| pauses.next()).collect();
            pauses.reset();
            (first, pauses.next())
        };
        let (first, again) = pauses(1);
        for (pause, whole) in first.iter().zip([100, 200, 400, 500, 500]) {
            let whole = Duration::from_millis(whole);
            assert!(*pause >= whole / 2 && *pause <= whole, "{pause:?} of {whole:?}");
        }
        assert!(again <= min, "{again:?}");
        assert_ne!(first, pauses(2).0);
    }
}
