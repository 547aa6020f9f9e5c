//! Who may do what at the clients' and the workers' door: HELLO shows a token, and each request is held against it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::{Access, CurveSecret, Failures, Grants, Right, Token};
use crate::model::limits::{
    HEARTBEAT_MS, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_SENDMANY_MESSAGES,
    MAX_WIRE_MESSAGE_BYTES,
};
use crate::model::{Content, Hidden, QueueName, RejectCode, Rejection};
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, Limits, Welcome, WorkerMessage};

use super::{Inbound, Outbound};

/// A message of who needs a token and has shown none: HELLO is a few hundred bytes, and whatever else he says is refused.
pub(super) const MAX_STRANGER_MESSAGE_BYTES: usize = 16 * 1024;

/// Whom a door lets in.
#[derive(Debug, Clone)]
pub struct DoorAuth {
    /// Whose tokens count.
    pub access: Arc<Access>,
    /// Who shows wrong ones.
    pub failures: Arc<Failures>,
    /// The broker's key for CURVE; without one it isn't spoken.
    pub curve: Option<Arc<CurveSecret>>,
    /// Whether a token is needed for anything.
    pub is_needed: bool,
    /// Whether CURVE alone is spoken: what would be in clear isn't heard.
    pub is_curve_only: bool,
}

/// Who is on a connection, as far as it has been shown.
#[derive(Debug, Default)]
pub(super) struct Session {
    address: Option<IpAddr>,
    shown: Mutex<Option<Shown>>,
    has_shown_one: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Shown {
    /// As it was then.
    token: Arc<Token>,
    /// What it has become, and by which change of the tokens. A token that was looked up is looked at again at its first
    /// use: it may have been revoked between the two.
    now: Option<(u64, Option<Arc<Token>>)>,
}

impl Session {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self { address, ..Self::default() }
    }

    /// The peer has shown it.
    pub(super) fn shows(&self, token: Arc<Token>) {
        *self.lock() = Some(Shown { token, now: None });
        self.has_shown_one.store(true, Relaxed);
    }

    /// Whether it was shown one.
    pub(super) fn has_shown_one(&self) -> bool {
        self.has_shown_one.load(Relaxed)
    }

    /// The same, for who is told apart from the session.
    pub(super) fn shown(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_shown_one)
    }

    /// What it has shown, as it is now; `None` if that counts no more.
    fn now(&self, access: &Access) -> Option<Arc<Token>> {
        self.lock().as_mut()?.look(access)
    }

    /// Whether it is as it was when it was shown, or was never shown.
    pub(super) fn still_counts(&self, access: &Access) -> bool {
        let mut shown = self.lock();
        let Some(shown) = shown.as_mut() else { return true };
        shown.look(access).is_some_and(|now| now == shown.token)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn look(&mut self, access: &Access) -> Option<Arc<Token>> {
        // Read first: a change that comes meanwhile is seen at the next look.
        let change = access.change();
        let Self { token, now } = self;
        match now {
            Some((looked_at, now)) if *looked_at == change => now.clone(),
            _ => now.insert((change, access.now(token))).1.clone(),
        }
    }
}

/// A HELLO that is refused.
#[derive(Debug)]
pub(super) struct HelloRefused {
    pub(super) rejection: Rejection,
    /// There were too many: it is told, and the connection ends.
    pub(super) is_over: bool,
}

impl HelloRefused {
    fn answered(self, answer: impl FnOnce(Rejection) -> Outbound) -> Admitted {
        let outbound = answer(self.rejection);
        if self.is_over { Admitted::Over(outbound) } else { Admitted::Out(outbound) }
    }
}

/// What a stranger's message is answered that has more bytes than he may send.
pub(super) fn too_large_for_a_stranger() -> Rejection {
    let reason = format!(
        "{TOKEN_FIRST}; before that a message has at most {MAX_STRANGER_MESSAGE_BYTES} bytes"
    );
    Rejection::new(RejectCode::Unauthorized, reason)
}

const TOKEN_FIRST: &str = "say HELLO with a token first; `mubroker token new` makes one";

impl DoorAuth {
    /// Whether another mechanism than NULL is spoken.
    pub(super) fn has_choice(&self) -> bool {
        self.curve.is_some() || self.access.has_any()
    }

    /// PLAIN: a token's name, and the token.
    pub(super) fn plain(
        &self,
        address: Option<IpAddr>,
        name: &[u8],
        secret: &[u8],
    ) -> Result<Arc<Token>, Rejection> {
        let holder = std::str::from_utf8(secret).ok().and_then(|secret| self.access.holder(secret));
        holder
            .filter(|token| token.name.as_bytes() == name)
            .ok_or_else(|| self.failed(address).rejection)
    }

    /// HELLO: the answer.
    pub(super) fn hello(
        &self,
        session: &Session,
        token: Option<&Hidden>,
        verbs: fn(&Grants) -> Vec<&'static str>,
    ) -> Result<Welcome, HelloRefused> {
        if let Some(Hidden(secret)) = token.filter(|_| self.is_needed || self.access.has_any()) {
            match self.access.holder(secret) {
                Some(token) => session.shows(token),
                None => return Err(self.failed(session.address)),
            }
        }
        let may = match self.grants(session) {
            Ok(grants) => verbs(&grants.unwrap_or_else(Grants::all)),
            Err(rejection) => return Err(HelloRefused { rejection, is_over: false }),
        };
        Ok(welcome(may))
    }

    /// What the peer may do: nothing is held against one who has shown no token where none is needed.
    fn grants(&self, session: &Session) -> Result<Option<Grants>, Rejection> {
        match session.now(&self.access) {
            Some(token) => Ok(Some(token.grants.clone())),
            None if session.has_shown_one() => {
                let reason = "the token counts no more";
                Err(Rejection::new(RejectCode::Unauthorized, reason))
            }
            None if self.is_needed => Err(Rejection::new(RejectCode::Unauthorized, TOKEN_FIRST)),
            None => Ok(None),
        }
    }

    /// Counts it, by the address that it came from. What was shown is not told.
    pub(super) fn failed(&self, address: Option<IpAddr>) -> HelloRefused {
        let Some(wait) = self.failures.failed_at("HELLO", address, Instant::now()) else {
            let reason = "no token has this text, or no more";
            let rejection = Rejection::new(RejectCode::Unauthorized, reason);
            return HelloRefused { rejection, is_over: false };
        };
        let reason = "too many tokens from this address didn't count";
        let rejection = Rejection::new(RejectCode::Busy, reason).retry_after(millis(wait));
        HelloRefused { rejection, is_over: true }
    }

    /// Refuses what a client may not ask. HELLO and PING are for all.
    pub(super) fn client(
        &self,
        session: &Session,
        request: &ClientRequest,
    ) -> Result<(), Rejection> {
        if matches!(request, ClientRequest::Hello { .. } | ClientRequest::Ping) {
            return Ok(());
        }
        let Some(grants) = self.grants(session)? else { return Ok(()) };
        let (checked, id) = match request {
            ClientRequest::Hello { .. } | ClientRequest::Ping => (Ok(()), None),
            ClientRequest::Send(send) | ClientRequest::Call { send, .. } => {
                (sends(&grants, &send.queue, &send.content), Some(send.content.id()))
            }
            ClientRequest::SendMany(many) => {
                (many.iter().try_for_each(|send| sends(&grants, &send.queue, &send.content)), None)
            }
            ClientRequest::Publish { content, .. }
            | ClientRequest::Start { input: content, .. } => {
                (grants.check_all(Right::Send), Some(content.id()))
            }
            ClientRequest::Gather(request) => {
                let content = &request.content;
                let checked = match &request.recipients {
                    Some(queues) => {
                        queues.iter().try_for_each(|queue| sends(&grants, queue, content))
                    }
                    None => grants.check_all(Right::Send),
                };
                (checked, Some(content.id()))
            }
            ClientRequest::Subscribe { .. } | ClientRequest::Unsubscribe { .. } => {
                (grants.check_all(Right::Settings), None)
            }
            ClientRequest::Status { id, queue, .. } => {
                let right = if grants.has(Right::Read) { Right::Read } else { Right::Send };
                let checked = match queue {
                    Some(queue) => grants.check_queue(right, queue),
                    None => grants.check_all(right).map_err(|why| format!("{why}; name the queue")),
                };
                (checked, Some(id))
            }
        };
        checked.map_err(|why| {
            let rejection = forbidden(&why);
            id.map_or(rejection.clone(), |id| rejection.of(id.clone()))
        })
    }

    /// Refuses what a Majordomo client may not ask of a queue.
    pub(super) fn service(&self, session: &Session, queue: &QueueName) -> Result<(), Rejection> {
        let Some(grants) = self.grants(session)? else { return Ok(()) };
        grants.check_queue(Right::Send, queue).map_err(|why| forbidden(&why))
    }

    /// Refuses to take back a request that may be in any queue.
    pub(super) fn close(&self, session: &Session) -> Result<(), Rejection> {
        let Some(grants) = self.grants(session)? else { return Ok(()) };
        grants.check_all(Right::Send).map_err(|why| forbidden(&why))
    }

    /// Refuses what a worker may not say.
    pub(super) fn worker(
        &self,
        session: &Session,
        message: &WorkerMessage,
    ) -> Result<(), Rejection> {
        if matches!(message, WorkerMessage::Hello { .. }) {
            return Ok(());
        }
        let Some(grants) = self.grants(session)? else { return Ok(()) };
        let checked = match message {
            WorkerMessage::Ready { queues, .. } => {
                queues.iter().try_for_each(|queue| grants.check_queue(Right::Consume, queue))
            }
            _ => grants.check(Right::Consume),
        };
        checked.map_err(|why| forbidden(&why))
    }
}

/// What becomes of what a peer says.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It goes to the loop.
    In(Inbound),
    /// HELLO is answered.
    Welcome(Outbound),
    /// It is refused.
    Out(Outbound),
    /// It is refused, and the connection ends.
    Over(Outbound),
}

impl DoorAuth {
    /// What the peer may say goes on; all else is answered in its own words.
    pub(super) fn admit(&self, session: &Session, inbound: Inbound) -> Admitted {
        match inbound {
            Inbound::Client { peer, reply_form, request } => {
                let answer =
                    |reply| Outbound::Client { peer, reply_form: reply_form.clone(), reply };
                if let ClientRequest::Hello { token, .. } = &request {
                    return match self.hello(session, token.as_ref(), client_verbs) {
                        Ok(welcome) => Admitted::Welcome(answer(ClientReply::Welcome(welcome))),
                        Err(refused) => refused.answered(|why| answer(ClientReply::Rejected(why))),
                    };
                }
                match self.client(session, &request) {
                    Ok(()) => Admitted::In(Inbound::Client { peer, reply_form, request }),
                    Err(rejection) => Admitted::Out(answer(ClientReply::Rejected(rejection))),
                }
            }
            Inbound::Worker { peer, message } => {
                let answer = |message| Outbound::Worker { peer, message };
                if let WorkerMessage::Hello { token, .. } = &message {
                    return match self.hello(session, token.as_ref(), worker_verbs) {
                        Ok(welcome) => Admitted::Welcome(answer(BrokerMessage::Welcome(welcome))),
                        Err(refused) => {
                            refused.answered(|why| answer(BrokerMessage::Rejected(why)))
                        }
                    };
                }
                match self.worker(session, &message) {
                    Ok(()) => Admitted::In(Inbound::Worker { peer, message }),
                    Err(rejection) => Admitted::Out(answer(BrokerMessage::Rejected(rejection))),
                }
            }
            Inbound::Service { peer, form, queue } => match self.service(session, &queue) {
                Ok(()) => Admitted::In(Inbound::Service { peer, form, queue }),
                // As one that isn't there.
                Err(_) => Admitted::Out(Outbound::Served { peer, form, is_served: false }),
            },
            Inbound::Close { peer, form, id } => match self.close(session) {
                Ok(()) => Admitted::In(Inbound::Close { peer, form, id }),
                Err(_) => Admitted::Out(form.closed(peer, false)),
            },
            other @ (Inbound::Unfit { .. }
            | Inbound::Pushed { .. }
            | Inbound::ClientGone { .. }
            | Inbound::WorkerGone { .. }) => Admitted::In(other),
        }
    }
}

/// What becomes of it where nobody is asked for a token.
pub(super) fn admit_all(inbound: Inbound) -> Admitted {
    match inbound {
        Inbound::Client { peer, reply_form, request: ClientRequest::Hello { .. } } => {
            let reply = ClientReply::Welcome(welcome(client_verbs(&Grants::all())));
            Admitted::Welcome(Outbound::Client { peer, reply_form, reply })
        }
        Inbound::Worker { peer, message: WorkerMessage::Hello { .. } } => {
            let message = BrokerMessage::Welcome(welcome(worker_verbs(&Grants::all())));
            Admitted::Welcome(Outbound::Worker { peer, message })
        }
        other => Admitted::In(other),
    }
}

fn forbidden(why: &str) -> Rejection {
    Rejection::new(RejectCode::Forbidden, format!("the token may not do this: {why}"))
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Into the queue, and so into those that the header names.
fn sends(grants: &Grants, queue: &QueueName, content: &Content) -> Result<(), String> {
    grants.check_queue(Right::Send, queue)?;
    if grants.queues.are_all() {
        return Ok(());
    }
    grants.check_header(&content.header.to_map(), None)
}

/// What a client's token lets it say.
pub(super) fn client_verbs(grants: &Grants) -> Vec<&'static str> {
    let sends = grants.has(Right::Send);
    let publishes = sends && grants.queues.are_all();
    let subscribes = grants.check_all(Right::Settings).is_ok();
    let reads = sends || grants.has(Right::Read);
    [
        ("HELLO", true),
        ("SEND", sends),
        ("SENDMANY", sends),
        ("CALL", sends),
        ("PUBLISH", publishes),
        ("GATHER", sends),
        ("START", publishes),
        ("SUBSCRIBE", subscribes),
        ("UNSUBSCRIBE", subscribes),
        ("STATUS", reads),
        ("PING", true),
    ]
    .into_iter()
    .filter_map(|(verb, may)| may.then_some(verb))
    .collect()
}

/// What a worker's token lets it say.
pub(super) fn worker_verbs(grants: &Grants) -> Vec<&'static str> {
    match grants.has(Right::Consume) {
        true => vec![
            "HELLO",
            "READY",
            "ACK",
            "NACK",
            "PROGRESS",
            "PARTIAL",
            "ALERT",
            "HEARTBEAT",
            "BYE",
        ],
        false => vec!["HELLO"],
    }
}

/// The answer to HELLO.
fn welcome(may: Vec<&'static str>) -> Welcome {
    Welcome {
        server: "mubroker".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits {
            max_header_bytes: MAX_HEADER_BYTES,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            max_message_bytes: MAX_WIRE_MESSAGE_BYTES,
            max_sendmany: MAX_SENDMANY_MESSAGES,
            heartbeat_ms: HEARTBEAT_MS,
        },
        may: may.into_iter().map(str::to_owned).collect(),
    }
}
