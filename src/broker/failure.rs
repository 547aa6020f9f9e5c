//! When the store can't be written: refuse, drop it, open it again, go on (design.md 2).

use std::time::Duration;

use super::event_loop::EventLoop;
use super::peers::Waiting;
use super::store::{StoreJob, StoreReply};
use crate::engine::{Engine, Event};
use crate::mailbox::{MailboxError, Room};
use crate::model::{Generation, Notice, QueueName, Recovered, RejectCode, Rejection, Timestamp};
use crate::wire::BrokerMessage;

/// The first pause before the store is opened again: most of what breaks a store lasts.
const FIRST_BACKOFF_MS: u64 = 100;
/// The longest: after somebody made room on a full disk, the broker goes on within this time.
const MAX_BACKOFF_MS: u64 = 15_000;
/// A store from which no commit comes back for longer is not trusted any more. A busy disk may take
/// seconds for one flush.
const COMMIT_LIMIT_MS: u64 = 30_000;
/// How long its threads may take after that to let go of it. A system call that hangs, or a thread of sled's
/// that has died and for which others wait, never comes back: the process ends then, and the next one opens
/// the store.
const CLOSE_LIMIT_MS: u64 = 10_000;

/// Whether the store can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreState {
    /// It takes batches.
    Open,
    /// Down: its threads let go of it, as soon as they come back from it, and open it again.
    Opening {
        /// Why it is down.
        reason: String,
        /// That is because no space was left.
        is_full: bool,
        /// When its threads must have let go of it; absent once they have.
        closed_by: Option<Timestamp>,
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
            StoreState::Opening { reason, .. } => Some(reason.clone()),
        }
    }

    /// What a client is told while the store is down.
    pub(super) fn down_rejection(&self) -> Option<Rejection> {
        let StoreState::Opening { reason, is_full, .. } = &self.store_state else { return None };
        Some(down(reason, *is_full, self.backoff_ms.max(FIRST_BACKOFF_MS)))
    }

    /// Why nothing new is accepted although the store works; `None`: there is room.
    pub(super) fn full_reason(&self) -> Option<String> {
        match self.room {
            Room::Enough => None,
            Room::Low { free_bytes, wanted_bytes } => {
                let mib = |bytes: u64| bytes / (1024 * 1024);
                let (free, wanted) = (mib(free_bytes), mib(wanted_bytes));
                Some(format!(
                    "the store's disk has {free} MiB left; publishing goes on at {wanted} MiB"
                ))
            }
        }
    }

    pub(super) fn on_store(&mut self, reply: StoreReply) {
        match reply {
            StoreReply::Committed { batches } => match self.store_state {
                StoreState::Open => {
                    self.commit_since = self.now;
                    self.backoff_ms = 0;
                    self.pipeline.committed(batches, &mut self.ready);
                }
                // Everybody was told that it failed; what it holds is learnt by recovering.
                StoreState::Opening { .. } => {}
            },
            StoreReply::Failed(error) => self.store_failed(&error),
            StoreReply::Closed => {
                if let StoreState::Opening { closed_by, .. } = &mut self.store_state {
                    *closed_by = None;
                }
            }
            StoreReply::NotReopened(error) => {
                tracing::warn!(%error, "the store is still down");
                self.reopen(error.to_string(), is_full(&error));
            }
            StoreReply::Reopened(recovered) => self.store_is_back(recovered),
            StoreReply::Read(run, answer) => {
                if run == self.engine.generation() && self.down_reason().is_none() {
                    self.on_read(answer);
                }
            }
            StoreReply::ReadFailed(run, error) => self.read_failed(run, &error),
            StoreReply::Room(room) => self.room_changed(room),
            StoreReply::Died(thread) => {
                self.lose_store(format!("its thread `{thread}` broke down; the log says why"));
            }
        }
    }

    /// Hands a job to the store's thread.
    pub(super) fn give_store(&mut self, job: StoreJob) {
        if !self.store.send(job) {
            self.lose_store("its thread has ended".to_owned());
        }
    }

    /// There is nothing left to hope for within this process: a broker that accepts nothing must not look
    /// alive, and another process can open the store.
    fn lose_store(&mut self, reason: String) {
        if self.store_lost.is_none() {
            tracing::error!(reason, "the store is lost to this process, which ends");
            self.store_lost = Some(reason);
        }
    }

    fn room_changed(&mut self, room: Room) {
        let was_full = self.full_reason().is_some();
        self.room = room;
        self.tell_engine_of_room();
        match (was_full, self.full_reason()) {
            (false, Some(reason)) => self.notice(Notice::StoreFull { reason }),
            (true, None) => self.notice(Notice::StoreHasRoom),
            (true, Some(_)) | (false, None) => {}
        }
        self.take_pushed();
    }

    fn tell_engine_of_room(&mut self) {
        if let Health::Up = self.store_state.health() {
            self.feed(Event::StoreFull { reason: self.full_reason() });
        }
    }

    /// A store that can't be read is broken as well.
    fn read_failed(&mut self, run: Generation, error: &MailboxError) {
        if run != self.engine.generation() {
            return;
        }
        self.store_failed(error);
    }

    /// When the store's threads have had long enough to come back from it.
    pub(super) fn store_timeout(&self) -> Option<Timestamp> {
        match &self.store_state {
            StoreState::Open if self.pipeline.is_committing() => {
                Some(self.commit_since.plus_ms(COMMIT_LIMIT_MS))
            }
            StoreState::Open => None,
            StoreState::Opening { closed_by, .. } => *closed_by,
        }
    }

    /// Doesn't wait for ever for a flush that never returns.
    pub(super) fn watch_store(&mut self) {
        if self.store_timeout().is_none_or(|due| self.now < due) {
            return;
        }
        match &self.store_state {
            StoreState::Open => {
                let reason = format!("no commit has come back for {COMMIT_LIMIT_MS} ms");
                self.go_down(&reason, false);
                self.reopen(reason, false);
            }
            StoreState::Opening { reason, .. } => {
                let reason = format!("{reason}, nor did its threads for {CLOSE_LIMIT_MS} ms more");
                self.lose_store(reason);
            }
        }
    }

    /// Once it is down, whatever else its threads come back with was to be expected.
    fn store_failed(&mut self, error: &MailboxError) {
        match self.store_state {
            StoreState::Open => {
                let (reason, is_full) = (error.to_string(), is_full(error));
                self.go_down(&reason, is_full);
                self.reopen(reason, is_full);
            }
            StoreState::Opening { .. } => tracing::debug!(%error, "the store had failed before"),
        }
    }

    fn reopen(&mut self, reason: String, is_full: bool) {
        self.backoff_ms = match self.backoff_ms {
            0 => FIRST_BACKOFF_MS,
            pause => pause.saturating_mul(2).min(MAX_BACKOFF_MS),
        };
        let closed_by = Some(self.now.plus_ms(CLOSE_LIMIT_MS));
        self.store_state = StoreState::Opening { reason, is_full, closed_by };
        let after = Duration::from_millis(self.backoff_ms);
        self.give_store(StoreJob::Reopen { after, is_full });
    }

    /// Nothing that isn't durable is ever told. Whoever waits hears that the store failed; whether his
    /// message is there is known again once the store is, and sending it again with its id is safe.
    fn go_down(&mut self, reason: &str, is_full: bool) {
        self.pipeline.abandon();
        self.forget_spans();
        let mut unanswered = Vec::new();
        for waiting in self.origins.take_all() {
            match waiting {
                Waiting::Client { peer, form, id, .. } => {
                    self.refuse(peer, form, down(reason, is_full, FIRST_BACKOFF_MS), id);
                }
                // Not refused: it may be done. Who asked hears that nobody knows, and asks by its key.
                Waiting::Operator(answer) => drop(answer),
                // Likewise: it is sent again with its id.
                Waiting::Sender(answer) => drop(answer),
                // Kept until the store is back; what it has already is a duplicate then.
                Waiting::Nobody(one) => unanswered.push(*one),
            }
        }
        self.wait_again(unanswered);
        self.notice(Notice::StoreDown { reason: reason.to_owned() });
    }

    /// An engine that is made anew gets what was configured since.
    pub(super) fn note_configured(&mut self, name: QueueName) {
        // What the engine has refused it doesn't have.
        let Some(settings) = self.engine.configured(&name) else { return };
        let configured = &mut self.engine_options.configured;
        match configured.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.clone_from(settings),
            None => configured.push((name, settings.clone())),
        }
    }

    /// A new engine over what the store holds. Workers say READY again; their leases were the old one's.
    fn store_is_back(&mut self, recovered: Recovered) {
        self.store_state = StoreState::Open;
        let engine = Engine::new(self.engine_options.clone(), recovered, self.now);
        let before = std::mem::replace(&mut self.engine, engine);
        self.engine.count_on(&before);
        self.checks.schemas().replace_named(self.engine.schemas());
        for peer in self.workers.all() {
            self.workers.dropped(peer, self.now);
            let reason = "the store was opened again: say READY again".to_owned();
            self.tell_worker(peer, BrokerMessage::Bye { reason });
        }
        self.tell_engine_of_room();
        self.tell_engine_of_redis();
        self.watchers.reset(&self.engine);
        self.notice(Notice::StoreUp);
        self.take_pushed();
    }
}

/// What a client is told of a store that is down: why, and when to try again.
fn down(reason: &str, is_full: bool, retry_ms: u64) -> Rejection {
    let code = if is_full { RejectCode::Full } else { RejectCode::StoreUnavailable };
    Rejection::new(code, format!("the store can't be written: {reason}")).retry_after(retry_ms)
}

fn is_full(error: &MailboxError) -> bool {
    matches!(error, MailboxError::Full { .. })
}
