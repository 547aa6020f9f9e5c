//! Plain devices between two endpoints, beside the broker.

use serde::{Deserialize, Serialize};

/// A device as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name in lists and in what is captured.
    pub name: String,
    /// What it does.
    pub kind: ProxyKind,
    /// Where those connect who publish, ask or push.
    pub frontend: String,
    /// Where those connect who subscribe, answer or pull.
    pub backend: String,
    /// Where SUB sockets hear all that passes.
    pub capture: Option<String>,
}

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyKind {
    /// What PUB sockets publish, to SUB sockets (XSUB, XPUB).
    Forwarder,
    /// What REQ sockets ask, to REP sockets, and their answers back (ROUTER, DEALER).
    Queue,
    /// What PUSH sockets push, to PULL sockets (PULL, PUSH).
    Streamer,
}
