//! One connection: HTTP over whatever carries it, and how long a peer may take for what.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

use super::peer::{Peer, Remote};
use super::tls::Tls;
use crate::auth::Access;

/// How long a peer may take, how much it may send before its request is looked at, and how many there may be.
#[derive(Debug, Clone)]
pub struct AdminLimits {
    /// Connections to each listener at once.
    pub connections: usize,
    /// Of these over TCP, from one address.
    pub connections_per_address: usize,
    /// From the connection, or the end of the request before, to the end of a request's headers. A client that
    /// keeps a connection without asking anything opens it again.
    pub head: Duration,
    /// Request line and headers in bytes, and how many headers.
    pub head_bytes: usize,
    /// See `head_bytes`.
    pub headers: usize,
    /// From a request's headers to the end of its body.
    pub body: Duration,
    /// How long a connection over TCP lasts, its TLS handshake included, that has shown no token.
    pub stranger: Duration,
}

impl Default for AdminLimits {
    fn default() -> Self {
        Self {
            // Consoles with a stream each, and scripts. Beyond, they wait to be accepted.
            connections: 256,
            connections_per_address: 64,
            head: Duration::from_secs(10),
            // A filter of 4 KiB, each of its bytes as three, fits.
            head_bytes: 32 * 1024,
            headers: 64,
            // The largest body, some 100 MB, at 2 MB/s.
            body: Duration::from_secs(60),
            stranger: Duration::from_secs(15),
        }
    }
}

/// What each connection needs.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) app: Router,
    pub(super) access: Arc<Access>,
    pub(super) limits: AdminLimits,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Serving {
    pub(super) async fn unix(self, stream: UnixStream) {
        match Peer::of(&stream) {
            Ok(peer) => self.http(stream, peer).await,
            Err(error) => {
                tracing::warn!(%error, "an admin connection without peer credentials was refused");
            }
        }
    }

    /// Until the peer, a limit, or the end of its token ends it.
    pub(super) async fn tcp(self, stream: TcpStream, remote: Remote) {
        let remote = Arc::new(remote);
        let mut changes = self.access.changes();
        let (access, stranger) = (Arc::clone(&self.access), sleep(self.limits.stranger));
        let served = self.encrypted(stream, Arc::clone(&remote));
        tokio::pin!(served, stranger);
        loop {
            tokio::select! {
                () = &mut served => return,
                () = &mut stranger, if !stranger.is_elapsed() => {
                    if !remote.has_shown_one() {
                        tracing::debug!(address = %remote.address, "no token was shown in time");
                        return;
                    }
                }
                Ok(()) = changes.changed() => if !remote.still_counts(&access) {
                    tracing::info!(address = %remote.address, "an admin connection ended with its token");
                    return;
                },
            }
        }
    }

    async fn encrypted(self, stream: TcpStream, remote: Arc<Remote>) {
        // An answer is small and waited for.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.http(stream, Peer::Remote(remote)).await };
        match tls.acceptor().accept(stream).await {
            Ok(stream) => self.http(stream, Peer::Remote(remote)).await,
            Err(error) => {
                tracing::debug!(%error, address = %remote.address, "a TLS handshake failed");
            }
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let Self { app, limits, .. } = self;
        let (app, body) = (TowerToHyperService::new(app), limits.body);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request =
                request.map(|incoming| InTime { incoming, over: Box::pin(sleep(body)) });
            request.extensions_mut().insert(peer.clone());
            app.call(request)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(limits.head_bytes)
            .max_headers(limits.headers)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }
}

/// A request's body, which has to be there in time.
struct InTime {
    incoming: Incoming,
    over: Pin<Box<Sleep>>,
}

impl Body for InTime {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        self.over.as_mut().poll(cx).map(|()| {
            Some(Err(io::Error::new(io::ErrorKind::TimedOut, "its body did not come in time")))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests;
