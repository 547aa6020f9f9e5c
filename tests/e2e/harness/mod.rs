//! The real binary: a broker in a folder of its own, commands against it, and a terminal to run it in.
//! Every wait has a bound and says what was awaited.

mod link;
mod terminal;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use link::{How, Link};
pub(crate) use terminal::Terminal;

/// How long one step may take: far more than it needs, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The binary under test.
pub(crate) const MUBROKER: &str = env!("CARGO_BIN_EXE_mubroker");

/// `mubroker serve` with its store in a temporary folder; ended with this value.
pub(crate) struct Broker {
    folder: TempDir,
    child: Child,
    /// Where clients connect.
    pub(crate) clients: String,
    /// Where workers connect.
    pub(crate) workers: String,
}

impl Broker {
    /// Starts one with these settings besides its folder and ports, and waits until it answers.
    pub(crate) fn start(settings: &str) -> Self {
        Self::listening(settings, |_door, _folder| "tcp://127.0.0.1:0".to_owned())
    }

    /// The same on unix sockets, whose addresses stay the same when it is restarted.
    pub(crate) fn start_on_sockets(settings: &str) -> Self {
        Self::listening(settings, |door, folder| format!("ipc://{}/{door}", folder.display()))
    }

    fn listening(settings: &str, at: impl Fn(&str, &Path) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let [clients, workers] = ["clients", "workers"].map(|door| at(door, folder.path()));
        let config = format!(
            "data_dir = {data:?}\n[listen]\nclients = {clients:?}\nworkers = {workers:?}\n{settings}"
        );
        std::fs::write(folder.path().join("mubroker.toml"), config).expect("the configuration");
        let child = serve(folder.path());
        let mut broker = Self { folder, child, clients: String::new(), workers: String::new() };
        broker.wait_until_it_answers();
        broker
    }

    /// Ends it by this signal and starts it again on the same folder.
    pub(crate) fn restart(&mut self, by: Signal) {
        self.restart_with(by, || {});
    }

    /// The same, with something done while it doesn't run.
    pub(crate) fn restart_with(&mut self, by: Signal, between: impl FnOnce()) {
        signal(self.child.id(), by);
        wait_for_end(&mut self.child);
        between();
        self.child = serve(self.folder.path());
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let overview = self.until("the admin API answers", |broker| {
            let ended = broker.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "serve ended with {ended:?}\n{}", broker.log());
            broker.get("/v1/overview").filter(|o| o["pid"] == broker.child.id())
        });
        let address = |key: &str| overview[key].as_str().expect("an address").to_owned();
        (self.clients, self.workers) = (address("clients"), address("workers"));
    }

    /// Its data folder.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `GET path` of the admin API; `None` if nothing answers or it is not there.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let mut socket = UnixStream::connect(self.folder.path().join("data/admin.sock")).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).expect("JSON"))
    }

    /// A worker for queue `invoices` that runs this script for each message; `$0` is `done.txt` in the broker's folder.
    pub(crate) fn worker(&self, script: &str) -> Running {
        self.worker_of("invoices", script)
    }

    /// Likewise for another queue.
    pub(crate) fn worker_of(&self, queue: &str, script: &str) -> Running {
        let worker = self
            .command(&["worker", "--queue", queue, "--exec", "sh", "-c", script])
            .arg(self.folder().join("done.txt"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(worker.expect("the worker starts"))
    }

    /// The view of a queue.
    pub(crate) fn queue(&self, name: &str) -> Option<Value> {
        self.get(&format!("/v1/queues/{name}"))
    }

    /// Asks `probe` until it gives something.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let began = now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited until {what}\n{}", self.log());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Runs a command against this broker; it must end with code 0.
    pub(crate) fn run(&self, arguments: &[&str], stdin: &[u8]) -> String {
        let output = self.try_run(arguments, stdin);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}\n{text}{errors}", output.status);
        text
    }

    /// Runs a command against this broker.
    pub(crate) fn try_run(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mubroker starts");
        // A command that reads no input may end before it is written.
        let _ = child.stdin.take().expect("piped").write_all(stdin);
        child.wait_with_output().expect("the command ends")
    }

    /// A command against this broker, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MUBROKER);
        command.args(arguments).env("MUBROKER_DATA_DIR", self.data_dir());
        command
    }

    /// What it printed and logged.
    pub(crate) fn log(&self) -> String {
        let mut text =
            std::fs::read_to_string(self.folder.path().join("output.log")).unwrap_or_default();
        for entry in std::fs::read_dir(self.folder.path().join("data/log")).into_iter().flatten() {
            let path = entry.expect("an entry of the log folder").path();
            text += &std::fs::read_to_string(path).unwrap_or_default();
        }
        text
    }

    /// SIGTERM; its exit status.
    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), Signal::SIGTERM);
        wait_for_end(&mut self.child)
    }
}

fn serve(folder: &Path) -> Child {
    let output = std::fs::File::create(folder.join("output.log")).expect("the output");
    Command::new(MUBROKER)
        .args(["serve", "--config"])
        .arg(folder.join("mubroker.toml"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .spawn()
        .expect("mubroker starts")
}

impl Drop for Broker {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the broker said")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("-- the broker's output and log --\n{}", self.log());
        }
    }
}

/// A child that is ended with this value: a worker, a watcher.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a process that the test started.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, signal).expect("our own process can be signalled");
}

/// Waits for a child's end, with a bound.
pub(crate) fn wait_for_end(child: &mut Child) -> ExitStatus {
    let began = now();
    loop {
        if let Some(status) = child.try_wait().expect("the child can be asked") {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "process {} does not end", child.id());
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// The test's own clock.
#[expect(clippy::disallowed_methods, reason = "a test measures how long the real binary takes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
