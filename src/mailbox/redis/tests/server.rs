//! A real `redis-server` on a port of its own, in a folder of its own.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take before a test gives up.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Folder and file of what was written since the server began: the file isn't written anew by itself.
pub(super) const AOF: &str = "appendonlydir";
pub(super) const WRITTEN_SINCE: &str = "appendonly.aof.1.incr.aof";

/// A server that ends with this value.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// Durable, so that it has what it had after a kill.
    pub(super) fn start() -> Self {
        Self::over(tempfile::tempdir().unwrap())
    }

    /// With what another one has left in this folder.
    pub(super) fn over(folder: tempfile::TempDir) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { child: run(port, folder.path()), port, folder }
    }

    /// Where its append-only file is: a base, what came since, and a list of these.
    pub(super) fn aof(&self) -> PathBuf {
        self.folder.path().join(AOF)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// One command, by a connection of its own.
    pub(super) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(LIMIT).unwrap();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut connection).unwrap()
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it as a crash does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port, with what it had written.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.child = run(self.port, self.folder.path());
    }

    /// On the same port, with nothing.
    pub(super) fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.aof()).unwrap();
        self.child = run(self.port, self.folder.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(port: u16, folder: &Path) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--appenddirname", AOF])
        .args(["--aof-load-truncated", "yes", "--auto-aof-rewrite-percentage", "0", "--dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is there: tests/run installs it");
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("redis-server ended with {status}: {said}");
        }
        assert!(started.elapsed() < LIMIT, "redis-server does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
