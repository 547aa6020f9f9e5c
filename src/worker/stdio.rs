//! A handler that gives messages to children that stay, over their standard input and output.
//!
//! Each child has one message at a time; with more credit there are more children, started as they are needed. One that
//! exits, answers what can't be read or takes too long is ended with its process group, its message has failed, and the next
//! message gets a new one. README, "Workers", has the protocol.

mod child;
mod frames;

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use self::child::StdioChild;
use self::frames::Answer;
use super::handler::{Failure, Handler, Work};
use super::process::{KILL_GRACE, Program};
use crate::model::WorkError;
use crate::wire::Delivery;

pub use frames::Framing;

/// Gives messages to children that stay.
#[derive(Debug)]
pub struct Stdio {
    program: Program,
    framing: Framing,
    kill_grace: Duration,
    /// Never more than were at work at once.
    idle: Mutex<Vec<StdioChild>>,
}

impl Stdio {
    /// A handler whose children run `program`.
    pub fn new(program: Program, framing: Framing) -> Self {
        Self { program, framing, kill_grace: KILL_GRACE, idle: Mutex::default() }
    }

    /// The same handler with another grace between SIGTERM and SIGKILL.
    #[must_use]
    pub fn with_kill_grace(self, kill_grace: Duration) -> Self {
        Self { kill_grace, ..self }
    }

    async fn child(&self) -> Result<StdioChild, Failure> {
        while let Some(mut child) = self.take_idle() {
            if child.runs() && child.is_quiet().await {
                return Ok(child);
            }
            // What it says unasked would be taken for the next message's answer.
            child.end(self.kill_grace).await;
        }
        StdioChild::start(&self.program, self.framing).map_err(|error| {
            let program = self.program.path().display();
            Failure::of("spawn", format!("{program} can't be started: {error}"))
        })
    }

    fn take_idle(&self) -> Option<StdioChild> {
        self.idle.lock().expect("nobody panics with it").pop()
    }
}

impl Handler for Stdio {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
        let mut child = self.child().await?;
        let limit = work.limit() + work.grace();
        let result = match tokio::time::timeout(limit, talk(&mut child, delivery, &work)).await {
            Ok(Ok(result)) => {
                self.idle.lock().expect("nobody panics with it").push(child);
                return result;
            }
            Ok(Err(broken)) => child.failure_of(broken).await,
            Err(_elapsed) => {
                let ms = work.limit().as_millis();
                let message =
                    format!("ran longer than {ms} ms and was ended with its process group");
                WorkError { detail: child.stderr(), ..WorkError::new("timeout", message) }
            }
        };
        let mut failure = Failure::new(result);
        if !child.end(self.kill_grace).await {
            failure.error.message.push_str("; processes that it started can't be ended");
        }
        Err(failure)
    }

    /// Children read the end of their input, and may end by themselves.
    async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().expect("nobody panics with it"));
        futures_util::future::join_all(idle.into_iter().map(|child| child.close(self.kill_grace)))
            .await;
    }
}

/// Gives a child a message and hears it out. An error: it can't be talked to any more.
async fn talk(
    child: &mut StdioChild,
    delivery: Delivery,
    work: &Work,
) -> Result<Result<Bytes, Failure>, Broken> {
    let id = delivery.delivery;
    child.give(&delivery, work.limit()).await?;
    loop {
        let (named, answer) = child.hear().await?;
        if let Some(named) = named
            && named != id
        {
            return Err(Broken::Answer(format!("it answers delivery {named}, and has {id}")));
        }
        match answer {
            Answer::Ack(reply) => return Ok(Ok(reply)),
            Answer::Nack(failure) => return Ok(Err(failure)),
            Answer::Partial(part) => work.partial(part).await,
            Answer::Progress(note) => work.progress(&note).await,
        }
    }
}

/// Why a child can't be talked to.
#[derive(Debug)]
enum Broken {
    /// It has closed its output, or its input.
    Closed,
    /// What it said can't be understood; why.
    Answer(String),
}

#[cfg(test)]
mod tests;
