//! Who is on the other end: of a unix socket the kernel says it, over TCP a token does, with each request.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use nix::unistd::{Uid, User};
use serde_json::{Map, Value};
use tokio::net::UnixStream;

use super::failure::Failure;
use crate::auth::{Access, Grants, Right, Token};
use crate::model::{Actor, QueueName, WorkerView};

/// The header by which console and command line say what they are.
const VIA: &str = "x-mubroker-via";

/// What a connection tells of who is there.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// The user who opened a unix socket.
    User(String),
    /// Somebody over TCP.
    Remote(Arc<Remote>),
}

/// A connection over TCP.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) address: IpAddr,
    /// What the last request showed.
    token: Mutex<Option<Arc<Token>>>,
}

impl Peer {
    /// By the socket's peer credentials (SO_PEERCRED). A user without a name is called by the number.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let uid = Uid::from_raw(stream.peer_cred()?.uid());
        let name = match User::from_uid(uid) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => format!("uid {uid}"),
        };
        Ok(Self::User(name))
    }
}

impl Remote {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, token: Mutex::default() }
    }

    pub(super) fn shows(&self, token: Arc<Token>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    pub(super) fn has_shown_one(&self) -> bool {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether what it has shown is as it was.
    pub(super) fn still_counts(&self, access: &Access) -> bool {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().is_none_or(|token| access.now(token).as_ref() == Some(token))
    }
}

/// Who asks, and what he may do.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) grants: Grants,
    /// What was shown, over TCP.
    pub(super) token: Option<Arc<Token>>,
}

impl Caller {
    /// The same with the rights of now; `None` if its token counts no more.
    pub(super) fn now(&self, access: &Access) -> Option<Self> {
        let Some(token) = &self.token else { return Some(self.clone()) };
        access.now(token).map(Self::with)
    }

    /// Who shows this token.
    pub(super) fn with(token: Arc<Token>) -> Self {
        Self { name: token.name.clone(), grants: token.grants.clone(), token: Some(token) }
    }

    /// Refuses what is not of one queue.
    pub(super) fn may(&self, right: Right) -> Result<(), Failure> {
        self.grants.check(right).map_err(|why| self.forbidden(&why))
    }

    /// For who has none of these rights.
    pub(super) fn has_none(&self, rights: &[Right]) -> Failure {
        let named: Vec<String> = rights.iter().map(|right| format!("`{right}`")).collect();
        let (named, role) = (named.join(", "), self.grants.role);
        self.forbidden(&format!(
            "the action's right is needed, one of {named}; none of them is in its role ({role})"
        ))
    }

    /// Refuses what is of all queues.
    pub(super) fn may_all(&self, right: Right) -> Result<(), Failure> {
        self.grants.check_all(right).map_err(|why| self.forbidden(&why))
    }

    /// Refuses what is of one queue.
    pub(super) fn may_in(&self, right: Right, queue: &QueueName) -> Result<(), Failure> {
        self.grants.check_queue(right, queue).map_err(|why| self.forbidden(&why))
    }

    /// Refuses a new header that names queues of others where the one before didn't.
    pub(super) fn may_say(
        &self,
        header: &Map<String, Value>,
        before: Option<&Map<String, Value>>,
    ) -> Result<(), Failure> {
        self.grants.check_header(header, before).map_err(|why| self.forbidden(&why))
    }

    /// Whether lists show what is of this queue.
    pub(super) fn sees(&self, queue: &QueueName) -> bool {
        self.grants.queues.have(queue)
    }

    /// Whether lists show what is of no queue.
    pub(super) fn sees_all(&self) -> bool {
        self.grants.queues.are_all()
    }

    /// Whether lists show what is of this queue, or of none.
    pub(super) fn sees_entry(&self, queue: Option<&QueueName>) -> bool {
        queue.map_or_else(|| self.sees_all(), |queue| self.sees(queue))
    }

    /// The workers of his queues, with those only.
    pub(super) fn workers(&self, mut workers: Vec<WorkerView>) -> Vec<WorkerView> {
        if self.sees_all() {
            return workers;
        }
        for worker in &mut workers {
            worker.queues.retain(|queue| self.sees(queue));
            worker.standby.retain(|queue| self.sees(queue));
            worker.in_flight.retain(|message| self.sees(&message.queue));
        }
        workers.retain(|worker| !worker.queues.is_empty());
        workers
    }

    fn forbidden(&self, why: &str) -> Failure {
        let detail = format!("the token {:?} may not do this: {why}", self.name);
        Failure::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(parts
            .extensions
            .get::<Self>()
            .expect("the gate names the caller of each request")
            .clone())
    }
}

/// Who acts, for the journal.
pub(super) struct Acting(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Acting {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let name = Caller::from_request_parts(parts, state).await?.name;
        let via = match parts.headers.get(VIA).and_then(|via| via.to_str().ok()) {
            Some(via @ ("console" | "cli")) => via,
            Some(_) | None => "api",
        };
        Ok(Self(Actor { name, via: via.to_owned() }))
    }
}
