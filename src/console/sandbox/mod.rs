//! A program over payloads (a jq expression, a JSON Patch) in a process of its own.
//!
//! An expression may never end, call itself without end, or build values without end; in this process it would take the
//! console with it. The child is this very binary with a hidden command. It sets its own limits of memory, reads the
//! program, then payload by payload ([`frames`]), and ends when its input does: also when this process is killed. How long it
//! may take is watched from here.

pub mod child;
mod frames;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::text::clean::{clean, truncate};
use frames::{DONE, FORCED, Frame, JQ, PATCH, PAYLOAD, REFUSED};

/// The hidden command; it is followed by the memory's limit in bytes.
pub const COMMAND: &str = "__rework";

/// Of what the child says on standard error, its end: the reason of its own.
const MAX_SAID_BYTES: usize = 4096;
/// Columns of that which are shown.
const SAID_COLUMNS: usize = 200;
/// How long a child may take until it has read its program, at least.
const STARTING: Duration = Duration::from_secs(10);
/// How long a child whose output has ended may take to end itself.
const MAX_DYING: Duration = Duration::from_secs(2);

/// What a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory for the values that it makes, in bytes.
    pub memory_bytes: u64,
    /// Time for one payload.
    pub time: Duration,
}

impl Default for Limits {
    /// 16 MiB of orders took 0.6 GiB of addresses and six seconds in a debug build. The same of nothing but single digits
    /// takes 3 GiB, and is refused.
    fn default() -> Self {
        Self { memory_bytes: 1024 * 1024 * 1024, time: Duration::from_secs(10) }
    }
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A jq expression.
    Jq(&'a str),
    /// The text of a JSON Patch (RFC 6902).
    Patch(&'a [u8]),
}

/// A program that can't be run, or not on. All is harmless to show.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It is no program; with what is wrong.
    #[error("{0}")]
    NoProgram(String),
    /// It was ended.
    #[error("{what} took longer than {} s", time.as_secs_f64())]
    TooLong {
        /// The expression or the patch.
        what: &'static str,
        /// The limit.
        time: Duration,
    },
    /// It has ended itself.
    #[error("{what} ran out of memory (limit {} MB)", memory_bytes / (1024 * 1024))]
    OutOfMemory {
        /// The expression or the patch.
        what: &'static str,
        /// The limit.
        memory_bytes: u64,
    },
    /// It has ended itself.
    #[error("{0} overflowed its stack: it calls itself too often, or nests too deeply")]
    StackOverflow(&'static str),
    /// It ended otherwise.
    #[error("{what} broke down: {why}")]
    Broke {
        /// The expression or the patch.
        what: &'static str,
        /// What is known of it.
        why: String,
    },
    /// There is no process for it.
    #[error("the process for {what} can't be started: {error}")]
    NotStarted {
        /// The expression or the patch.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// A program that is run; killed with this value.
#[derive(Debug)]
pub struct Sandbox {
    what: &'static str,
    limits: Limits,
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    /// The end of what it says on standard error.
    said: JoinHandle<Vec<u8>>,
}

impl Sandbox {
    /// Starts `own_program`, which is this binary, and gives it the program to read.
    pub async fn start(
        own_program: &Path,
        source: Source<'_>,
        limits: Limits,
    ) -> Result<Self, SandboxError> {
        let (what, kind, text) = match source {
            Source::Jq(text) => ("the expression", JQ, text.as_bytes()),
            Source::Patch(text) => ("the patch", PATCH, text),
        };
        let mut child = Command::new(own_program)
            .arg(COMMAND)
            .arg(limits.memory_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What is typed at the terminal, ^C and ^Z, is not for it.
            .process_group(0)
            // A backtrace needs memory when there is none.
            .env("RUST_BACKTRACE", "0")
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| SandboxError::NotStarted { what, error })?;
        let piped = "all three were asked for";
        let said = tokio::spawn(end_of(child.stderr.take().expect(piped)));
        let (to, from) = (child.stdin.take().expect(piped), child.stdout.take().expect(piped));
        let mut sandbox = Self { what, limits, child, to, from, said };
        // A process that starts on a busy machine isn't the program's time.
        match sandbox.ask(kind, text, limits.time.max(STARTING)).await? {
            (DONE, _) => Ok(sandbox),
            (_, why) => Err(SandboxError::NoProgram(String::from_utf8_lossy(&why).into_owned())),
        }
    }

    /// The new payload, or why there is none of this one; after an outer error, and when cut short, the value is of no use any
    /// more. `force`: of keys that are there twice the last stays.
    pub async fn apply(
        &mut self,
        payload: &[u8],
        force: bool,
    ) -> Result<Result<Vec<u8>, String>, SandboxError> {
        let kind = if force { FORCED } else { PAYLOAD };
        match self.ask(kind, payload, self.limits.time).await? {
            (DONE, new) => Ok(Ok(new)),
            (_, why) => Ok(Err(String::from_utf8_lossy(&why).into_owned())),
        }
    }

    async fn ask(&mut self, kind: u8, bytes: &[u8], time: Duration) -> Result<Frame, SandboxError> {
        let (to, from) = (&mut self.to, &mut self.from);
        let exchange = async {
            frames::send(to, kind, bytes).await?;
            match frames::receive(from).await? {
                frame @ (DONE | REFUSED, _) => Ok(frame),
                _ => Err(frames::bad("an answer's kind")),
            }
        };
        match timeout(time, exchange).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(error)) => Err(self.end(&error).await),
            Err(_) => {
                // An error: it has just ended by itself.
                let _ = self.child.start_kill();
                Err(SandboxError::TooLong { what: self.what, time })
            }
        }
    }

    /// Why its output has ended.
    async fn end(&mut self, error: &io::Error) -> SandboxError {
        let status = timeout(MAX_DYING, self.child.wait()).await;
        let _ = self.child.start_kill();
        let said = timeout(MAX_DYING, &mut self.said).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let (what, memory_bytes) = (self.what, self.limits.memory_bytes);
        // The words of Rust's runtime: it ends by the same signal for both.
        if said.contains("has overflowed its stack") {
            return SandboxError::StackOverflow(what);
        }
        if said.contains("memory allocation of") || said.contains("capacity overflow") {
            return SandboxError::OutOfMemory { what, memory_bytes };
        }
        let ended = match status {
            Ok(Ok(status)) => ended_by(status),
            Ok(Err(error)) => error.to_string(),
            Err(_) => error.to_string(),
        };
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let last = truncate(&clean(last), SAID_COLUMNS).into_owned();
        let why = if last.is_empty() { ended } else { format!("{ended}: {last}") };
        SandboxError::Broke { what, why }
    }
}

fn ended_by(status: ExitStatus) -> String {
    match status.signal() {
        Some(nix::libc::SIGKILL) => {
            "it was killed, by the system if that had no memory left".to_owned()
        }
        Some(_) | None => format!("its process ended with {status}"),
    }
}

/// Reads to the end, and keeps the last of it: whoever says much must not wait for a reader.
async fn end_of(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), [0; MAX_SAID_BYTES]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        kept.drain(..kept.len().saturating_sub(MAX_SAID_BYTES));
    }
    kept
}
