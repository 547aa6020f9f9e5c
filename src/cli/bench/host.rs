//! The broker that is measured: one of our own in a temporary folder, or one that runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::BenchError;
use crate::admin::client::{AdminClient, Endpoint};

/// How long the broker may take to start or to stop; both take milliseconds, or some seconds with a large
/// store.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to reach a broker that starts: how exactly its opening time is known.
const RETRY: Duration = Duration::from_millis(5);

/// A broker that took no more processor time than `RESTING_TIME` in each of two such spans, one after the other, rests.
const REST_SPAN: Duration = Duration::from_secs(1);
const RESTING_TIME: Duration = Duration::from_millis(20);

/// The configuration's name in the folder of a broker of our own.
const CONFIG: &str = "mubroker.toml";

/// What a tick in `/proc` is: USER_HZ is part of Linux's interface, the same on every machine that we
/// build for.
const TICKS_PER_SECOND: u32 = 100;

/// Where the broker under measurement is.
pub(super) struct Host {
    pub(super) pid: u32,
    pub(super) clients: String,
    pub(super) workers: String,
    client: AdminClient,
    socket: PathBuf,
    /// Where its store is.
    data_dir: PathBuf,
    own: Option<Own>,
}

struct Own {
    child: Child,
    /// Removed with this value, after the child's end.
    folder: TempDir,
}

/// What the process has used, by `/proc`.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    /// Processor time since its start.
    pub(super) cpu: Duration,
    /// Resident memory in bytes.
    pub(super) rss: u64,
}

impl Host {
    /// Starts a broker of this binary in a temporary folder below `at`.
    pub(super) async fn start(at: &Path) -> Result<Self, BenchError> {
        Self::start_with(at, "").await
    }

    /// The same, with settings beside its folder and ports.
    pub(super) async fn start_with(at: &Path, settings: &str) -> Result<Self, BenchError> {
        let folder = super::scratch(at)?;
        let data = folder.path().join("data");
        let text = format!(
            "data_dir = {data:?}\n[listen]\nclients = \"tcp://127.0.0.1:0\"\n\
             workers = \"tcp://127.0.0.1:0\"\n{settings}"
        );
        std::fs::write(folder.path().join(CONFIG), text)
            .map_err(|source| BenchError::io("the configuration", source))?;
        let child = spawn(folder.path())?;
        let mut host = Self::at(&data.join("admin.sock"), Some(Own { child, folder }));
        host.until_it_answers().await?;
        Ok(host)
    }

    /// The broker whose admin API is at `socket`.
    pub(super) async fn attach(socket: &Path) -> Result<Self, BenchError> {
        let mut host = Self::at(socket, None);
        host.find().await?;
        Ok(host)
    }

    fn at(socket: &Path, own: Option<Own>) -> Self {
        let client = AdminClient::new(Endpoint::Unix(socket.to_owned()), "cli");
        let (clients, workers, data_dir) = Default::default();
        Self { pid: 0, clients, workers, client, socket: socket.to_owned(), data_dir, own }
    }

    /// Stops a broker of our own in good order and starts it over the same store; the time from its start
    /// to its first answer.
    pub(super) async fn restart(&mut self) -> Result<Duration, BenchError> {
        self.stop();
        let began = Instant::now();
        if let Some(own) = &mut self.own {
            own.child = spawn(own.folder.path())?;
        }
        self.until_it_answers().await?;
        Ok(began.elapsed())
    }

    async fn until_it_answers(&mut self) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            match self.find().await {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > PATIENCE || self.ended() => return Err(error),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    async fn find(&mut self) -> Result<(), BenchError> {
        let overview = self.client.overview().await.map_err(|source| BenchError::Unreachable {
            at: self.socket.display().to_string(),
            source,
        })?;
        (self.pid, self.clients, self.workers) = (overview.pid, overview.clients, overview.workers);
        self.data_dir = overview.data_dir.into();
        Ok(())
    }

    /// Its admin API.
    pub(super) fn admin(&self) -> &AdminClient {
        &self.client
    }

    /// What its store takes on the disk, in bytes.
    pub(super) fn disk_bytes(&self) -> Result<u64, BenchError> {
        super::folder::bytes(&self.data_dir.join("store"))
            .map_err(|source| BenchError::io("the store's folder", source))
    }

    fn ended(&mut self) -> bool {
        self.own.as_mut().is_some_and(|own| matches!(own.child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// Whether it was started for this, and goes with its store.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// A broker of our own is ended by SIGTERM, and by force if that takes too long.
    fn stop(&mut self) {
        let Some(own) = &mut self.own else { return };
        let pid = Pid::from_raw(i32::try_from(own.child.id()).unwrap_or_default());
        let asked = pid.as_raw() > 0 && kill(pid, Signal::SIGTERM).is_ok();
        let began = Instant::now();
        while asked && began.elapsed() < PATIENCE {
            match own.child.try_wait() {
                Ok(None) => std::thread::park_timeout(RETRY),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // Neither can fail in a way that leaves something to do.
        let _ = own.child.kill();
        let _ = own.child.wait();
    }

    /// What the broker's process has used so far.
    pub(super) fn usage(&self) -> Result<Usage, BenchError> {
        usage(self.pid).map_err(|source| BenchError::io("/proc of the broker", source))
    }

    /// The same once the broker rests: its store may have something to tidy up, and gives memory back then.
    pub(super) async fn usage_at_rest(&self) -> Result<Usage, BenchError> {
        let began = Instant::now();
        let (mut before, mut spans) = (self.usage()?, 0);
        loop {
            sleep(REST_SPAN).await;
            let usage = self.usage()?;
            spans =
                if usage.cpu.saturating_sub(before.cpu) <= RESTING_TIME { spans + 1 } else { 0 };
            if spans == 2 {
                return Ok(usage);
            }
            if began.elapsed() > PATIENCE {
                return Err(BenchError::Unexpected {
                    what: "a broker that never rests".to_owned(),
                });
            }
            before = usage;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(folder: &Path) -> Result<Child, BenchError> {
    let started = std::env::current_exe().and_then(|binary| {
        Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(folder.join(CONFIG))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
    });
    started.map_err(|source| BenchError::io("the broker's start", source))
}

fn usage(pid: u32) -> std::io::Result<Usage> {
    let unreadable = || std::io::Error::other("not in the form that proc(5) describes");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name, field 2, may hold anything; it ends at the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(unreadable)?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(number).sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = rss.and_then(|text| text.split_whitespace().next()).and_then(number);
    Ok(Usage {
        cpu: Duration::from_secs(ticks) / TICKS_PER_SECOND,
        rss: kib.ok_or_else(unreadable)? * 1024,
    })
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_our_own_process_can_be_read() {
        let usage = usage(std::process::id()).expect("we are in /proc");
        assert!(usage.rss > 1024 * 1024, "a process has more than a MiB");
        assert!(usage.cpu < Duration::from_secs(100_000));
    }
}
