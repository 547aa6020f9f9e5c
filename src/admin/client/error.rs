//! What can go wrong between an operator and a broker.

use std::io;

use super::Endpoint;
use crate::admin::dto::Problem;

/// Why a request to the admin API brought no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers there; nothing was sent.
    #[error("no broker answers at {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The time limit is over.
    #[error("the broker at {endpoint} did not answer in time")]
    Timeout {
        /// Where.
        endpoint: Endpoint,
        /// Whether the request may have reached the broker.
        sent: bool,
    },
    /// The connection ended before the whole answer was there.
    #[error("the connection to the broker at {endpoint} was lost before its answer came")]
    Lost {
        /// Where.
        endpoint: Endpoint,
        /// How.
        #[source]
        source: hyper::Error,
    },
    /// The broker closed the event stream.
    #[error("the broker at {endpoint} ended the event stream")]
    StreamEnded {
        /// Where.
        endpoint: Endpoint,
    },
    /// The broker says no.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not what the API promises: another program, or another version.
    #[error("the broker gave {what}; is it the same version as this program?")]
    Protocol {
        /// What came.
        what: String,
    },
    /// The request could not even be made; nothing was sent.
    #[error("the request can't be written: {what}")]
    Request {
        /// What is wrong with it.
        what: String,
    },
}

impl AdminError {
    /// Whether a write may have been done all the same: it may have reached the broker, and nothing
    /// readable came back. False means that nothing has changed.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Request { .. } => false,
            Self::Timeout { sent, .. } => *sent,
            Self::Lost { .. } | Self::StreamEnded { .. } | Self::Protocol { .. } => true,
            // A refusal is an answer; but a broker that broke down while it worked doesn't know either.
            Self::Problem(problem) => problem.status >= 500 && problem.code == "internal",
        }
    }
}
