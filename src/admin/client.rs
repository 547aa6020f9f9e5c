//! The admin API's client: what the console and the command line speak to a broker through.
//!
//! One connection a request: a request that is given up takes nothing else with it, and on a unix socket
//! a connection costs less than the request.

mod broker;
mod error;
mod events;
mod exchange;
mod gathers;
mod keys;
mod messages;
mod paths;
mod pools;
mod queues;
mod sagas;
mod stream;
mod tokens;
mod topics;
mod transport;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rustls::ClientConfig;

use super::dto::{
    BackupRequest, DeleteRequest, DoorView, HoldRequest, HoldView, IdempotencyKey, JournalPage,
    Located, MessageId, MessageView, Overview, PauseRequest, QueueName, QueueView, RepairOutcome,
    RepairRequest, Revision, Seq, SettingsRequest, WorkerView,
};

pub use error::AdminError;
pub use events::EventQuery;
pub use messages::MessageQuery;
pub use stream::EventStream;
pub use transport::RemoteError;

pub(super) use paths::percent_encode;

use exchange::decode;
use paths::{message_path, queue_path, with_query};

use crate::auth::Secret;

/// How long an answer may take in all. A repair waits for one flush of a slow disk.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A backup may take as long as it takes to copy the largest store: a terabyte at 100 MB/s.
const BACKUP_LIMIT: Duration = Duration::from_secs(3 * 3600);
/// How long the event stream may be silent: the broker says something every second, so that five silent
/// ones mean that it, or the way to it, stands still.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// Where an admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket's path.
    Unix(PathBuf),
    /// Over TCP.
    Tcp {
        /// By `https`.
        is_tls: bool,
        /// A name or an address, an IPv6 one in brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { is_tls, host, port } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

/// Speaks to one broker's admin API. Cheap to clone; holds no connection between requests.
///
/// Each method is one request with a time limit. Dropping its future closes the connection; a write that
/// was on its way may then have been done (see [`AdminError::outcome_unknown`]).
#[derive(Debug, Clone)]
pub struct AdminClient {
    endpoint: Endpoint,
    via: &'static str,
    token: Option<Secret>,
    /// Whose certificates are trusted, where there is TLS.
    trust: Option<Arc<ClientConfig>>,
    answer_limit: Duration,
    silence_limit: Duration,
}

/// Which of the journal's entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Entries before this number; the newest if absent.
    pub before: Option<u64>,
    /// How many, at most `limits::MAX_PAGE`; the broker's default if absent.
    pub limit: Option<usize>,
    /// Of this queue only.
    pub queue: Option<QueueName>,
    /// Of this message only; needs a queue.
    pub seq: Option<Seq>,
}

impl AdminClient {
    /// A client of the API at `endpoint`; nothing is connected yet. `via` is what the journal will say of
    /// where an act came from: `console`, `cli`.
    pub fn new(endpoint: Endpoint, via: &'static str) -> Self {
        let (answer_limit, silence_limit) = (ANSWER_LIMIT, SILENCE_LIMIT);
        Self { endpoint, via, token: None, trust: None, answer_limit, silence_limit }
    }

    /// A client of the API at `http://HOST:PORT` or `https://HOST:PORT`; nothing is connected yet. `ca_file` (PEM) has the
    /// authorities that are trusted; if absent, those that the system trusts.
    pub fn remote(
        url: &str,
        ca_file: Option<&Path>,
        token: Secret,
        via: &'static str,
    ) -> Result<Self, RemoteError> {
        let endpoint = transport::endpoint(url)?;
        let trust = match &endpoint {
            Endpoint::Tcp { is_tls: true, .. } => Some(transport::trust(ca_file)?),
            Endpoint::Tcp { .. } | Endpoint::Unix(_) => None,
        };
        Ok(Self { token: Some(token), trust, ..Self::new(endpoint, via) })
    }

    /// The same client with another limit on each answer, and on the event stream's silence.
    #[must_use]
    pub fn with_limits(self, answer_limit: Duration, silence_limit: Duration) -> Self {
        Self { answer_limit, silence_limit, ..self }
    }

    /// Where it connects.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `GET /v1/overview`
    pub async fn overview(&self) -> Result<Overview, AdminError> {
        self.get("/v1/overview".to_owned()).await
    }

    /// `GET /v1/queues`: all, by name.
    pub async fn queues(&self) -> Result<Vec<QueueView>, AdminError> {
        let mut queues: Vec<QueueView> = self.get("/v1/queues".to_owned()).await?;
        queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(queues)
    }

    /// `GET /v1/queues?prefix=…&after=…&limit=…`: the first of those whose names begin so and that were made after the one with
    /// this `number`. Fewer than `limit`: there are no more.
    pub async fn queues_named(
        &self,
        prefix: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<QueueView>, AdminError> {
        let after = (after > 0).then(|| after.to_string());
        let asked = [
            ("prefix", Some(prefix.to_owned())),
            ("after", after),
            ("limit", Some(limit.to_string())),
        ];
        self.get(with_query("/v1/queues".to_owned(), &asked)).await
    }

    /// `GET /v1/queues/{queue}`
    pub async fn queue(&self, queue: &QueueName) -> Result<QueueView, AdminError> {
        self.get(queue_path(queue)).await
    }

    /// `POST /v1/queues/{queue}/pause`: delivery stops, publishing goes on.
    pub async fn pause(&self, queue: &QueueName, reason: &str) -> Result<(), AdminError> {
        let request = PauseRequest { reason: reason.to_owned() };
        self.post(format!("{}/pause", queue_path(queue)), &request).await.map(drop)
    }

    /// `POST /v1/queues/{queue}/drain`: nothing new is accepted, what waits is delivered.
    pub async fn drain(&self, queue: &QueueName, reason: &str) -> Result<(), AdminError> {
        let request = PauseRequest { reason: reason.to_owned() };
        self.post(format!("{}/drain", queue_path(queue)), &request).await.map(drop)
    }

    /// `POST /v1/queues/{queue}/delete`: the queue goes; with `purge` its messages too.
    pub async fn delete_queue(
        &self,
        queue: &QueueName,
        request: &DeleteRequest,
    ) -> Result<(), AdminError> {
        self.post(format!("{}/delete", queue_path(queue)), request).await.map(drop)
    }

    /// `POST /v1/queues/{queue}/settings`
    pub async fn set_queue(
        &self,
        queue: &QueueName,
        request: &SettingsRequest,
    ) -> Result<(), AdminError> {
        self.post(format!("{}/settings", queue_path(queue)), request).await.map(drop)
    }

    /// `POST /v1/queues/{queue}/resume`
    pub async fn resume(&self, queue: &QueueName, reason: &str) -> Result<(), AdminError> {
        let request = PauseRequest { reason: reason.to_owned() };
        self.post(format!("{}/resume", queue_path(queue)), &request).await.map(drop)
    }

    /// `GET /v1/queues/{queue}/messages/{seq}`
    pub async fn message(&self, queue: &QueueName, seq: Seq) -> Result<MessageView, AdminError> {
        self.get(message_path(queue, seq)).await
    }

    /// `GET /v1/queues/{queue}/messages/{seq}/payload`: the bytes as they are, of this revision or the
    /// newest.
    pub async fn payload(
        &self,
        queue: &QueueName,
        seq: Seq,
        revision: Option<Revision>,
    ) -> Result<Bytes, AdminError> {
        let path = format!("{}/payload", message_path(queue, seq));
        let path = with_query(path, &[("revision", revision.map(|r| r.to_string()))]);
        self.answer(Method::GET, path, Bytes::new()).await
    }

    /// `POST /v1/queues/{queue}/messages/{seq}/repair`
    ///
    /// When the error says that the outcome is unknown, ask [`AdminClient::repair_outcome`] with the same
    /// key, or send the very same request again: it acts once.
    pub async fn repair(
        &self,
        queue: &QueueName,
        seq: Seq,
        request: &RepairRequest,
    ) -> Result<RepairOutcome, AdminError> {
        let path = format!("{}/repair", message_path(queue, seq));
        decode(&self.post(path, request).await?)
    }

    /// `GET /v1/repairs/{key}`: what came of a repair; `None` if the broker doesn't know its key.
    pub async fn repair_outcome(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<RepairOutcome>, AdminError> {
        let path = format!("/v1/repairs/{}", percent_encode(key.as_str()));
        match self.get(path).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(AdminError::Problem(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `POST /v1/queues/{queue}/messages/{seq}/hold`: no automatic retry for `for_ms` milliseconds; 0
    /// gives the hold back. The answer is the hold as it is now, where the broker tells it.
    pub async fn hold(
        &self,
        queue: &QueueName,
        seq: Seq,
        for_ms: u64,
    ) -> Result<Option<HoldView>, AdminError> {
        let path = format!("{}/hold", message_path(queue, seq));
        let body = self.post(path, &HoldRequest { for_ms }).await?;
        if body.is_empty() { Ok(None) } else { decode(&body) }
    }

    /// `GET /v1/messages/{id}`: where the message is; the problem `not_found` if nowhere.
    pub async fn locate(&self, id: &MessageId) -> Result<Located, AdminError> {
        self.get(format!("/v1/messages/{}", percent_encode(id.as_str()))).await
    }

    /// `GET /v1/workers`
    pub async fn workers(&self) -> Result<Vec<WorkerView>, AdminError> {
        self.get("/v1/workers".to_owned()).await
    }

    /// `GET /v1/doors`
    pub async fn doors(&self) -> Result<Vec<DoorView>, AdminError> {
        self.get("/v1/doors".to_owned()).await
    }

    /// `GET /v1/journal`: newest first.
    pub async fn journal(&self, query: &JournalQuery) -> Result<JournalPage, AdminError> {
        self.get(with_query(
            "/v1/journal".to_owned(),
            &[
                ("before", query.before.map(|number| number.to_string())),
                ("limit", query.limit.map(|limit| limit.to_string())),
                ("queue", query.queue.as_ref().map(QueueName::to_string)),
                ("seq", query.seq.map(|seq| seq.to_string())),
            ],
        ))
        .await
    }

    /// `POST /v1/store/backup`: returns once the copy is durable, which may take as long as copying does.
    pub async fn backup(&self, to: &Path) -> Result<(), AdminError> {
        let request = BackupRequest { to: to.to_owned() };
        let patient = Self { answer_limit: BACKUP_LIMIT, ..self.clone() };
        patient.post("/v1/store/backup".to_owned(), &request).await.map(drop)
    }

    /// `GET /v1/stream`: what happens, as it happens. Returns once the broker has answered.
    pub async fn stream(&self) -> Result<EventStream, AdminError> {
        self.follow("/v1/stream").await
    }
}

#[cfg(test)]
mod tests;
