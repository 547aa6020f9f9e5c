//! Descriptors: what the broker may open, against what its connections may need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::net::Together;

/// A connection's descriptors: its socket, and the two ends of its private one behind the guard.
const PER_CONNECTION: u64 = 3;
/// What the process needs beside connections: store, log, listeners, the admin API's clients.
const BESIDE: u64 = 512;
/// The public sockets; each takes so many connections as its options say.
const DOORS: u64 = 2;

/// Raises this process's limit of open files to what the system allows it (root: to what is needed), and gives how many
/// connections there are descriptors for. Shells and services start with 1,024.
pub(super) fn connections(of_each_door: usize) -> Together {
    let needed = needed(u64::try_from(of_each_door).unwrap_or(u64::MAX));
    let allowed = raise(needed).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files can't be raised");
        needed
    });
    let connections = connections_in(allowed);
    if allowed < needed {
        // Not a warning, which `serve` would show at each start: few brokers have thousands of peers.
        tracing::info!(
            allowed,
            needed,
            connections,
            "the limit of open files (ulimit -n, LimitNOFILE) is too low for all connections that may be made; so \
             many are taken"
        );
    }
    Together::new(usize::try_from(connections).unwrap_or(usize::MAX))
}

fn raise(needed: u64) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < needed && setrlimit(Resource::RLIMIT_NOFILE, needed, needed).is_ok() {
        return Ok(needed);
    }
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
        let allowed = raise(0).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (allowed, allowed));
    }

    #[test]
    fn what_is_needed_is_enough_for_all_connections() {
        assert_eq!(connections_in(needed(4096)), 2 * 4096);
        assert!(connections_in(needed(4096) - 1) < 2 * 4096);
        assert_eq!(connections_in(0), 0);
    }
}
