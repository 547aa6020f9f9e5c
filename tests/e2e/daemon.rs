//! `mubroker serve` as a process of its own, on free ports and a temporary store.

#![expect(clippy::unwrap_used, reason = "a test that can't go on ends there")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use mubroker::admin::client::{AdminClient, Endpoint};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Where clients connect.
    pub(crate) clients: String,
    /// Where workers connect.
    pub(crate) workers: String,
    data_dir: PathBuf,
}

/// `mubroker serve` on this store; ports are taken as they are free.
pub(crate) fn serve(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mubroker"));
    command.arg("serve").arg("--data-dir").arg(data_dir);
    command.args(["--clients", "tcp://127.0.0.1:0", "--workers", "tcp://127.0.0.1:0"]);
    command.stdin(Stdio::null());
    command
}

impl Daemon {
    /// Starts one and returns when clients can connect.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(serve(data_dir), data_dir)
    }

    /// Starts what [`serve`] has made for this store.
    pub(crate) fn start_with(mut command: Command, data_dir: &Path) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // mubroker listens: clients A, workers B, admin C, store D
        let word = |name: &str| {
            let rest = line.split(&format!("{name} ")).nth(1).unwrap_or_else(|| panic!("{line:?}"));
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        let (clients, workers) = (word("clients"), word("workers"));
        Self { child, clients, workers, data_dir: data_dir.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    pub(crate) fn admin(&self) -> AdminClient {
        AdminClient::new(Endpoint::Unix(self.socket()), "cli")
    }

    /// Sends the signal, and waits for the end for at most `limit`.
    pub(crate) fn end(mut self, signal: Signal, limit: Duration) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let until = now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(now() < until, "still there {limit:?} after {signal}");
            // A child's end can't be waited for with a limit.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of the binary to its end.
pub(crate) fn mubroker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mubroker"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A store's folder, short enough for a unix socket's path.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("mub").tempdir().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test's own limit on another process")]
fn now() -> Instant {
    Instant::now()
}
