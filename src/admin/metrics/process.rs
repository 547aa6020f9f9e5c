//! The broker's own process, as the system counts it.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

/// What Prometheus' clients tell of a process. What the system doesn't say is left out.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_micros: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
}

impl Process {
    /// Now.
    pub(super) fn now() -> Self {
        Self {
            cpu_micros: cpu_micros(),
            resident_bytes: resident_bytes(),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            max_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

fn cpu_micros() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec()));
    u64::try_from(micros.into_iter().fold(0, i64::saturating_add)).ok()
}

/// `VmRSS` of proc(5), which is in units of 1024 bytes.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}
