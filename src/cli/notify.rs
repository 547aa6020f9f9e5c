//! Tells systemd how far the daemon is, and that its loop turns (sd_notify(3)).
//!
//! The protocol is a datagram of text: written here, in a few lines, rather than by a crate for it.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::broker::BrokerHandle;

/// Where the service manager listens: a path, or an abstract name after `@`.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants to hear of us, in microseconds; and which process it means.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// Of the time that there is, this share is between two words: one that is late does no harm.
const SHARE: u32 = 3;

/// The way to the service manager.
#[derive(Debug)]
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says. Without a service manager everything is told to nobody.
    pub(super) fn of_environment() -> Self {
        let to = env::var(SOCKET).ok().filter(|address| !address.is_empty()).and_then(|address| {
            match open(&address) {
                Ok(to) => Some(to),
                Err(error) => {
                    tracing::warn!(%error, address, "{SOCKET} can't be used; nobody is told");
                    None
                }
            }
        });
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG_USEC).filter(|&micros| is_ours && micros > 0);
        Self { to, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// Clients can connect.
    pub(super) fn ready(&self, clients: &str, workers: &str) {
        self.say(&format!("READY=1\nSTATUS=clients {clients}, workers {workers}"));
    }

    /// The daemon begins to end.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=workers give back what they hold, the store is closed");
    }

    /// Says that all is well as long as the broker's loop answers; never ends. Whoever is not heard is ended and
    /// started again, so a loop that hangs doesn't stay.
    pub(super) async fn watch(&self, broker: &BrokerHandle) {
        let Some(limit) = self.watchdog.filter(|_| self.to.is_some()) else {
            return std::future::pending().await;
        };
        let pause = (limit / SHARE).max(Duration::from_millis(1));
        loop {
            if let Ok(Ok(_)) = tokio::time::timeout(limit, broker.pulse()).await {
                self.say("WATCHDOG=1");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A service manager that doesn't listen is no reason to fail.
    fn say(&self, what: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn open(address: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // It must never hold up the daemon.
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}
