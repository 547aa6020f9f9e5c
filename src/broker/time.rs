//! The loop's time: what is due, and when nobody could be heard.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::event_loop::{DRAIN_LIMIT_MS, EventLoop};
use super::failure::Health;
use super::view::View;
use super::watch::{Shared, Sight};
use crate::engine::Event;
use crate::model::Timestamp;
use crate::model::limits::HEARTBEAT_MS;
use crate::net::Outbound;
use crate::wire::BrokerMessage;

/// Inputs that wait for less are not late enough to be blamed on anybody.
const LATE_MS: u64 = 500;

impl EventLoop {
    /// A turn begins. If that is late, measured by the timer that was armed, the process didn't run.
    pub(super) fn wake(&mut self, armed: Option<Timestamp>) {
        let now = self.clock.now();
        let late_ms = armed.map_or(0, |due| now.since_ms(due.max(self.now)));
        self.now = now;
        if self.deaf_since.is_none() {
            self.unheard(late_ms);
        }
    }

    /// Notes when inputs are no longer taken, and what the engine must know when they are again.
    pub(super) fn watch_hearing(&mut self) {
        match (self.takes_inputs(), self.deaf_since) {
            (false, None) => self.deaf_since = Some(self.now),
            (true, Some(since)) => {
                self.deaf_since = None;
                self.unheard(self.now.since_ms(since));
            }
            (false, Some(_)) | (true, None) => {}
        }
    }

    fn unheard(&mut self, ms: u64) {
        if ms >= LATE_MS
            && let Health::Up = self.store_state.health()
        {
            tracing::debug!(ms, "no inputs were taken");
            self.feed(Event::Unheard { ms });
        }
    }

    /// When the engine waits for time; not while it may not be fed or its time stands still.
    fn engine_timeout(&self) -> Option<Timestamp> {
        match self.store_state.health() {
            Health::Up if self.deaf_since.is_none() => self.engine.next_timeout(),
            Health::Up | Health::Down => None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        let draining = self.draining_since.map(|since| since.plus_ms(DRAIN_LIMIT_MS));
        let heartbeat = Some(self.heartbeat_due);
        [
            self.engine_timeout(),
            heartbeat,
            draining,
            self.watchers.next_timeout(),
            self.store_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn on_time(&mut self) {
        self.watch_store();
        if self.engine_timeout().is_some_and(|due| due <= self.now) {
            self.feed(Event::Tick);
        }
        if self.heartbeat_due <= self.now {
            self.heartbeat_due = self.now.plus_ms(HEARTBEAT_MS);
            for peer in self.workers.all() {
                (self.sockets)(Outbound::Worker { peer, message: BrokerMessage::Heartbeat });
            }
            self.workers.forget_told(self.now);
            self.follow_clock();
        }
        let (facts, now, health) = (Arc::clone(&self.facts), self.now, self.store_health());
        let state = self.store_state.health();
        let due = self.watchers.due(now, state, &mut self.engine, |engine| {
            View { engine, now, health, facts: &facts }.overview()
        });
        if due.is_empty() {
            return;
        }
        let sender = self.watchers.sender();
        self.answer(Box::new(move || tell(&sender, due)));
    }

    /// Once a heartbeat is often enough to notice that the machine slept.
    fn follow_clock(&mut self) {
        let behind_ms = self.clock.follow();
        if behind_ms > 60_000 {
            tracing::debug!(behind_ms, "the wall clock was set back; the broker's time goes on");
        }
    }
}

fn tell(sender: &broadcast::Sender<Arc<Shared>>, sights: Vec<Sight>) {
    for sight in sights {
        // Nobody watching is not an error.
        let _ = sender.send(Shared::new(sight));
    }
}
