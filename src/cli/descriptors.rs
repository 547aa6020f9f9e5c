//! Descriptors: what the broker may open, against what its connections may need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::net::NetLimits;

/// A connection's descriptors: its socket, and the two ends of its private one behind the guard.
const PER_CONNECTION: u64 = 3;
/// What the process needs beside connections: store, log, listeners, the admin API's clients.
const BESIDE: u64 = 256;
/// The public sockets; each takes so many connections as its options say.
const DOORS: u64 = 2;

/// Raises this process's limit of open files to what the system allows it, and says in the log if that
/// is too few for the connections that `net` takes. Shells and services start with 1,024.
pub(super) fn raise_limit(net: &NetLimits) {
    let connections = u64::try_from(net.connections).unwrap_or(u64::MAX);
    let needed = needed(connections);
    let allowed = match raise() {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            return;
        }
    };
    if allowed < needed {
        // Not a warning, which `serve` would show at each start: few brokers have thousands of peers.
        tracing::info!(
            allowed,
            needed,
            connections = connections_in(allowed),
            "the limit of open files (ulimit -n, LimitNOFILE) is too low for all connections that \
             may be made; beyond these they are dropped"
        );
    }
}

fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

fn needed(connections: u64) -> u64 {
    connections.saturating_mul(DOORS * PER_CONNECTION).saturating_add(BESIDE)
}

/// How many connections, of both doors, so many descriptors are enough for.
fn connections_in(allowed: u64) -> u64 {
    allowed.saturating_sub(BESIDE) / PER_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let hard = raise().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }

    #[test]
    fn what_is_needed_is_enough_for_all_connections() {
        assert_eq!(connections_in(needed(4096)), 2 * 4096);
        assert!(connections_in(needed(4096) - 1) < 2 * 4096);
        assert_eq!(connections_in(0), 0);
    }
}
