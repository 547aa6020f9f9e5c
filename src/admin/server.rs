//! Serves the API on a unix socket, on a thread of its own: an operator's large answer never delays the
//! sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::peer::Peer;
use super::routes::router;
use super::socket::Socket;
use crate::broker::BrokerHandle;

/// Connections at once: a few consoles with a stream each, and scripts. Beyond, they wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// From the connection, or the end of the request before, to the end of a request's headers. A client that
/// keeps a connection without asking anything opens it again.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Pause after accepting failed: the usual reason, no descriptors left, doesn't go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket can't be opened.
    #[error("cannot listen on the admin socket {}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no thread or no runtime.
    #[error("cannot start the admin API's thread")]
    Thread(#[source] io::Error),
}

/// A running admin API. Dropping it ends all connections and removes the socket's file.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens at `path` (mode 0600) and serves `broker` from then on. Blocks only until it listens.
    pub fn start(path: &Path, broker: BrokerHandle) -> Result<Self, ServeError> {
        let bind = |source| ServeError::Bind { path: path.to_owned(), source };
        let mut socket = Socket::bind(path).map_err(bind)?;
        let listener = socket.listener.take().expect("a new socket has its listener");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = sync_channel(1);
        let app = router(broker);
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                let listener = match UnixListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let _ = ready.send(Ok(()));
                tokio::select! {
                    () = accept(&listener, &app) => {}
                    _ = stopped => {}
                }
            });
            drop(socket);
        };
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(run)
            .map_err(ServeError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(ServeError::Thread(error)),
            Err(_) => return Err(ServeError::Thread(io::Error::other("it ended at once"))),
        }
        Ok(Self { path: path.to_owned(), stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        // Dropping the sender stops the thread as well.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // If it broke down, the log says so; the socket's file is gone either way.
            let _ = thread.join();
        }
    }
}

/// Accepts for ever. Dropping this ends all connections.
async fn accept(listener: &UnixListener, app: &Router) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the admin socket failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let app = app.clone();
        connections.spawn(async move {
            serve(stream, app).await;
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, app: Router) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "an admin connection without peer credentials was refused");
            return;
        }
    };
    let service = TowerToHyperService::new(app.layer(Extension(peer)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
