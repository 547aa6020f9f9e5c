//! The events, numbered, for those who follow them: a bounded history, and a place in it for each who reads.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::model::{BrokerEvent, EventId, Notice, Timestamp};

/// The newest events that are kept, for those who come back and for those who read slowly: with the longest errors
/// some 5 MB.
const MAX_EVENTS: usize = 512;

/// What happened lately, and who follows.
#[derive(Debug)]
pub(super) struct History {
    followers: broadcast::Sender<Arc<BrokerEvent>>,
    recent: VecDeque<Arc<BrokerEvent>>,
    last: EventId,
}

impl History {
    /// `run` is when the broker started.
    pub(super) fn new(run: Timestamp) -> Self {
        let (followers, _) = broadcast::channel(MAX_EVENTS);
        Self { followers, recent: VecDeque::new(), last: EventId { run: run.0, number: 0 } }
    }

    /// Gives what happened its number, and tells those who follow.
    pub(super) fn number(&mut self, now: Timestamp, what: Notice) -> Arc<BrokerEvent> {
        self.last.number = self.last.number.saturating_add(1);
        let time = if let Notice::Journal { entry } = &what { entry.at } else { now };
        let event = Arc::new(BrokerEvent { event_id: self.last, time, what });
        if self.recent.len() >= MAX_EVENTS {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(&event));
        // Nobody following is not an error.
        let _ = self.followers.send(Arc::clone(&event));
        event
    }

    /// What happens from now on, or from after an event on.
    pub(super) fn follow(&self, after: Option<EventId>) -> Events {
        let next = self.followers.subscribe();
        let (missed, recent) = match after {
            None => (Missed::Nothing, VecDeque::new()),
            Some(after) if after.run != self.last.run || after.number > self.last.number => {
                (Missed::Unknown, self.recent.clone())
            }
            Some(after) => {
                let is_new = |event: &&Arc<BrokerEvent>| event.event_id > after;
                let recent: VecDeque<_> = self.recent.iter().filter(is_new).cloned().collect();
                let wanted = self.last.number.saturating_sub(after.number);
                (Missed::of(wanted.saturating_sub(recent.len() as u64)), recent)
            }
        };
        Events { missed, recent, held: None, next }
    }
}

/// The events, for one who follows them. Who is too slow, or comes back too late, is told by an event of type `missed`.
#[derive(Debug)]
pub struct Events {
    missed: Missed,
    recent: VecDeque<Arc<BrokerEvent>>,
    /// Comes after that event.
    held: Option<Arc<BrokerEvent>>,
    next: broadcast::Receiver<Arc<BrokerEvent>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    Nothing,
    Events(u64),
    /// The broker has started anew since.
    Unknown,
}

impl Missed {
    fn of(events: u64) -> Self {
        if events == 0 { Self::Nothing } else { Self::Events(events) }
    }

    fn and(self, more: u64) -> Self {
        match self {
            Self::Nothing => Self::of(more),
            Self::Events(events) => Self::Events(events.saturating_add(more)),
            Self::Unknown => Self::Unknown,
        }
    }
}

impl Events {
    /// The next one; `None` when the broker has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<BrokerEvent>> {
        loop {
            let event = match self.held.take().or_else(|| self.recent.pop_front()) {
                Some(event) => event,
                None => match self.next.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(events)) => {
                        self.missed = self.missed.and(events);
                        continue;
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            let events = match std::mem::replace(&mut self.missed, Missed::Nothing) {
                Missed::Nothing => return Some(event),
                Missed::Events(events) => Some(events),
                Missed::Unknown => None,
            };
            let EventId { run, number } = event.event_id;
            let event_id = EventId { run, number: number.saturating_sub(1) };
            let (time, what) = (event.time, Notice::Missed { events });
            self.held = Some(event);
            return Some(Arc::new(BrokerEvent { event_id, time, what }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(5);

    async fn numbers(events: &mut Events, count: usize) -> Vec<(u64, Notice)> {
        let mut found = Vec::new();
        for _ in 0..count {
            let event = events.next().await.unwrap();
            found.push((event.event_id.number, event.what.clone()));
        }
        found
    }

    fn history(count: u64) -> History {
        let mut history = History::new(Timestamp(7));
        for _ in 0..count {
            history.number(NOW, Notice::StoreUp);
        }
        history
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_happened_meanwhile() {
        let mut history = history(5);
        let mut events = history.follow(Some(EventId { run: 7, number: 3 }));
        let mut fresh = history.follow(None);
        history.number(NOW, Notice::StoreHasRoom);
        let up = Notice::StoreUp;
        let room = Notice::StoreHasRoom;
        let wanted = vec![(4, up.clone()), (5, up), (6, room.clone())];
        assert_eq!(numbers(&mut events, 3).await, wanted);
        assert_eq!(numbers(&mut fresh, 1).await, [(6, room)]);
    }

    #[tokio::test]
    async fn who_comes_back_too_late_is_told_how_many_are_missing() {
        let history = history(MAX_EVENTS as u64 + 10);
        let mut events = history.follow(Some(EventId { run: 7, number: 4 }));
        let missed = Notice::Missed { events: Some(6) };
        assert_eq!(numbers(&mut events, 2).await, [(10, missed), (11, Notice::StoreUp)]);

        let mut events = history.follow(Some(EventId { run: 6, number: 4 }));
        let missed = Notice::Missed { events: None };
        assert_eq!(numbers(&mut events, 1).await, [(10, missed)], "of another run");
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_missed_and_goes_on() {
        let mut history = history(0);
        let mut events = history.follow(None);
        for _ in 0..MAX_EVENTS + 3 {
            history.number(NOW, Notice::StoreUp);
        }
        let missed = Notice::Missed { events: Some(3) };
        assert_eq!(numbers(&mut events, 2).await, [(3, missed), (4, Notice::StoreUp)]);
        drop(history);
        numbers(&mut events, MAX_EVENTS - 1).await;
        assert!(events.next().await.is_none());
    }
}
