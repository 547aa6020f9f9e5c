//! What the sockets are told, and their bounds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::DoorAuth;
use crate::model::limits::{DEFAULT_CONNECTIONS, MAX_FRAMES, MAX_WIRE_MESSAGE_BYTES};
use crate::model::{MessageId, Proxy, QueueName};
use crate::schema::Checks;

/// Where to listen and with which bounds.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// Where clients connect: `tcp://host:port` (port 0 takes a free one, host `*` all interfaces) or
    /// `ipc://path`.
    pub clients: String,
    /// Where workers connect; the same forms.
    pub workers: String,
    /// The other doors.
    pub doors: DoorOptions,
    /// Plain devices.
    pub proxies: Vec<Proxy>,
    /// Whom the clients' door lets in; anybody if absent.
    pub client_auth: Option<DoorAuth>,
    /// The same for the workers'.
    pub worker_auth: Option<DoorAuth>,
    /// The bounds.
    pub limits: NetLimits,
    /// What holds messages against the schemas of their queues; none have any if absent.
    pub checks: Option<Arc<Checks>>,
    /// Makes the ids of messages that come without one.
    pub new_message_id: fn() -> MessageId,
}

/// Where the doors beside clients' and workers' are; the same forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoorOptions {
    /// PULL, for PUSH clients.
    pub push: Option<String>,
    /// XPUB, for SUB clients.
    pub live: Option<String>,
    /// XSUB, for PUB sockets.
    pub feed: Option<String>,
    /// PUSH, for PULL sinks: each with the queue that it drains.
    pub pulls: Vec<(QueueName, String)>,
}

impl NetOptions {
    /// Listens there with the default bounds.
    pub fn new(clients: impl Into<String>, workers: impl Into<String>) -> Self {
        Self {
            clients: clients.into(),
            workers: workers.into(),
            doors: DoorOptions::default(),
            proxies: Vec::new(),
            client_auth: None,
            worker_auth: None,
            limits: NetLimits::default(),
            checks: None,
            new_message_id: uuid_v7,
        }
    }
}

/// A new id, ordered by time.
fn uuid_v7() -> MessageId {
    let mut text = uuid::Uuid::encode_buffer();
    let text = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text);
    MessageId::new(text).expect("a UUID is short and printable")
}

/// The bounds of one door (clients or workers). The defaults are the constants below; tests use smaller
/// ones.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// From the accepted connection to the end of the handshake.
    pub handshake: Duration,
    /// How long a peer that needs a token may stay without one.
    pub token: Duration,
    /// From a message's first frame to its last byte.
    pub message: Duration,
    /// How long a peer may take no bytes while there are some for it.
    pub stall: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Of these, from one address.
    pub connections_per_address: usize,
    /// Connections of all doors together; clones of these limits count together.
    pub together: Together,
    /// Frames of one message.
    pub frames: usize,
    /// Bytes of one message, and so of one frame.
    pub message_bytes: usize,
    /// Bytes of large messages that are under way from all peers together.
    pub incoming_bytes: usize,
    /// Bytes that wait for one client.
    pub client_unsent_bytes: u64,
    /// Bytes that wait for one worker.
    pub worker_unsent_bytes: u64,
    /// Messages that wait for one peer.
    pub unsent_messages: u64,
    /// Bytes that wait for all peers of a door together.
    pub total_unsent_bytes: u64,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE,
            token: TOKEN,
            message: MESSAGE,
            stall: STALL,
            connections: DEFAULT_CONNECTIONS,
            connections_per_address: DEFAULT_CONNECTIONS / 4 * 3,
            together: Together::new(Semaphore::MAX_PERMITS),
            frames: MAX_FRAMES,
            message_bytes: MAX_WIRE_MESSAGE_BYTES,
            incoming_bytes: MAX_INCOMING_BYTES,
            client_unsent_bytes: MAX_CLIENT_UNSENT_BYTES,
            worker_unsent_bytes: MAX_WORKER_UNSENT_BYTES,
            unsent_messages: MAX_UNSENT_MESSAGES,
            total_unsent_bytes: MAX_TOTAL_UNSENT_BYTES,
        }
    }
}

/// How many connections all doors may take together: as many as the process has descriptors for, so that it is
/// never left without one for its store.
#[derive(Debug, Clone)]
pub struct Together {
    places: Arc<Semaphore>,
    connections: usize,
}

impl Together {
    /// So many.
    pub fn new(connections: usize) -> Self {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(connections)), connections }
    }

    /// How many.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// A place, given back when dropped.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

/// A handshake is two small packets each way; 3 s allow for one that is sent again.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How long a peer that needs a token may stay without one: HELLO is the first thing that it says.
const TOKEN: Duration = Duration::from_secs(15);
/// The largest message in two minutes is 2 Mbit/s: slower peers send smaller ones.
const MESSAGE: Duration = Duration::from_secs(120);
/// A peer that is alive takes at least one packet in 10 s.
const STALL: Duration = Duration::from_secs(10);
/// Eight of the largest messages at once.
const MAX_INCOMING_BYTES: usize = 8 * MAX_WIRE_MESSAGE_BYTES;
/// Four of the largest replies: who has more under way must read.
const MAX_CLIENT_UNSENT_BYTES: u64 = 64 * 1024 * 1024;
/// A worker's credit fills this at once, and its payloads are the engine's own, not copies.
const MAX_WORKER_UNSENT_BYTES: u64 = 256 * 1024 * 1024;
/// A worker's credit, or some seconds of a client's answers.
const MAX_UNSENT_MESSAGES: u64 = 50_000;
/// RAM that peers who read slowly may hold together.
const MAX_TOTAL_UNSENT_BYTES: u64 = 512 * 1024 * 1024;

/// A peer with less than this waiting is not cut off because others have much.
pub(super) const FAIR_UNSENT_BYTES: u64 = 1024 * 1024;

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is not of a form that is known.
    #[error("{door}: {endpoint:?} is not an address: {reason}; give tcp://HOST:PORT or ipc://PATH")]
    Endpoint {
        /// The setting, e.g. `listen.clients`.
        door: String,
        /// As configured.
        endpoint: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Another program listens there.
    #[error(
        "{door}: {endpoint} is in use by another program; stop it, or set {door} to another address"
    )]
    InUse {
        /// The setting.
        door: String,
        /// As configured.
        endpoint: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system refuses.
    #[error(
        "{door}: cannot listen on {endpoint}; check the address, its folder and the rights to it"
    )]
    Bind {
        /// The setting.
        door: String,
        /// As configured.
        endpoint: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no thread or no runtime for the proxies.
    #[error("cannot start a thread for the proxies")]
    Thread(#[source] std::io::Error),
}
