//! Descriptors: what the broker may open, against what its connections may need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::net::Together;

/// What the process needs beside connections: store, log, listeners, the admin API's clients.
const BESIDE: u64 = 512;
/// A supervised process's: its two outputs, and what watches its end.
const PER_PROCESS: u64 = 4;
/// What shells and services start with.
const USUAL: u64 = 1024;
/// The public sockets; each takes so many connections as its options say.
const DOORS: u64 = 2;

/// What may be open, and what that is enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections to all doors that are configured.
    pub(super) wanted: u64,
    /// Descriptors for these.
    pub(super) needed: u64,
    /// Descriptors that there may be.
    pub(super) allowed: u64,
    /// Connections that these are enough for.
    pub(super) connections: u64,
}

/// Raises this process's limit of open files to what the system allows it, and says what it is enough for beside
/// `processes` supervised ones. Shells and services start with 1,024.
pub(super) fn limits(of_each_door: usize, processes: u64) -> Limits {
    let beside = BESIDE.saturating_add(processes.saturating_mul(PER_PROCESS));
    let wanted = u64::try_from(of_each_door).unwrap_or(u64::MAX).saturating_mul(DOORS);
    let needed = wanted.saturating_add(beside);
    let allowed = raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files is not known");
        USUAL
    });
    Limits { wanted, needed, allowed, connections: allowed.saturating_sub(beside) }
}

/// How many connections there are descriptors for, after [`limits`].
pub(super) fn connections(of_each_door: usize, processes: u64) -> Together {
    let Limits { needed, allowed, connections, .. } = limits(of_each_door, processes);
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

/// The limit that there is afterwards.
fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return Ok(soft);
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let allowed = raise().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (allowed, allowed));
    }

    #[test]
    fn supervised_processes_take_their_descriptors_from_connections() {
        let allowed = raise().unwrap();
        assert_eq!(connections(1, 0).connections() as u64, allowed - BESIDE);
        assert_eq!(connections(1, 30).connections() as u64, allowed - BESIDE - 120);
        assert_eq!(connections(1, u64::MAX).connections(), 0);
    }
}
