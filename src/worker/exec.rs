//! A handler that runs a command once a message.
//!
//! The payload is the command's standard input, the header its `MUBROKER_*` environment. Exit status 0
//! acknowledges with standard output as the reply; anything else is a failure with the tail of standard
//! error. Each child leads a process group of its own, and the message is not answered before the whole
//! group is gone: what a message started ends with it.

mod env;
mod group;
mod output;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use self::group::Group;
use self::output::{Reply, Tail};
use super::handler::{Failure, Handler};
use crate::model::WorkError;
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::wire::Delivery;

/// How long a group may take to end after SIGTERM before it gets SIGKILL: time to write a line and close
/// a file, short beside a lease.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How much of standard error is kept: the end, where the reason stands.
const STDERR_TAIL_BYTES: usize = 4 * 1024;
/// A failure's one line for the operator, in characters.
const MAX_LINE_CHARS: usize = 200;
/// How long output may still come after the child's end. Its own is in the pipe by then; a grandchild
/// that holds the pipe open must not hold the message.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// Why a command can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no command line.
    #[error("no command: give the program to run for each message")]
    Empty,
    /// The program isn't there, or can't be run by this user.
    #[error("command {} is not an executable file, nor is there one of that name in PATH", .0.display())]
    NotFound(PathBuf),
}

/// Runs one command a message.
#[derive(Debug, Clone)]
pub struct Exec {
    program: OsString,
    args: Vec<OsString>,
    kill_grace: Duration,
}

impl Exec {
    /// A handler that runs `command`, a program and its arguments; checks that the program is there.
    pub fn new(command: impl IntoIterator<Item = OsString>) -> Result<Self, ExecError> {
        let mut command = command.into_iter();
        let program = command.next().filter(|p| !p.is_empty()).ok_or(ExecError::Empty)?;
        if !is_command(Path::new(&program)) {
            return Err(ExecError::NotFound(program.into()));
        }
        Ok(Self { program, args: command.collect(), kill_grace: KILL_GRACE })
    }

    /// The same handler with another grace between SIGTERM and SIGKILL.
    #[must_use]
    pub fn with_kill_grace(self, kill_grace: Duration) -> Self {
        Self { kill_grace, ..self }
    }

    fn spawn(&self, delivery: &Delivery) -> io::Result<(Child, Group)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        env::set(&mut command, delivery);
        let child = command.spawn()?;
        let group = Group::led_by(&child)?;
        Ok((child, group))
    }
}

impl Handler for Exec {
    async fn handle(&self, delivery: Delivery, limit: Duration) -> Result<Bytes, Failure> {
        let (mut child, group) = self.spawn(&delivery).map_err(|e| self.not_started(&e))?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut reply = Reply::new(child.stdout.take().expect("stdout is piped"));
        let mut tail = Tail::new(child.stderr.take().expect("stderr is piped"), STDERR_TAIL_BYTES);

        let work = async {
            tokio::select! {
                // The child's end is what counts: stdin it did not read, and output that a grandchild
                // still holds open, don't keep it.
                status = child.wait() => status.map(Ended::Exited),
                () = reply.too_large() => Ok(Ended::TooMuchOutput),
                never = tail.read() => match never {},
                never = feed(stdin, delivery.content.payload.clone()) => match never {},
            }
        };
        let ended = match tokio::time::timeout(limit, work).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                group.end(&mut child, self.kill_grace).await;
                return Err(failure("wait", format!("the command's end is unknown: {error}"), ""));
            }
            Err(_) => Ended::TimedOut,
        };
        if let Ended::Exited(_) = ended {
            let drain = async { tokio::join!(reply.rest(), tail.rest()) };
            // An elapsed limit is no error: what is there by then is the output.
            let _elapsed = tokio::time::timeout(DRAIN_LIMIT, drain).await;
        }
        let gone = group.end(&mut child, self.kill_grace).await;
        let _elapsed = tokio::time::timeout(DRAIN_LIMIT, tail.rest()).await;
        let result = self.judge(ended, limit, reply, &tail.text());
        match (gone, result) {
            (true, result) => result,
            (false, Ok(_)) => Err(failure(
                "leftover",
                "the command ended, but processes that it started can't be ended".to_owned(),
                &tail.text(),
            )),
            (false, Err(mut failure)) => {
                failure.error.message.push_str("; processes that it started can't be ended");
                Err(failure)
            }
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Exited(ExitStatus),
    TooMuchOutput,
    TimedOut,
}

impl Exec {
    fn judge(
        &self,
        ended: Ended,
        limit: Duration,
        reply: Reply<ChildStdout>,
        stderr: &str,
    ) -> Result<Bytes, Failure> {
        let status = match ended {
            Ended::Exited(status) => status,
            Ended::TooMuchOutput => return Err(too_much_output(stderr)),
            Ended::TimedOut => {
                let message = format!(
                    "ran longer than {} ms and was ended with its process group",
                    limit.as_millis()
                );
                return Err(failure("timeout", message, stderr));
            }
        };
        if status.success() {
            return reply.into_bytes().ok_or_else(|| too_much_output(stderr));
        }
        let (code, what) = match (status.code(), status.signal()) {
            (Some(code), _) => (format!("exit-{code}"), format!("exit status {code}")),
            (None, Some(number)) => (format!("signal-{number}"), signal_text(number)),
            (None, None) => ("exit-unknown".to_owned(), status.to_string()),
        };
        let message = match last_line(stderr) {
            Some(line) => format!("{what}: {line}"),
            None => what,
        };
        Err(failure(&code, message, stderr))
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        let program = Path::new(&self.program).display();
        failure("spawn", format!("{program} can't be started: {error}"), "")
    }
}

/// Writes the payload and closes the pipe. A child need not read its input (EPIPE is no error); it is
/// its exit status that counts, so this never ends.
async fn feed(mut stdin: ChildStdin, payload: Bytes) -> std::convert::Infallible {
    let _unread = stdin.write_all(&payload).await;
    drop(stdin);
    std::future::pending().await
}

fn failure(code: &str, message: String, detail: &str) -> Failure {
    Failure::new(WorkError { code: code.to_owned(), message, detail: detail.to_owned() })
}

fn too_much_output(stderr: &str) -> Failure {
    let message = format!("more than {MAX_PAYLOAD_BYTES} bytes of standard output");
    failure("reply-too-large", message, stderr)
}

fn signal_text(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("ended by signal {number} ({signal})"),
        Err(_) => format!("ended by signal {number}"),
    }
}

/// The last line that says something: where programs put their reason.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_LINE_CHARS).collect())
}

/// As `execvp` looks it up: a path is taken as it is, a name is looked for in `PATH`.
fn is_command(program: &Path) -> bool {
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if program.components().count() > 1 || program.is_absolute() {
        return runs(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

#[cfg(test)]
mod tests;
