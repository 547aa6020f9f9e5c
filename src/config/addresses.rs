//! Which addresses the broker's sockets take: no two can have one.

use super::bad;
use super::error::{ConfigError, Place};

/// Addresses of this configuration so far, with the settings that gave them.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(String, Address)>);

/// What is bound.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Tcp { host: String, port: String },
    Path(String),
}

impl Taken {
    /// Takes `address` (`tcp://HOST:PORT`, `ipc://PATH`, `unix:PATH`) for setting `key`, or says which has it.
    pub(super) fn take(
        &mut self,
        key: &str,
        address: &str,
        place: &Place,
    ) -> Result<(), ConfigError> {
        let new = Address::of(address);
        if let Some((other, _)) = self.0.iter().find(|(_, taken)| taken.excludes(&new)) {
            let reason = format!("{address} is {other} already; give another one");
            return Err(bad(place, reason));
        }
        self.0.push((key.to_owned(), new));
        Ok(())
    }
}

impl Address {
    fn of(text: &str) -> Self {
        let Some(address) = text.strip_prefix("tcp://") else {
            let path = text.strip_prefix("ipc://").or_else(|| text.strip_prefix("unix:"));
            return Self::Path(path.unwrap_or(text).to_owned());
        };
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        Self::Tcp { host: host.to_owned(), port: port.to_owned() }
    }

    /// The system gives port 0 a port of its own; who has all of this machine's addresses has each of them.
    fn excludes(&self, other: &Self) -> bool {
        let is_any = |host: &str| host == "0.0.0.0" || host == "[::]";
        match (self, other) {
            (Self::Tcp { host, port }, Self::Tcp { host: other, port: other_port }) => {
                let is_shared = host == other || is_any(host) || is_any(other);
                port == other_port && port != "0" && is_shared
            }
            (one, other) => one == other,
        }
    }
}
