//! What is worth waking somebody for: rules over the broker's events, and the same thing told once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::datadog::Level;
use crate::model::{JournalEntry, JournalKind, Notice, QueueName};

/// Things that are kept in mind as told; beyond, some may be told again early.
const MAX_KNOWN: usize = 10_000;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Which rule: a word for filters.
    pub rule: &'static str,
    /// How bad.
    pub level: Level,
    /// What it is about: a queue, a worker, a saga; empty for the broker itself.
    pub subject: String,
    /// The queue, if it is about one.
    pub queue: Option<QueueName>,
    /// For people.
    pub text: String,
}

impl Alert {
    /// One about a queue.
    pub fn of_queue(rule: &'static str, level: Level, queue: &QueueName, text: String) -> Self {
        Self { rule, level, subject: queue.to_string(), queue: Some(queue.clone()), text }
    }

    /// One about something else.
    pub fn of(rule: &'static str, level: Level, subject: &str, text: String) -> Self {
        Self { rule, level, subject: subject.to_owned(), queue: None, text }
    }

    fn of_entry(entry: &JournalEntry) -> Option<Self> {
        let (rule, level) = match entry.kind {
            JournalKind::Blocked => ("blocked", Level::Error),
            JournalKind::WorkerFenced => ("worker-stuck", Level::Error),
            JournalKind::QueueCreated
            | JournalKind::QueueDeleted
            | JournalKind::QueuePurged
            | JournalKind::SettingsChanged
            | JournalKind::Paused
            | JournalKind::Draining
            | JournalKind::Resumed
            | JournalKind::Dropped
            | JournalKind::Saved
            | JournalKind::Retried
            | JournalKind::SavedAndRetried
            | JournalKind::Cancelled
            | JournalKind::SentToDeadLetters
            | JournalKind::Moved
            | JournalKind::Restored
            | JournalKind::RevisionUndone
            | JournalKind::SagaRetried
            | JournalKind::SagaSkipped
            | JournalKind::SagaAborted
            // Its own event is what an alert goes by.
            | JournalKind::SagaParked
            | JournalKind::Subscribed
            | JournalKind::Unsubscribed => return None,
        };
        let seq = entry.seq.map_or_else(String::new, |seq| format!(" {seq}"));
        let text = format!("{}{seq}: {}", entry.queue, entry.reason);
        Some(Self::of_queue(rule, level, &entry.queue, text))
    }

    /// What an event is worth.
    pub fn of_event(what: &Notice) -> Option<Self> {
        use Level::{Error, Warning};
        Some(match what {
            Notice::Journal { entry } => return Self::of_entry(entry),
            Notice::WorkerSilent { name, silent_ms, lost } => {
                let text = format!("nothing is heard of {name} for {silent_ms} ms; it held {lost}");
                Self::of("worker-silent", Warning, name, text)
            }
            Notice::WorkerAlert { name, alert, message } => {
                // Another kind of alert is another thing.
                let subject = format!("{name} {alert}");
                Self::of("worker-alert", Error, &subject, format!("{name}: {alert}: {message}"))
            }
            Notice::RestartLimit { name, restarts, within_ms, how } => {
                let text = format!("{name} ended {restarts} times within {within_ms} ms: {how}");
                Self::of("restart-limit", Error, name, text)
            }
            Notice::SagaParked { id, saga, step, error } => {
                let text = format!("saga {saga} {id} is parked at {step}: {}", error.message);
                Self::of("saga-parked", Error, id.as_str(), text)
            }
            Notice::StoreDown { reason } => Self::of("store-down", Error, "", reason.clone()),
            Notice::StoreFull { reason } => Self::of("disk-full", Error, "", reason.clone()),
            Notice::Unblocked { queue } => {
                let text = format!("{queue}: nothing is blocked any more");
                Self::of_queue("unblocked", Level::Success, queue, text)
            }
            Notice::AttemptFailed { .. }
            | Notice::Recovered { .. }
            | Notice::DeadLettered { .. }
            | Notice::TakenOver { .. }
            | Notice::WorkerReady { .. }
            | Notice::WorkerGone { .. }
            | Notice::WorkerExited { .. }
            | Notice::Stale { .. }
            | Notice::FilterFailed { .. }
            | Notice::Refused { .. }
            | Notice::SagaStarted { .. }
            | Notice::SagaCompensating { .. }
            | Notice::SagaEnded { .. }
            | Notice::GatherStarted { .. }
            | Notice::GatherEnded { .. }
            | Notice::StoreUp
            | Notice::StoreHasRoom
            | Notice::Alert { .. }
            | Notice::Missed { .. } => return None,
        })
    }
}

/// What ends what a rule speaks of.
fn opposite(rule: &str) -> Option<&'static str> {
    match rule {
        "blocked" => Some("unblocked"),
        "unblocked" => Some("blocked"),
        _ => None,
    }
}

/// Whether looks tell it, again and again while it is so: no word of it needs to be kept for later.
fn is_looked_at(rule: &str) -> bool {
    matches!(rule, "oldest-age" | "disk-low")
}

/// Lets the same rule speak of the same thing once in an interval. What it kept back is told when that is over, unless it
/// has ended meanwhile: nobody is left with a word that isn't true any more.
#[derive(Debug)]
pub struct Dedup {
    interval: Duration,
    told: BTreeMap<(&'static str, String), Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    kept_back: u64,
    /// The last that was kept back.
    last: Option<Alert>,
}

impl Dedup {
    /// Once in `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, told: BTreeMap::new() }
    }

    /// Whether to tell it now; how often it was kept back since it was told last.
    pub fn pass(&mut self, alert: &Alert, now: Instant) -> Option<u64> {
        let key = (alert.rule, alert.subject.clone());
        let interval = self.interval;
        if let Some(rule) = opposite(alert.rule)
            && let Some(ended) = self.told.get_mut(&(rule, alert.subject.clone()))
        {
            ended.last = None;
        }
        match self.told.get_mut(&key) {
            Some(told) if now.duration_since(told.at) < interval => {
                told.kept_back += 1;
                told.last = (!is_looked_at(alert.rule)).then(|| alert.clone());
                None
            }
            Some(told) => {
                let kept_back = std::mem::take(&mut told.kept_back);
                (told.at, told.last) = (now, None);
                Some(kept_back)
            }
            None => {
                if self.told.len() >= MAX_KNOWN {
                    self.told.retain(|_, told| now.duration_since(told.at) < interval);
                }
                if self.told.len() >= MAX_KNOWN {
                    self.told.pop_first();
                }
                self.told.insert(key, Told { at: now, kept_back: 0, last: None });
                Some(0)
            }
        }
    }

    /// Whether it was told, and not that it is over since.
    pub fn stands(&self, rule: &'static str, subject: &str) -> bool {
        let at = |rule| self.told.get(&(rule, subject.to_owned())).map(|told| told.at);
        at(rule) > opposite(rule).and_then(at)
    }

    /// What was kept back and is to be told now, with how often it was kept back beside.
    pub fn due(&mut self, now: Instant) -> Vec<(Alert, u64)> {
        let mut due = Vec::new();
        for told in self.told.values_mut() {
            if now.duration_since(told.at) >= self.interval
                && let Some(alert) = told.last.take()
            {
                told.at = now;
                due.push((alert, std::mem::take(&mut told.kept_back).saturating_sub(1)));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(rule: &'static str, subject: &str) -> Alert {
        Alert::of(rule, Level::Error, subject, String::new())
    }

    #[test]
    fn the_same_is_told_once_in_an_interval_with_how_often_it_was_not() {
        let mut dedup = Dedup::new(Duration::from_secs(10));
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let a = alert("blocked", "a");
        assert_eq!(dedup.pass(&a, now), Some(0));
        assert_eq!(dedup.pass(&alert("blocked", "b"), now), Some(0));
        assert_eq!(dedup.pass(&alert("disk-full", "a"), now), Some(0));
        assert_eq!(dedup.pass(&a, after(5)), None);
        assert_eq!(dedup.pass(&a, after(9)), None);
        assert_eq!(dedup.pass(&a, after(10)), Some(2));
        assert_eq!(dedup.pass(&a, after(19)), None);
    }

    #[test]
    fn what_was_kept_back_is_told_in_the_end_unless_it_is_over() {
        let mut dedup = Dedup::new(Duration::from_secs(10));
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let (blocked, unblocked) = (alert("blocked", "a"), alert("unblocked", "a"));
        assert!(!dedup.stands("blocked", "a"));
        assert_eq!(dedup.pass(&blocked, now), Some(0));
        assert!(dedup.stands("blocked", "a"));
        assert_eq!(dedup.pass(&unblocked, after(1)), Some(0));
        assert!(!dedup.stands("blocked", "a"));
        assert_eq!(dedup.pass(&blocked, after(2)), None);
        assert_eq!(dedup.due(after(9)), []);
        assert_eq!(dedup.due(after(10)), [(blocked.clone(), 0)], "it is blocked still");
        assert_eq!(dedup.due(after(30)), []);
        assert_eq!(dedup.pass(&blocked, after(31)), Some(0));
        assert_eq!(dedup.pass(&blocked, after(32)), None);
        assert_eq!(dedup.pass(&unblocked, after(33)), Some(0));
        assert_eq!(dedup.due(after(60)), [], "it is over");
    }

    #[test]
    fn what_looks_tell_is_told_by_the_next_look_only() {
        let mut dedup = Dedup::new(Duration::from_secs(10));
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let old = alert("oldest-age", "a");
        assert_eq!(dedup.pass(&old, now), Some(0));
        assert_eq!(dedup.pass(&old, after(5)), None);
        assert_eq!(dedup.due(after(10)), [], "it may be over");
        assert_eq!(dedup.pass(&old, after(10)), Some(1), "it is not");
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let mut dedup = Dedup::new(Duration::from_secs(10));
        let now = Instant::now();
        for n in 0..MAX_KNOWN + 100 {
            assert_eq!(dedup.pass(&alert("blocked", &n.to_string()), now), Some(0));
        }
        assert_eq!(dedup.told.len(), MAX_KNOWN);
    }
}
