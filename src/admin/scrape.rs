//! Health and metrics over TCP, for who can't ask a unix socket. Nothing can be changed there, and no message be seen.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::taken::Taken;
use super::{health, problems, routes};
use crate::broker::BrokerHandle;

/// Connections at once: some scrapers and probes, each asking every few seconds. Beyond, they wait to be accepted.
const MAX_CONNECTIONS: usize = 16;
/// From the connection to the end of a request's headers. Between two requests longer: Prometheus keeps a connection from
/// one look to the next, but opens it again if it was closed.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// From an answer's first byte to its last: who takes nothing, or little at a time, would keep the place of another.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Pause after accepting failed: the usual reason, no descriptors left, doesn't go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server of `/livez`, `/readyz` and `/metrics`. Dropping it ends all connections.
#[derive(Debug)]
pub struct ScrapeServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ScrapeServer {
    /// Listens at `address` and serves from then on. Blocks only until it listens.
    pub fn start(address: SocketAddr, broker: BrokerHandle) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = sync_channel(1);
        let app = health::routes()
            .method_not_allowed_fallback(routes::wrong_method)
            .fallback(routes::unknown)
            .layer(middleware::from_fn(problems::with_instance))
            .with_state(broker);
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let _ = ready.send(Ok(()));
                tokio::select! {
                    () = accept(&listener, &app) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(run)?;
        match is_ready.recv() {
            Ok(started) => started?,
            Err(_) => return Err(io::Error::other("its thread ended at once")),
        }
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ScrapeServer {
    fn drop(&mut self) {
        // Dropping the sender stops the thread as well.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // If it broke down, the log says so.
            let _ = thread.join();
        }
    }
}

/// Accepts for ever. Dropping this ends all connections.
async fn accept(listener: &tokio::net::TcpListener, app: &Router) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting on listen.metrics failed");
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

async fn serve(stream: TcpStream, app: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(
            TokioIo::new(Taken::within(WRITE_LIMIT, stream)),
            TowerToHyperService::new(app),
        )
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to listen.metrics ended early");
    }
}
