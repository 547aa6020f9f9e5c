//! The task that keeps a client connected, and knows what must be said again on a new connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use zeromq::ZmqError;

use super::pending::{Pending, Waiter};
use super::{ClientError, ClientOptions};
use crate::dealer::{Dealer, Gone, Pauses};
use crate::wire::{ClientReply, ClientRequest};

/// Requests on their way to the task. Small: the window is what bounds.
const CHANNEL: usize = 64;
/// Parts of the time after which a silent connection is given up; after each it is asked for a sign of life.
const SIGNS: u32 = 3;

/// A request, who waits, and the room that it takes until it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: ClientRequest,
    /// The request on the wire.
    pub(super) frames: Vec<Bytes>,
    pub(super) waiter: Waiter,
}

/// How it stands with a connection, for whoever waits.
#[derive(Debug, Clone)]
pub(super) struct Link {
    endpoint: Arc<str>,
    /// Why there is no connection at the moment.
    away: watch::Receiver<Option<String>>,
}

impl Link {
    /// What is told of a request that was handed over and not answered in time.
    pub(super) fn unanswered(&self) -> ClientError {
        let endpoint = self.endpoint.to_string();
        match &*self.away.borrow() {
            Some(reason) => ClientError::Lost { endpoint, reason: reason.clone() },
            None => ClientError::Timeout { endpoint },
        }
    }

    /// What is told of a request for which there was no room in time.
    pub(super) fn no_room(&self) -> ClientError {
        let endpoint = self.endpoint.to_string();
        match &*self.away.borrow() {
            Some(reason) => ClientError::Away { endpoint, reason: reason.clone() },
            None => ClientError::Busy { endpoint },
        }
    }

    /// What is told where the task has ended, which it does only with its runtime.
    pub(super) fn ended(&self) -> ClientError {
        let reason = "its runtime has ended".to_owned();
        ClientError::Lost { endpoint: self.endpoint.to_string(), reason }
    }
}

/// Connects for the first time, and stays connected until the sender and its clones are dropped and all is answered.
pub(super) async fn open(
    endpoint: &str,
    options: &ClientOptions,
) -> Result<(mpsc::Sender<Asked>, Link), ClientError> {
    let dealer = Dealer::open(endpoint, options.connect_limit).await.map_err(|source| {
        let endpoint = endpoint.to_owned();
        match source {
            ZmqError::Endpoint(_) => ClientError::Endpoint { endpoint, source },
            source => ClientError::Unreachable { endpoint, source },
        }
    })?;
    let (asked, requests) = mpsc::channel(CHANNEL);
    let (tell, away) = watch::channel(None);
    let link = Link { endpoint: Arc::from(endpoint), away };
    let connection = Connection {
        endpoint: Arc::clone(&link.endpoint),
        options: options.clone(),
        requests,
        until: None,
        pending: Pending::default(),
        greeting: None,
        away: tell,
    };
    tokio::spawn(connection.run(dealer));
    Ok((asked, link))
}

struct Connection {
    endpoint: Arc<str>,
    options: ClientOptions,
    requests: mpsc::Receiver<Asked>,
    /// When what is still under way is given up: set once nobody can ask any more.
    until: Option<Instant>,
    pending: Pending,
    /// The last HELLO, which a new connection must hear first.
    greeting: Option<Vec<Bytes>>,
    away: watch::Sender<Option<String>>,
}

impl Connection {
    async fn run(mut self, mut dealer: Dealer) {
        let ClientOptions { min_pause, max_pause, silence, .. } = self.options;
        let mut pauses = Pauses::new(min_pause, max_pause, fastrand::Rng::new());
        loop {
            let began = Instant::now();
            let Err(Gone(reason)) = self.serve(&mut dealer).await else { return };
            tracing::info!(endpoint = %self.endpoint, reason, "a client's connection is lost");
            self.away.send_replace(Some(reason));
            if began.elapsed() > silence {
                pauses.reset();
            }
            match self.connect(&mut pauses).await {
                Some(anew) => dealer = anew,
                None => break,
            }
            self.away.send_replace(None);
        }
        let reason = self.away.borrow().clone().unwrap_or_default();
        let endpoint = self.endpoint.to_string();
        self.pending
            .fail(|| ClientError::Lost { endpoint: endpoint.clone(), reason: reason.clone() });
    }

    /// Tries until there is a connection; `None` if nobody waits for one any more. What is asked meanwhile waits for it.
    async fn connect(&mut self, pauses: &mut Pauses) -> Option<Dealer> {
        let endpoint = Arc::clone(&self.endpoint);
        let limit = self.options.connect_limit;
        loop {
            let pause = pauses.next();
            let mut tried = std::pin::pin!(async {
                sleep(pause).await;
                Dealer::open(&endpoint, limit).await
            });
            let opened = loop {
                self.pending.forget_unheard();
                if self.until.is_some() && self.pending.is_empty() {
                    return None;
                }
                tokio::select! {
                    opened = &mut tried => break opened,
                    asked = self.requests.recv(), if self.until.is_none() => {
                        let _told_when_connected = self.note(asked);
                    }
                    () = given_up(self.until) => return None,
                }
            };
            match opened {
                Ok(dealer) => return Some(dealer),
                Err(error) => self.away.send_replace(Some(format!("no broker answers: {error}"))),
            };
        }
    }

    /// Returns when nobody asks any more and all is answered, or why the connection is over.
    async fn serve(&mut self, dealer: &mut Dealer) -> Result<(), Gone> {
        self.pending.forget_unheard();
        let endpoint = self.endpoint.to_string();
        self.pending.fail_begun(|| ClientError::Lost {
            endpoint: endpoint.clone(),
            reason: "the connection was lost amid the reply's parts".to_owned(),
        });
        for frames in self.greeting.iter().chain(self.pending.frames()) {
            dealer.send(frames.iter().cloned()).await?;
        }
        let sign = self.options.silence / SIGNS;
        let mut look = interval(sign.max(Duration::from_millis(1)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut asked_for_sign: Option<Instant> = None;
        while self.until.is_none() || !self.pending.is_empty() {
            tokio::select! {
                biased;
                frames = dealer.recv() => {
                    self.hear(frames?).await;
                    (heard, asked_for_sign) = (Instant::now(), None);
                }
                asked = self.requests.recv(), if self.until.is_none() => {
                    if self.pending.is_empty() {
                        // Until now there was nothing to be heard.
                        heard = Instant::now();
                    }
                    if let Some(frames) = self.note(asked) {
                        dealer.send(frames).await?;
                    }
                }
                _ = look.tick(), if !self.pending.is_empty() => {
                    // Only after a PING that had its time: this task may have been the one that stood still.
                    let is_asked = asked_for_sign.is_some_and(|at| at.elapsed() >= sign);
                    if is_asked && heard.elapsed() >= self.options.silence {
                        let silence = self.options.silence;
                        return Err(Gone(format!("no sign of the broker for {silence:?}")));
                    }
                    if heard.elapsed() >= sign {
                        dealer.send(ClientRequest::Ping.encode()).await?;
                        asked_for_sign.get_or_insert_with(Instant::now);
                    }
                }
                () = given_up(self.until) => {
                    let endpoint = self.endpoint.to_string();
                    self.pending.fail(|| ClientError::Timeout { endpoint: endpoint.clone() });
                }
            }
        }
        Ok(())
    }

    /// Takes a request in; what is to be sent for it. `None` from the channel says that nobody can ask any more.
    fn note(&mut self, asked: Option<Asked>) -> Option<Vec<Bytes>> {
        let Some(Asked { request, frames, waiter }) = asked else {
            self.until = Some(Instant::now() + self.options.answer_limit);
            return None;
        };
        if let ClientRequest::Hello { .. } = request {
            self.greeting = Some(frames.clone());
        }
        self.pending.add(&request, frames.clone(), waiter);
        Some(frames)
    }

    async fn hear(&mut self, frames: Vec<Bytes>) {
        let reply = match ClientReply::decode(frames) {
            Ok(reply) => reply,
            Err(rejection) => {
                return self.unclear(format!("an answer can't be read: {}", rejection.reason));
            }
        };
        if let ClientReply::Part(part) = reply {
            if let Some(parts) = self.pending.begin_parts(&part.id) {
                // Who no longer waits doesn't need to know.
                let _gone = parts.send(part).await;
            }
            return;
        }
        match (self.pending.take(&reply), reply) {
            (Some(waiter), reply) => {
                // Who no longer waits doesn't need to know; the room is given back all the same.
                let _gone = waiter.to_caller.send(Ok(reply));
            }
            (None, ClientReply::Rejected(rejection)) if rejection.id.is_none() => {
                self.unclear(format!("it refused something: {}", rejection.reason));
            }
            // Said for the connection's sake, not for a caller's.
            (None, ClientReply::Pong | ClientReply::Welcome(_)) => {}
            // It had been asked for twice: before and after the connection was lost.
            (None, reply) => tracing::debug!(?reply, "an answer that nobody waits for"),
        }
    }

    /// Something came that is for one of those who wait, and whose it is can't be known: better all unknown than one told
    /// wrongly, or one that waits for ever.
    fn unclear(&mut self, reason: String) {
        let endpoint = self.endpoint.to_string();
        self.pending
            .fail(|| ClientError::Unclear { endpoint: endpoint.clone(), reason: reason.clone() });
    }
}

async fn given_up(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
