//! What the guard reads a peer by: a socket, or CURVE's boxes over one.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{tcp, unix};
use tokio::sync::OwnedSemaphorePermit;

/// What came of a look for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// So many bytes; 0 at the end.
    Bytes(usize),
    /// What has begun needs so much room (in units of `net::room`) before it is read on: it is to be given by
    /// [`Incoming::hold`].
    NoRoom(u32),
}

/// One direction of a connection.
pub(super) trait Incoming: Send + Sync {
    /// Appends what comes, as far as there is place without growing. Cancel safe.
    fn fill(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<Came>> + Send;

    /// Takes the room that was asked for.
    fn hold(&mut self, _: OwnedSemaphorePermit) {}

    /// Reads until the peer has closed, and throws it away.
    fn discard(&mut self) -> impl Future<Output = ()> + Send;

    /// Waits until the peer has closed; what it said before may be unread still.
    fn left(&self) -> impl Future<Output = ()> + Send;
}

macro_rules! socket {
    ($half:ty) => {
        impl Incoming for $half {
            async fn fill(&mut self, into: &mut BytesMut) -> io::Result<Came> {
                self.read_buf(into).await.map(Came::Bytes)
            }

            async fn discard(&mut self) {
                // Small: it is a part of each connection's task from its beginning.
                let mut sink = [0; 256];
                while matches!(self.read(&mut sink).await, Ok(read) if read > 0) {}
            }

            async fn left(&self) {
                // Unlike READABLE, this one waits while there is something to read. Urgent data isn't asked for, so that only
                // the end is told.
                match self.ready(Interest::PRIORITY).await {
                    Ok(ready) if !ready.is_read_closed() => std::future::pending().await,
                    Ok(_) | Err(_) => {}
                }
            }
        }
    };
}

socket!(tcp::OwnedReadHalf);
socket!(unix::OwnedReadHalf);
