//! The broker that runs, the clock, the limits of this process.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Finding;
use crate::admin::client::AdminError;
use crate::admin::dto::{Overview, StoreHealth, Timestamp};
use crate::broker::Clock;
use crate::cli::descriptors;
use crate::config::Config;
use crate::model::with_causes;

/// A unix socket's path has at most so many bytes.
const MAX_SOCKET_BYTES: usize = 107;
/// The clock may differ so much from the broker's, or from a file's time, in milliseconds: that is drift.
const DRIFT_MS: u64 = 2_000;
/// This program is younger than that: a clock before has never been set (2026-01-01).
const BORN: Timestamp = Timestamp(1_767_225_600_000);

/// Whether one runs, and how it is.
pub(super) fn broker(admin: &Path, asked: &Result<Overview, AdminError>) -> Finding {
    const CHECK: &str = "broker";
    let overview = match asked {
        Ok(overview) => overview,
        Err(AdminError::Unreachable { .. }) if admin.as_os_str().len() > MAX_SOCKET_BYTES => {
            let found = format!("the path of listen.admin is too long: {}", admin.display());
            let advice =
                format!("a unix socket's has at most {MAX_SOCKET_BYTES} bytes; set listen.admin");
            return Finding::wrong(CHECK, found, advice);
        }
        Err(AdminError::Unreachable { .. }) => {
            return Finding::ok(CHECK, "none runs here");
        }
        Err(error) => {
            let advice = "if it lasts, its log says why; `kill` ends it within 5 s, and what was accepted is kept";
            return Finding::wrong(CHECK, with_causes(error), advice);
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    let Overview { version, pid, store, .. } = overview;
    let found = format!("version {version} runs as process {pid}");
    match store {
        StoreHealth::Unavailable { reason } => {
            let advice =
                "it opens the store again by itself; if it doesn't come back, look at the disk";
            Finding::wrong(CHECK, format!("{found}; the store can't be written: {reason}"), advice)
        }
        StoreHealth::Full { reason } => {
            Finding::wrong(CHECK, format!("{found}; its disk is full: {reason}"), "make room")
        }
        StoreHealth::Ok if version != ours => {
            let advice = format!("this program is {ours}: start the broker again with it");
            Finding::warning(CHECK, found, advice)
        }
        StoreHealth::Ok => Finding::ok(CHECK, found),
    }
}

/// The check of the clock.
pub(super) const CLOCK: &str = "clock";

/// Whether the clock is set, and was not set back.
pub(super) fn clock(data_dir: &Path, running: Option<&Overview>) -> Finding {
    const CHECK: &str = CLOCK;
    let now = Clock::start().now();
    let advice = "set it (NTP): delays, times to live and the journal go by it";
    if now < BORN {
        return Finding::wrong(CHECK, format!("it says {now}"), advice);
    }
    if let Some(overview) = running
        && overview.now.since_ms(now) > DRIFT_MS
    {
        let found = format!("it says {now}, the broker {}: it was set back", overview.now);
        let advice = "the broker's time never goes back; start it again to have this one";
        return Finding::warning(CHECK, found, advice);
    }
    match newest(data_dir) {
        Some(newest) if newest.since_ms(now) > DRIFT_MS => {
            let found = format!("it says {now}, but a file in the data folder is of {newest}");
            Finding::warning(CHECK, found, format!("it was set back; {advice}"))
        }
        Some(_) | None => Finding::ok(CHECK, format!("it says {now}")),
    }
}

/// When something in the folder was last written, as far as it is known.
fn newest(folder: &Path) -> Option<Timestamp> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok());
    let millis = times.filter_map(|time| time.duration_since(UNIX_EPOCH).ok());
    millis.filter_map(|since| u64::try_from(since.as_millis()).ok()).max().map(Timestamp)
}

/// Whether this process may open as many files as connections may need.
pub(super) fn open_files(config: &Config) -> Finding {
    const CHECK: &str = "open files";
    let processes = config.workers_kept.iter().map(|pool| u64::from(pool.count)).sum();
    let limits = descriptors::limits(config.connections.most, processes);
    let found = format!(
        "{} may be open, {} connections need {}",
        limits.allowed, limits.wanted, limits.needed
    );
    if limits.allowed >= limits.needed {
        return Finding::ok(CHECK, found);
    }
    let advice = format!(
        "{} connections are taken; raise the hard limit (ulimit -Hn, LimitNOFILE= in the unit) if you need more, or \
         lower [listen] connections",
        limits.connections
    );
    Finding::warning(CHECK, found, advice)
}
