//! Serves the API on a unix socket, and over TCP if that is wanted, on a thread of its own: an operator's large
//! answer never delays the sockets.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::config::ShownConfig;
use super::connection::{AdminLimits, Serving};
use super::gate::Doorkeeper;
use super::peer::Remote;
use super::routes::router;
use super::socket::Socket;
use super::tls::{Tls, TlsError};
use crate::auth::{Access, Failures, network};
use crate::broker::BrokerHandle;

/// Pause after accepting failed: the usual reason, no descriptors left, doesn't go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the end waits for what is being written, the file of revoked tokens. A disk that hangs doesn't hold up the process.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Where the API is served, and to whom.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// The unix socket (mode 0600).
    pub socket: PathBuf,
    /// Over TCP as well.
    pub tcp: Option<TcpOptions>,
    /// Whose tokens count over TCP.
    pub access: Arc<Access>,
    /// What is shown of the configuration.
    pub config: ShownConfig,
    /// The bounds.
    pub limits: AdminLimits,
}

/// The API over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpOptions {
    /// `HOST:PORT`; port 0 takes a free one.
    pub address: String,
    /// Files with the certificate chain and its key, in PEM; without them nothing is encrypted.
    pub tls: Option<(PathBuf, PathBuf)>,
}

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
    /// The address can't be listened on.
    #[error("listen.admin: cannot listen on tcp://{address}")]
    Tcp {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is no TLS by these files.
    #[error("listen.admin")]
    Tls(#[source] TlsError),
    /// The system gives no thread or no runtime.
    #[error("cannot start the admin API's thread")]
    Thread(#[source] io::Error),
}

/// A running admin API. Dropping it ends all connections and removes the socket's file.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    url: Option<String>,
    tls: Option<Arc<Tls>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens, and serves `broker` from then on. Blocks only until it listens.
    pub fn start(options: AdminOptions, broker: BrokerHandle) -> Result<Self, ServeError> {
        let AdminOptions { socket: path, tcp, access, config, limits } = options;
        let bind = |source| ServeError::Bind { path: path.clone(), source };
        let tls = tcp.as_ref().and_then(|tcp| tcp.tls.as_ref());
        let tls = tls.map(|(cert, key)| Tls::load(cert, key)).transpose();
        let tls = tls.map_err(ServeError::Tls)?.map(Arc::new);
        let tcp = tcp.map(|tcp| listen(&tcp.address)).transpose()?;
        let url = tcp.as_ref().map(|(_, address)| {
            format!("http{}://{address}", if tls.is_some() { "s" } else { "" })
        });
        let socket = Socket::bind(&path).map_err(bind)?;
        let doorkeeper =
            Arc::new(Doorkeeper { access: Arc::clone(&access), failures: Failures::default() });
        let app = router(broker, config, doorkeeper);
        let listeners = Listeners {
            socket,
            tcp: tcp.map(|(listener, _)| listener),
            serving: Serving { app, access, limits, tls: tls.clone() },
        };
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || run(listeners, &ready, stopped))
            .map_err(ServeError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(ServeError::Thread(error)),
            Err(_) => return Err(ServeError::Thread(io::Error::other("it ended at once"))),
        }
        Ok(Self { path, url, tls, stop: Some(stop), thread: Some(thread) })
    }

    /// The unix socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is over TCP, with the port that was taken.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Reads the certificate's files again, for the connections to come. What can't be used changes nothing.
    pub fn reload_certificate(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
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

fn listen(address: &str) -> Result<(std::net::TcpListener, SocketAddr), ServeError> {
    let bound = || {
        let address = address.replacen('*', "0.0.0.0", usize::from(address.starts_with("*:")));
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| ServeError::Tcp { address: address.to_owned(), source })
}

struct Listeners {
    socket: Socket,
    tcp: Option<std::net::TcpListener>,
    serving: Serving,
}

/// Until it is told to stop; then all connections end, and the socket's file goes.
fn run(
    Listeners { mut socket, tcp, serving }: Listeners,
    ready: &SyncSender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let listener = socket.listener.take().expect("a new socket has its listener");
    runtime.block_on(async {
        let tcp = tcp.map(TcpListener::from_std).transpose();
        let (unix, tcp) = match (UnixListener::from_std(listener), tcp) {
            (Ok(unix), Ok(tcp)) => (unix, tcp),
            (Err(error), _) | (_, Err(error)) => return drop(ready.send(Err(error))),
        };
        let _ = ready.send(Ok(()));
        tokio::select! {
            () = accept_unix(&unix, &serving) => {}
            () = accept_tcp(tcp, &serving) => {}
            _ = stopped => {}
        }
    });
    drop(socket);
    runtime.shutdown_timeout(END_LIMIT);
}

/// Accepts for ever. Dropping this ends all connections.
async fn accept_unix(listener: &UnixListener, serving: &Serving) {
    let room = Arc::new(Semaphore::new(serving.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    failed(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let served = serving.clone().unix(stream);
        connections.spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// The same over TCP; too many of one address are closed at once, so that others come in.
async fn accept_tcp(listener: Option<TcpListener>, serving: &Serving) {
    let Some(listener) = listener else { return std::future::pending().await };
    let room = Arc::new(Semaphore::new(serving.limits.connections));
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => (stream, network(address.ip())),
                Err(error) => {
                    failed(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let Some(of_address) = places.take(address, serving.limits.connections_per_address) else {
            tracing::debug!(%address, "too many admin connections from one address");
            continue;
        };
        let served = serving.clone().tcp(stream, Remote::new(address));
        connections.spawn(async move {
            served.await;
            drop((place, of_address));
        });
    }
}

async fn failed(error: &io::Error) {
    tracing::warn!(%error, "accepting on the admin socket failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// One of them, given back when dropped.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
