//! Those who watch: what changed, told at most five times a second, and twice where much changes beside many.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use super::events::{Events, History};
use super::failure::Health;
use crate::engine::Engine;
use crate::model::limits::HEARTBEAT_MS;
use crate::model::{
    BrokerEvent, EventId, Notice, Overview, QueueId, QueueName, QueueView, Timestamp, WorkerView,
};

/// Between two looks at what changed, in milliseconds: five a second is as fast as a person reads.
const CHANGES_MS: u64 = 200;
/// The same at most, where much is told to many.
const CHANGES_MANY_MS: u64 = 500;
/// Views of queues, counted for each watcher, that one look costs at most for the next to come after `CHANGES_MS`: some
/// megabytes a second of sockets. Beyond, the next comes later by as much: fifty consoles beside a hundred busy queues took a
/// tenth of publishing.
const VIEWS_A_LOOK: u64 = 2_000;
/// Between two overviews, in milliseconds: the console shows their age.
const OVERVIEW_MS: u64 = 1_000;
/// Queues in one event: a view takes some microseconds and some 500 bytes. What is left comes next time.
const MAX_CHANGED: usize = 256;
/// Events that a slow watcher may be behind; with `MAX_CHANGED` some 32 MiB at the very worst.
const MAX_BEHIND: usize = 256;

/// One thing that watchers are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// The broker is alive: each second.
    Overview(Overview),
    /// Queues that changed.
    Queues(Vec<QueueView>),
    /// All workers, after something about one changed.
    Workers(Vec<WorkerView>),
    /// Something happened.
    Happened(Arc<BrokerEvent>),
}

/// A sight for all who watch.
#[derive(Debug)]
pub struct Shared {
    sight: Sight,
    text: OnceLock<String>,
}

impl Shared {
    pub(super) fn new(sight: Sight) -> Arc<Self> {
        Arc::new(Self { sight, text: OnceLock::new() })
    }

    /// The sight itself.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// As it is written for those who see all of it. The first of them writes it: fifty consoles cost little more than
    /// one.
    pub fn text(&self, write: impl FnOnce(&Sight) -> String) -> &str {
        self.text.get_or_init(|| write(&self.sight))
    }
}

/// What a new watcher gets: what there is but the queues, which it asks for page by page, and then what
/// changes.
#[derive(Debug)]
pub struct Watch {
    /// The broker now.
    pub overview: Overview,
    /// All workers now.
    pub workers: Vec<WorkerView>,
    /// What comes; a watcher that is too slow is told how many it missed.
    pub next: broadcast::Receiver<Arc<Shared>>,
}

/// Knows who watches and what they have been told.
#[derive(Debug)]
pub(super) struct Watchers {
    events: History,
    sights: broadcast::Sender<Arc<Shared>>,
    changed: BTreeSet<QueueName>,
    changes_due: Timestamp,
    overview_due: Timestamp,
    heard_due: Timestamp,
}

impl Watchers {
    /// `run` is when the broker started.
    pub(super) fn new(run: Timestamp) -> Self {
        let (sights, _) = broadcast::channel(MAX_BEHIND);
        let never = Timestamp(0);
        Self {
            events: History::new(run),
            sights,
            changed: BTreeSet::new(),
            changes_due: never,
            overview_due: never,
            heard_due: never,
        }
    }

    pub(super) fn sender(&self) -> broadcast::Sender<Arc<Shared>> {
        self.sights.clone()
    }

    /// A new watcher. If it is the only one it hears only of what changes from now on: it asks for all queues.
    pub(super) fn subscribe(&mut self, engine: &mut Engine) -> broadcast::Receiver<Arc<Shared>> {
        if self.sights.receiver_count() == 0 {
            self.changed.clear();
            engine.take_changed_queues();
        }
        self.sights.subscribe()
    }

    /// Tells what happened.
    pub(super) fn notice(&mut self, now: Timestamp, what: Notice) -> Arc<BrokerEvent> {
        let event = self.events.number(now, what);
        // Nobody watching is not an error.
        let _ = self.sights.send(Shared::new(Sight::Happened(Arc::clone(&event))));
        event
    }

    /// What happens from now on, or from after an event on.
    pub(super) fn follow(&self, after: Option<EventId>) -> Events {
        self.events.follow(after)
    }

    /// There is a new engine: everything may have changed.
    pub(super) fn reset(&mut self, engine: &Engine) {
        let (views, _) = engine.queue_views(QueueId(0), usize::MAX);
        self.changed.extend(views.into_iter().map(|view| view.name));
    }

    /// When to look again; never while nobody watches.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        (self.sights.receiver_count() > 0).then(|| self.changes_due.min(self.overview_due))
    }

    /// What is due. While the store is down only the overview: a queue that never became durable must not
    /// appear.
    pub(super) fn due(
        &mut self,
        now: Timestamp,
        health: Health,
        engine: &mut Engine,
        overview: impl FnOnce(&Engine) -> Overview,
    ) -> Vec<Sight> {
        let mut sights = Vec::new();
        if self.sights.receiver_count() == 0 {
            return sights;
        }
        if self.changes_due <= now {
            let views = match health {
                Health::Up => self.changes(now, engine, &mut sights),
                Health::Down => 0,
            };
            self.changes_due = now.plus_ms(pause(views, self.sights.receiver_count()));
        }
        if self.overview_due <= now {
            self.overview_due = now.plus_ms(OVERVIEW_MS);
            sights.push(Sight::Overview(overview(engine)));
        }
        sights
    }

    /// Tells what changed; how many queues' views that took.
    fn changes(&mut self, now: Timestamp, engine: &mut Engine, sights: &mut Vec<Sight>) -> usize {
        self.changed.extend(engine.take_changed_queues());
        let mut views = Vec::new();
        while views.len() < MAX_CHANGED
            && let Some(name) = self.changed.pop_first()
        {
            views.extend(engine.queue_view(&name));
        }
        let count = views.len();
        if count > 0 {
            sights.push(Sight::Queues(views));
        }
        let changed = engine.take_workers_changed();
        let workers = (changed || self.heard_due <= now).then(|| engine.worker_views());
        // A heartbeat changes nothing but when a worker was heard: told as often as they come, all at once.
        if let Some(workers) = workers.filter(|workers| changed || !workers.is_empty()) {
            self.heard_due = now.plus_ms(HEARTBEAT_MS);
            sights.push(Sight::Workers(workers));
        }
        count
    }
}

/// Until the next look, in milliseconds, after one that told so many views to so many watchers.
fn pause(views: usize, watchers: usize) -> u64 {
    let told = views.saturating_mul(watchers) as u64;
    (CHANGES_MS.saturating_mul(told) / VIEWS_A_LOOK).clamp(CHANGES_MS, CHANGES_MANY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Effects, EngineOptions, Event};
    use crate::model::{Recovered, WorkerId, WorkerInfo};

    #[test]
    fn much_for_many_is_told_less_often_than_little_or_to_few() {
        assert_eq!(pause(0, 50), 200);
        assert_eq!(
            pause(MAX_CHANGED, 3),
            200,
            "a few consoles see all as fast as they can be read"
        );
        assert_eq!(pause(10, 50), 200);
        assert_eq!(pause(60, 50), 300);
        assert_eq!(pause(100, 50), 500);
        assert_eq!(pause(MAX_CHANGED, usize::MAX), 500);
    }

    #[test]
    fn an_idle_worker_is_told_as_heard_while_its_heartbeats_come() {
        let mut now = Timestamp(1_000_000);
        let mut engine = Engine::new(EngineOptions::default(), Recovered::default(), now);
        let mut watchers = Watchers::new(now);
        watchers.overview_due = Timestamp(u64::MAX);
        let _watching = watchers.sender().subscribe();
        let worker = WorkerId(1);
        let info = WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() };
        let queues = vec![QueueName::new("q").unwrap()];
        let ready = Event::WorkerReady { worker, info, queues, credit: 1 };
        engine.handle(now, ready, &mut Effects::default());
        let mut told = Vec::new();
        for _ in 0..10 {
            engine.handle(now, Event::WorkerHeard { worker }, &mut Effects::default());
            for sight in watchers.due(now, Health::Up, &mut engine, |_| panic!("not asked for")) {
                if let Sight::Workers(views) = sight {
                    told.push(views[0].heard_at);
                }
            }
            now = now.plus_ms(HEARTBEAT_MS / 2);
        }
        assert_eq!(told.len(), 5, "once in each interval: {told:?}");
        assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    }
}
