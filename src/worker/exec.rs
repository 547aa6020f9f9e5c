//! A handler that runs a command once a message.
//!
//! The payload is the command's standard input, the header its `MUBROKER_*` environment. Exit status 0
//! acknowledges with standard output as the reply; anything else is a failure with the tail of standard
//! error. Each child leads a process group of its own, and the message is not answered before the whole
//! group is gone: what a message started ends with it.

mod env;
mod output;

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};

use self::output::{Reply, Tail};
use super::handler::{Failure, Handler, Work};
use super::process::{Group, KILL_GRACE, Program, exit_error};
use crate::model::WorkError;
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::wire::Delivery;

/// How long output may still come after the child's end. Its own is in the pipe by then; a grandchild
/// that holds the pipe open must not hold the message.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// Runs one command a message.
#[derive(Debug, Clone)]
pub struct Exec {
    program: Program,
    kill_grace: Duration,
    shows_stderr: bool,
}

impl Exec {
    /// A handler that runs `program`.
    pub fn new(program: Program) -> Self {
        Self { program, kill_grace: KILL_GRACE, shows_stderr: false }
    }

    /// The same handler with another grace between SIGTERM and SIGKILL.
    #[must_use]
    pub fn with_kill_grace(self, kill_grace: Duration) -> Self {
        Self { kill_grace, ..self }
    }

    /// The same handler, which writes its commands' standard error to its own, too.
    #[must_use]
    pub fn showing_stderr(self, shows_stderr: bool) -> Self {
        Self { shows_stderr, ..self }
    }

    fn spawn(&self, delivery: &Delivery) -> io::Result<(Child, Group)> {
        let mut command = self.program.command();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        env::set(&mut command, delivery);
        let child = command.spawn()?;
        let group = Group::led_by(&child)?;
        Ok((child, group))
    }
}

impl Handler for Exec {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
        let limit = work.limit();
        let (mut child, group) = self.spawn(&delivery).map_err(|e| self.not_started(&e))?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut reply = Reply::new(child.stdout.take().expect("stdout is piped"));
        let mut tail = Tail::new(child.stderr.take().expect("stderr is piped"));
        if self.shows_stderr {
            tail = tail.passed_on();
        }

        let ended = async {
            tokio::select! {
                // The child's end is what counts: stdin it did not read, and output that a grandchild
                // still holds open, don't keep it.
                status = child.wait() => status.map(Ended::Exited),
                () = reply.too_large() => Ok(Ended::TooMuchOutput),
                never = tail.read() => match never {},
                never = feed(stdin, delivery.content.payload.clone()) => match never {},
            }
        };
        let ended = match tokio::time::timeout(limit + work.grace(), ended).await {
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
        Err(Failure::new(exit_error(status, stderr)))
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        let program = self.program.path().display();
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

#[cfg(test)]
mod tests;
