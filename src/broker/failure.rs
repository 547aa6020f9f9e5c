//! When the store can't be written: refuse, drop it, open it again, go on (design.md 2).

use std::time::Duration;

use super::event_loop::EventLoop;
use super::peers::Waiting;
use super::store::{StoreJob, StoreReply};
use crate::engine::Engine;
use crate::mailbox::MailboxError;
use crate::model::{Generation, Notice, Recovered, RejectCode, Rejection, Timestamp};
use crate::wire::{BrokerMessage, ClientReply};

/// The first pause before the store is opened again: most of what breaks a store lasts.
const FIRST_BACKOFF_MS: u64 = 100;
/// The longest: after somebody made room on a full disk, the broker goes on within this time.
const MAX_BACKOFF_MS: u64 = 15_000;
/// A store from which no commit comes back for longer is not trusted any more. A busy disk may take
/// seconds for one flush.
const COMMIT_LIMIT_MS: u64 = 30_000;

/// Whether the store can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreState {
    /// It takes batches.
    Open,
    /// Down: its threads let go of it, as soon as they come back from it, and open it again.
    Opening {
        /// Why it is down.
        reason: String,
    },
}

/// Whether the engine may be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It may.
    Up,
    /// What it knows may never have become durable: it is only looked at until a new one is there.
    Down,
}

impl StoreState {
    pub(super) fn health(&self) -> Health {
        match self {
            Self::Open => Health::Up,
            Self::Opening { .. } => Health::Down,
        }
    }
}

impl EventLoop {
    /// Why the store is down; `None`: it isn't.
    pub(super) fn down_reason(&self) -> Option<String> {
        match &self.store_state {
            StoreState::Open => None,
            StoreState::Opening { reason } => Some(reason.clone()),
        }
    }

    /// What a client is told while the store is down.
    pub(super) fn down_rejection(&self) -> Option<Rejection> {
        let reason = self.down_reason()?;
        let text = format!("the store can't be written: {reason}");
        let retry_ms = self.backoff_ms.max(FIRST_BACKOFF_MS);
        Some(Rejection::new(RejectCode::StoreUnavailable, text).retry_after(retry_ms))
    }

    pub(super) fn on_store(&mut self, reply: StoreReply) {
        match reply {
            StoreReply::Committed { batches } => match self.store_state {
                StoreState::Open => {
                    self.commit_since = self.now;
                    self.backoff_ms = 0;
                    self.ready.extend(self.pipeline.committed(batches));
                }
                // Everybody was told that it failed; what it holds is learnt by recovering.
                StoreState::Opening { .. } => {}
            },
            StoreReply::Failed(error) => self.store_failed(&error),
            StoreReply::NotReopened(error) => {
                tracing::warn!(%error, "the store is still down");
                self.reopen(error.to_string());
            }
            StoreReply::Reopened(recovered) => self.store_is_back(recovered),
            StoreReply::Read(run, answer) => {
                if run == self.engine.generation() && self.down_reason().is_none() {
                    self.on_read(answer);
                }
            }
            StoreReply::ReadFailed(run, error) => self.read_failed(run, &error),
        }
    }

    /// A store that can't be read is broken as well.
    fn read_failed(&mut self, run: Generation, error: &MailboxError) {
        if run != self.engine.generation() {
            return;
        }
        self.store_failed(error);
    }

    pub(super) fn commit_timeout(&self) -> Option<Timestamp> {
        let is_due = self.store_state == StoreState::Open && self.pipeline.is_committing();
        is_due.then(|| self.commit_since.plus_ms(COMMIT_LIMIT_MS))
    }

    /// Doesn't wait for ever for a flush that never returns.
    pub(super) fn watch_commit(&mut self) {
        if self.commit_timeout().is_some_and(|due| due <= self.now) {
            let reason = format!("no commit has come back for {COMMIT_LIMIT_MS} ms");
            self.go_down(&reason);
            self.reopen(reason);
        }
    }

    /// Once it is down, whatever else its threads come back with was to be expected.
    fn store_failed(&mut self, error: &MailboxError) {
        match self.store_state {
            StoreState::Open => {
                let reason = error.to_string();
                self.go_down(&reason);
                self.reopen(reason);
            }
            StoreState::Opening { .. } => tracing::debug!(%error, "the store had failed before"),
        }
    }

    fn reopen(&mut self, reason: String) {
        self.backoff_ms = match self.backoff_ms {
            0 => FIRST_BACKOFF_MS,
            pause => pause.saturating_mul(2).min(MAX_BACKOFF_MS),
        };
        self.store_state = StoreState::Opening { reason };
        self.store.send(StoreJob::Reopen { after: Duration::from_millis(self.backoff_ms) });
    }

    /// Nothing that isn't durable is ever told. Whoever waits hears that the store failed; whether his
    /// message is there is known again once the store is, and sending it again with its id is safe.
    fn go_down(&mut self, reason: &str) {
        self.pipeline.abandon();
        let text = format!("the store can't be written: {reason}");
        for waiting in self.origins.take_all() {
            match waiting {
                Waiting::Client { peer, form, .. } => {
                    let rejection = Rejection::new(RejectCode::StoreUnavailable, text.clone())
                        .retry_after(FIRST_BACKOFF_MS);
                    self.reply(peer, form, ClientReply::Rejected(rejection));
                }
                // Not refused: it may be done. Who asked hears that nobody knows, and asks by its key.
                Waiting::Operator(answer) => drop(answer),
            }
        }
        self.notice(Notice::StoreDown { reason: reason.to_owned() });
    }

    /// A new engine over what the store holds. Workers say READY again; their leases were the old one's.
    fn store_is_back(&mut self, recovered: Recovered) {
        self.store_state = StoreState::Open;
        self.engine = Engine::new(self.engine_options.clone(), recovered, self.now);
        for peer in self.workers.all() {
            self.workers.dropped(peer, self.now);
            let reason = "the store was opened again: say READY again".to_owned();
            self.tell_worker(peer, BrokerMessage::Bye { reason });
        }
        self.watchers.reset(&self.engine);
        self.notice(Notice::StoreUp);
    }
}
