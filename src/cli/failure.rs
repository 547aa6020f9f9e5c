//! How a command fails: an exit code, what failed on what, and what to do.

use std::io;

use super::Exit;
use super::output::note;
use crate::admin::client::{AdminError, Endpoint};
use crate::client::ClientError;
use crate::console::text::clean::clean;
use crate::model::{RejectCode, with_causes};

/// What a command that failed tells its caller.
#[derive(Debug)]
pub(super) struct Failure {
    /// For scripts.
    pub(super) exit: Exit,
    /// What failed, on what.
    pub(super) text: String,
    /// What to do.
    pub(super) advice: Option<String>,
}

impl Failure {
    /// A plain failure.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into(), advice: None }
    }

    /// The same with another exit code.
    pub(super) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same with what to do.
    pub(super) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// A file or stream that can't be read or written.
    pub(super) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(format!("{what}: {error}"))
    }
}

const START: &str =
    "start one with `mubroker serve`, or say where it is with --data-dir or --admin";

const THE_QUEUES: &str = "`mubroker queue ls` shows the queues there are";
const ELSEWHERE: &str =
    "is that its `listen.admin`, https where it has a certificate, and is that of --ca-file?";

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let failure = Self::new(with_causes(&error));
        match error {
            AdminError::Unreachable { endpoint, .. }
            | AdminError::Timeout { endpoint, sent: false } => {
                let advice = match endpoint {
                    Endpoint::Unix(_) => START,
                    Endpoint::Tcp { .. } => ELSEWHERE,
                };
                failure.exit(Exit::Unreachable).advice(advice)
            }
            AdminError::Problem(problem) => {
                let failure = failure.exit(Exit::Refused);
                match problem.code.as_str() {
                    "no_such_queue" => failure.advice(THE_QUEUES),
                    "no_such_topic" => {
                        failure.advice("`mubroker topic ls` shows the topics there are")
                    }
                    _ => failure,
                }
            }
            AdminError::Timeout { sent: true, .. }
            | AdminError::Lost { .. }
            | AdminError::StreamEnded { .. }
            | AdminError::Protocol { .. }
            | AdminError::Request { .. } => failure,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(with_causes(&error));
        match error {
            ClientError::Unreachable { .. } => failure
                .exit(Exit::Unreachable)
                .advice("start one with `mubroker serve`, or say where it is with --broker"),
            ClientError::Rejected(rejection) => {
                let failure = failure.exit(Exit::Refused);
                match (rejection.retry_after_ms, rejection.code) {
                    (Some(ms), _) => failure.advice(format!("try again in {ms} ms")),
                    (None, RejectCode::NoSuchQueue) => failure.advice(THE_QUEUES),
                    (None, _) => failure,
                }
            }
            ClientError::Endpoint { .. } | ClientError::Header(_) => failure.exit(Exit::Usage),
            ClientError::Timeout { .. }
            | ClientError::Lost { .. }
            | ClientError::Unclear { .. }
            | ClientError::Protocol { .. } => failure.advice(
                "the message may have been accepted: send it again with the same --id to be sure",
            ),
            ClientError::Away { .. } => failure.exit(Exit::Unreachable),
            ClientError::Busy { .. } | ClientError::TooLarge { .. } => failure,
        }
    }
}

impl Failure {
    /// Tells the caller, and gives the exit code.
    pub(super) fn tell(self) -> Exit {
        note(&format!("mubroker: {}", clean(&self.text)));
        if let Some(advice) = &self.advice {
            note(&format!("  {}", clean(advice)));
        }
        self.exit
    }
}
