//! Screen 6: what happens, as it happens, the newest last.

mod words;

pub(in crate::console) use words::weight_of;

use std::collections::VecDeque;

use super::MessageRef;
use super::lists::{Cursor, Motion};
use crate::admin::dto::{BrokerEvent, MessageId, QueueName, Timestamp};
use crate::console::command::{Command, Mode, Screen};
use crate::console::filter::Filter;
use crate::console::keymap::Keymap;

/// Events kept: hours of a broker with trouble now and then. One takes at most some 2 KiB.
const MAX_EVENTS: usize = 1_000;
/// Bytes of an event's text that are kept: an error or a reason may be long, and is read at its message.
const MAX_TEXT_BYTES: usize = 500;

/// How much an event is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Somebody is needed.
    Bad,
    /// Something may be wrong.
    Warn,
    /// Something is right again.
    Good,
    /// For the record.
    Plain,
}

/// Where `Enter` leads from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To a message.
    Message(MessageRef),
    /// To a queue.
    Queue(QueueName),
    /// To the workers, of which it is about this one.
    Worker(String),
    /// To a gather.
    Gather(MessageId),
    /// To a saga.
    Saga(MessageId),
    /// Nowhere.
    Nowhere,
}

/// An event as a row.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Its place in the list; counts up, with those that are gone.
    pub number: u64,
    /// When; unknown of what the console itself has to say.
    pub at: Option<Timestamp>,
    /// Its type.
    pub kind: &'static str,
    /// How it is drawn.
    pub weight: Weight,
    /// What it is about; not cleaned.
    pub on: String,
    /// What it tells; not cleaned.
    pub text: String,
    /// What `Enter` opens.
    pub leads: Leads,
}

/// Screen 6.
#[derive(Debug, Default)]
pub struct EventList {
    rows: VecDeque<EventRow>,
    last: u64,
    /// The row under the cursor while the list stands still; on the last row it goes on.
    held: Option<u64>,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// What is shown of them.
    pub filter: Filter,
}

impl EventList {
    /// Takes an event.
    pub fn push(&mut self, event: &BrokerEvent) {
        let told = words::told(&event.what);
        self.add(Some(event.time), event.what.kind(), told);
    }

    /// Events are missing here: what of them is in the journal can be read there.
    pub fn gap(&mut self, why: &str, keys: Keymap) {
        let key = keys.hint(Mode::Events, Command::Go(Screen::Journal), " ({})");
        let text = format!("{why}; repairs and blocked queues are in the journal{key}");
        let told =
            words::Told { weight: Weight::Warn, on: String::new(), text, leads: Leads::Nowhere };
        self.add(None, "missed", told);
    }

    fn add(&mut self, at: Option<Timestamp>, kind: &'static str, told: words::Told) {
        let words::Told { weight, on, mut text, leads } = told;
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
            text.push('…');
        }
        self.last += 1;
        self.rows.push_back(EventRow { number: self.last, at, kind, weight, on, text, leads });
        if self.rows.len() > MAX_EVENTS {
            self.rows.pop_front();
        }
    }

    /// Nothing was heard yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Older ones were dropped.
    pub fn is_full(&self) -> bool {
        self.last > self.rows.len() as u64
    }

    /// The rows that the filter lets through.
    pub fn shown(&self) -> Vec<&EventRow> {
        let passes = |row: &&EventRow| {
            self.filter.lets_through([row.kind, row.on.as_str(), row.text.as_str()])
        };
        self.rows.iter().filter(passes).collect()
    }

    /// While the list stands still: how many came below the cursor's row.
    pub fn paused(&self) -> Option<usize> {
        let held = self.held?;
        Some(self.shown().iter().filter(|row| row.number > held).count())
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&EventRow> {
        self.shown().get(self.cursor.at).copied()
    }

    /// Moves the cursor; from the last row on the list goes on by itself.
    pub fn go(&mut self, motion: Motion, height: usize) {
        let numbers = self.numbers();
        self.cursor.go(motion, numbers.len(), height);
        let is_last = self.cursor.at + 1 >= numbers.len();
        self.held = numbers.get(self.cursor.at).copied().filter(|_| !is_last);
    }

    /// Goes on with what is newest.
    pub fn follow(&mut self) {
        self.held = None;
    }

    fn numbers(&self) -> Vec<u64> {
        self.shown().iter().map(|row| row.number).collect()
    }

    /// Keeps the cursor on its row, or on the newest.
    pub fn settle(&mut self, height: usize) {
        let numbers = self.numbers();
        self.cursor.at = match self.held {
            Some(held) => numbers.partition_point(|&number| number < held),
            None => usize::MAX,
        };
        self.cursor.settle(numbers.len(), height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::dto::{EventId, Notice};

    fn push(list: &mut EventList, queue: &str) {
        let what = Notice::Unblocked { queue: QueueName::new(queue).unwrap() };
        let event_id = EventId { run: 1, number: 1 };
        list.push(&BrokerEvent { event_id, time: Timestamp(0), what });
        list.settle(10);
    }

    #[test]
    fn it_follows_on_the_last_row_and_stands_still_elsewhere() {
        let mut list = EventList::default();
        for _ in 0..30 {
            push(&mut list, "a");
        }
        assert_eq!((list.cursor.at, list.cursor.top, list.paused()), (29, 20, None));
        list.go(Motion::Rows(-5), 10);
        let held = list.selected().unwrap().number;
        for _ in 0..MAX_EVENTS - 30 {
            push(&mut list, "b");
        }
        assert_eq!(list.selected().unwrap().number, held);
        assert_eq!(list.paused(), Some(MAX_EVENTS - 30 + 5));
        list.go(Motion::Last, 10);
        assert_eq!(list.paused(), None);
        push(&mut list, "c");
        assert_eq!(list.selected().unwrap().on, "c");
        assert_eq!((list.len(), list.is_full()), (MAX_EVENTS, true));
    }

    #[test]
    fn a_held_row_that_was_dropped_leaves_the_cursor_on_the_oldest() {
        let mut list = EventList::default();
        push(&mut list, "a");
        push(&mut list, "a");
        list.go(Motion::First, 10);
        for _ in 0..MAX_EVENTS + 5 {
            push(&mut list, "b");
        }
        assert_eq!((list.len(), list.cursor.at), (MAX_EVENTS, 0));
        assert_eq!(list.selected().unwrap().number, 8);
    }

    #[test]
    fn a_filter_takes_or_leaves_by_type_queue_and_text() {
        let mut list = EventList::default();
        push(&mut list, "a");
        push(&mut list, "b");
        list.filter = Filter::new("!a");
        assert!(list.shown().is_empty(), "'unblocked' has no a, but the text has");
        list.filter = Filter::new("b");
        assert_eq!(list.shown().len(), 2, "of unblocked");
        list.filter = Filter::new("!stale");
        assert_eq!(list.shown().len(), 2);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut list = EventList::default();
        list.gap(&"ż".repeat(1_000), Keymap::default());
        assert!(list.selected().unwrap().text.len() <= MAX_TEXT_BYTES + '…'.len_utf8());
    }
}
