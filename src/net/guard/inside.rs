//! Behind the clients' and the workers' guards: the crate's private ROUTER.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::peers::Peer;
use super::relay::{Crate, MAX_PONGS, Outward, Room};
use super::{End, Guard, Inside, LINGER, Phase, Role, discard, handshake, reached};
use crate::net::{Inbound, PeerId};

/// The crate's ROUTER on a private socket.
pub(in crate::net) struct Router {
    /// The crate's private listener.
    pub(in crate::net) private: PathBuf,
    pub(in crate::net) inbound: mpsc::Sender<Inbound>,
    /// What says that a peer of this door is gone.
    pub(in crate::net) gone: fn(PeerId) -> Inbound,
}

impl Inside for Router {
    type Link = UnixStream;

    fn role(&self) -> Role {
        Role { name: "ROUTER", meets: &["REQ", "DEALER", "ROUTER"] }
    }

    async fn open(&self, peer: &Peer) -> io::Result<UnixStream> {
        handshake::inside(&self.private, peer.id).await
    }

    async fn relay(
        guard: &Guard<Self>,
        peer: &Peer,
        (reader, writer): (
            &mut (impl AsyncRead + Unpin + Send),
            &mut (impl AsyncWrite + Unpin + Send),
        ),
        link: &mut UnixStream,
        room: Room,
    ) -> End {
        let (mut from_crate, mut to_crate) = link.split();
        let (pong_sender, pongs) = mpsc::channel(MAX_PONGS);
        let inward = guard.inward(room, pong_sender);
        let outward = Outward {
            stall: guard.limits.stall,
            counters: &guard.counters,
            peers: &guard.peers,
            peer,
            pongs,
        };
        let mut target = Crate(&mut to_crate);
        tokio::select! {
            end = inward.run(reader, &mut target) => end,
            end = outward.run(&mut from_crate, writer) => end,
        }
    }

    /// Says that a peer is gone, after all its messages (see the guard's text).
    async fn leave(guard: &Guard<Self>, id: PeerId, mut link: UnixStream) {
        let mut phase = guard.phase.clone();
        let said = async {
            let drained = async {
                // An error says that the crate has closed already.
                let _ = link.shutdown().await;
                discard(&mut link).await;
            };
            if timeout(LINGER, drained).await.is_err() {
                tracing::debug!(peer = id.0, "the broker took nothing in while a peer left");
            }
            guard.peers.remove(id);
            // The loop has ended if nobody listens.
            let _ = guard.inside.inbound.send((guard.inside.gone)(id)).await;
        };
        tokio::select! {
            () = said => {}
            () = reached(&mut phase, Phase::Closed) => guard.peers.remove(id),
        }
    }
}
