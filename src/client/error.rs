//! What can go wrong between a client and a broker.

use zeromq::ZmqError;

use crate::model::{HeaderError, Rejection};

/// Why a request brought no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is no ZeroMQ address.
    #[error("{endpoint:?} is not an address of a broker; it looks like tcp://127.0.0.1:5555")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What the parser says.
        #[source]
        source: ZmqError,
    },
    /// Nobody answers there; nothing was sent.
    #[error("no broker answers at {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the socket says.
        #[source]
        source: ZmqError,
    },
    /// The window stayed full: the broker answers too slowly. Nothing was sent.
    #[error("the broker at {endpoint} does not keep up: the window stays full")]
    Busy {
        /// Where.
        endpoint: String,
    },
    /// More than the protocol carries; nothing was sent.
    #[error("too large: {what}")]
    TooLarge {
        /// What.
        what: String,
    },
    /// A header can't be made of what was given; nothing was sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// There is no connection, and what waits for one fills the window; nothing was sent.
    #[error("there is no connection to the broker at {endpoint}: {reason}")]
    Away {
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error("the broker at {endpoint} did not answer in time")]
    Timeout {
        /// Where.
        endpoint: String,
    },
    /// The connection was lost before the answer came, and did not come back in time: given up.
    #[error(
        "the connection to the broker at {endpoint} was lost and did not come back in time: {reason}"
    )]
    Lost {
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The broker said something of one of the requests under way, and it can't be known of which.
    #[error("the broker at {endpoint} did not say of which request: {reason}")]
    Unclear {
        /// Where.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The broker says no.
    #[error("{}", .0.reason)]
    Rejected(Box<Rejection>),
    /// The answer is not what the protocol promises.
    #[error("the broker gave {what}; does it speak the same version?")]
    Protocol {
        /// What came.
        what: String,
    },
}

impl ClientError {
    /// Whether the message may have been accepted all the same: it was sent, and no answer to it came.
    /// Send it again with the same id to know: if it had been accepted, the answer is a `duplicate`.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::Unclear { .. }
            | Self::Protocol { .. } => true,
            Self::Endpoint { .. }
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::TooLarge { .. }
            | Self::Header(_)
            | Self::Away { .. }
            | Self::Rejected(_) => false,
        }
    }
}
