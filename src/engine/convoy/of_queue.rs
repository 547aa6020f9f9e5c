//! A queue and its convoy: what is looked at, what may go, what leaves.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::{Header, MessageRecord, MessageState, Seq, Timestamp};

use super::{Convoy, Line, Listed, MAX_ASIDE, MAX_URGENT, Reading};
use crate::engine::lane::Next;
use crate::engine::queue::Queue;
use crate::engine::window::{Bounds, Budget, Entry};

impl Queue {
    /// What to do next, if messages may overtake one another.
    pub(in crate::engine) fn next_of(&self, convoy: &Convoy) -> Next {
        if self.record.paused.is_some() || self.is_stuck() {
            return Next::Wait;
        }
        match convoy.ready.first() {
            Some(&(_, seq)) => Next::Deliver(seq),
            None if self.wants_reading() || self.window.end() < self.next_seq => Next::Load,
            None => Next::Wait,
        }
    }

    /// Messages that have not been looked at.
    pub(in crate::engine) fn unseen(&self) -> u64 {
        let from = self.window.end().max(self.floor);
        let places = self.next_seq.0.saturating_sub(from.0);
        places.saturating_sub(self.uncommon.finished.count_from(from))
    }

    /// Whether something that was looked at must be read again.
    pub(in crate::engine) fn wants_reading(&self) -> bool {
        let convoy = self.convoy.as_deref();
        convoy.is_some_and(|convoy| {
            !convoy.unread.is_empty()
                || !convoy.starved.is_empty()
                || convoy.later.reading().is_some()
        })
    }

    /// Whether so many messages are set aside that nothing more is handed out.
    pub(in crate::engine) fn is_stuck(&self) -> bool {
        self.convoy.as_deref().is_some_and(|convoy| {
            let blocked = usize::try_from(self.uncommon.blocked).unwrap_or(usize::MAX);
            blocked.saturating_add(convoy.due.len()) >= MAX_ASIDE
        })
    }

    /// Begins a read of what was looked at before; where, how many messages, how many bytes.
    pub(in crate::engine) fn begin_reading(
        &mut self,
        bounds: Bounds,
        budget: &mut Budget,
    ) -> Option<(Seq, usize, usize)> {
        let (from, messages) = self.convoy.as_deref_mut()?.begin_reading()?;
        let (fit, bytes) = self.window.begin_load(from, self.next_seq, bounds, budget);
        Some((from, messages.min(fit), bytes))
    }

    /// Takes the message at the window's end in, whose content is kept if it may go soon.
    pub(in crate::engine) fn take_in(
        &mut self,
        entry: Entry,
        now: Timestamp,
        bounds: Bounds,
        budget: &mut Budget,
    ) {
        if self.convoy.is_none() {
            return self.window.push(entry, budget);
        }
        self.window.cover_until(entry.seq.next());
        if self.is_plain(&entry, now) {
            return self.take_plain(entry, budget);
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let is_listed = convoy.listed.contains_key(&entry.seq);
        if !is_listed && self.leave_for_later(&entry, now) {
            return;
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        if convoy.list(entry.seq, &entry.content.header) {
            self.keep(entry, now, bounds, budget);
        } else if let Some(key) = convoy.key_of(&entry.content.header).map(Arc::<str>::from) {
            convoy.starve(&key);
        }
    }

    /// Whether a message is in nobody's line or hands, and nothing has happened to it: it may go as it is.
    fn is_plain(&self, entry: &Entry, now: Timestamp) -> bool {
        let (seq, header) = (entry.seq, &entry.content.header);
        self.convoy.as_deref().is_some_and(|convoy| {
            convoy.key_of(header).is_none()
                && !convoy.listed.contains_key(&seq)
                && !self.records().contains_key(&seq)
                && !self.holds().contains_key(&seq)
                && !self.in_flight.has(seq)
                && header.timing().due(entry.accepted_at).is_none_or(|due| due <= now)
        })
    }

    /// What [`Queue::keep`] comes to for such a message.
    fn take_plain(&mut self, entry: Entry, budget: &mut Budget) {
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let (seq, priority) = (entry.seq, convoy.priority_of(&entry.content.header));
        convoy.listed.insert(seq, Listed { key: None, priority, due: None });
        convoy.ready.insert((Reverse(priority), seq));
        self.window.insert(entry, budget);
    }

    /// Lists a message that has a priority before the window comes to it, unless there are too many: its record, by
    /// which it is known again after a restart.
    pub(in crate::engine) fn take_urgent(
        &mut self,
        entry: Entry,
        now: Timestamp,
        bounds: Bounds,
        budget: &mut Budget,
    ) -> Option<MessageRecord> {
        let convoy = self.convoy.as_deref_mut()?;
        let priority = convoy.priority_of(&entry.content.header);
        let is_early = entry.content.header.timing().due(entry.accepted_at).is_some();
        if priority == 0 || convoy.urgent >= MAX_URGENT || is_early {
            return None;
        }
        convoy.urgent = convoy.urgent.saturating_add(1);
        convoy.listed.insert(entry.seq, Listed { key: None, priority, due: None });
        if self.window.has_room_for_more(bounds) && self.is_warm() {
            self.keep(entry, now, bounds, budget);
        }
        Some(MessageRecord { priority, ..MessageRecord::default() })
    }

    /// Lists the messages of which the store says that they have a priority.
    pub(in crate::engine) fn list_urgent(&mut self, now: Timestamp) {
        let urgent = self.uncommon.records.iter().filter(|(_, record)| record.priority > 0);
        let urgent: Vec<(Seq, u8)> = urgent.map(|(&seq, record)| (seq, record.priority)).collect();
        let Some(convoy) = self.convoy.as_deref_mut().filter(|convoy| convoy.has_priority) else {
            return;
        };
        convoy.urgent = urgent.len();
        for &(seq, priority) in &urgent {
            convoy.listed.insert(seq, Listed { key: None, priority, due: None });
        }
        urgent.iter().for_each(|&(seq, _)| self.review(seq, now));
    }

    /// A listed message was read: it may go now, or its content is not needed yet.
    fn keep(&mut self, entry: Entry, now: Timestamp, bounds: Bounds, budget: &mut Budget) {
        let seq = entry.seq;
        self.note_due(&entry);
        if self.leave_for_later(&entry, now) {
            return;
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        if let Some(size) = convoy.cancelled.get_mut(&seq) {
            *size = entry.content.size_bytes();
        }
        let has_turn = match convoy.key_of(&entry.content.header) {
            None => true,
            Some(key) if convoy.front(key) == Some(seq) => true,
            Some(key) => {
                let is_moving = convoy.lines.get(key).is_some_and(Line::is_moving);
                is_moving && self.window.len() < bounds.messages / 2
            }
        };
        if has_turn
            && self.state_of(seq, now) == MessageState::Ready
            && self.window.get(seq).is_none()
        {
            self.window.insert(entry, budget);
        }
        self.review(seq, now);
    }

    /// What is known of a message has changed: it, or another of its line, may go now or no longer.
    pub(in crate::engine) fn review(&mut self, seq: Seq, now: Timestamp) {
        let Some(convoy) = self.convoy.as_deref() else { return };
        match convoy.listed.get(&seq).map(|listed| listed.key.clone()) {
            None => {}
            Some(Some(key)) => self.review_line(&key, now),
            Some(None) => {
                let (may_go, in_ram) = (self.may_go(seq, now), self.window.get(seq).is_some());
                if let Some(convoy) = self.convoy.as_deref_mut() {
                    convoy.offer(seq, may_go, in_ram);
                }
            }
        }
    }

    fn review_line(&mut self, key: &Arc<str>, now: Timestamp) {
        let Some(convoy) = self.convoy.as_deref() else { return };
        let is_busy = convoy.lines.get(key).is_none_or(|line| line.busy.is_some());
        let front = convoy.front(key).filter(|&seq| !is_busy && self.may_go(seq, now));
        let in_ram = front.is_some_and(|seq| self.window.get(seq).is_some());
        let early = self.early_front(key, now);
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        if let Some((due, seq)) = early {
            convoy.wait_until(due, seq);
        }
        let before =
            convoy.lines.get_mut(key).and_then(|line| std::mem::replace(&mut line.offered, front));
        if let Some(before) = before {
            convoy.offer(before, false, false);
        }
        if let Some(front) = front {
            convoy.offer(front, true, in_ram);
        }
    }

    fn may_go(&self, seq: Seq, now: Timestamp) -> bool {
        !self.uncommon.holds.contains_key(&seq) && self.state_of(seq, now) == MessageState::Ready
    }

    /// A worker gets a message. Its lease keeps the content.
    pub(in crate::engine) fn hand_out(&mut self, seq: Seq, lease: u64, budget: &mut Budget) {
        self.in_flight.take(seq, lease);
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        convoy.offer(seq, false, false);
        if let Some(key) = convoy.listed.get(&seq).and_then(|listed| listed.key.as_ref())
            && let Some(line) = convoy.lines.get_mut(key)
        {
            line.busy = Some(seq);
            line.offered = None;
        }
        self.window.remove(seq, budget);
    }

    /// A worker gives a message back that goes out again at once.
    pub(in crate::engine) fn take_back(
        &mut self,
        entry: Entry,
        bounds: Bounds,
        budget: &mut Budget,
    ) {
        if self.convoy.is_some() && self.is_warm() && self.window.len() < bounds.messages {
            self.window.insert(entry, budget);
        }
    }

    /// What a record must say of a message's order: all of the message that is known after a restart.
    pub(in crate::engine) fn note_order(&self, record: &mut MessageRecord, header: &Header) {
        let Some(convoy) = self.convoy.as_deref() else { return };
        record.key = convoy.key_of(header).map(str::to_owned);
        record.priority = convoy.priority_of(header);
    }

    /// A lease on a message with this header is over, and what comes of it is decided: the next of its line may go.
    pub(in crate::engine) fn free_line(&mut self, seq: Seq, header: &Header, now: Timestamp) {
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let Some((key, _)) = convoy.key_of(header).and_then(|key| convoy.lines.get_key_value(key))
        else {
            return self.review(seq, now);
        };
        let key = Arc::clone(key);
        if let Some(line) = convoy.lines.get_mut(&key) {
            line.busy.take_if(|busy| *busy == seq);
        }
        convoy.drop_line_if_over(&key);
        self.review_line(&key, now);
    }

    /// A message is at its end: what convoys know of it goes.
    pub(in crate::engine) fn leave_convoy(
        &mut self,
        seq: Seq,
        header: Option<&Header>,
        now: Timestamp,
    ) {
        let end = self.window.end();
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let key = header.and_then(|header| convoy.key_of(header));
        if let Some(key) = convoy.forget(seq, end, key) {
            self.review_line(&key, now);
        }
    }

    /// The size in bytes of a message that was cancelled, as far as it is known.
    pub(in crate::engine) fn cancelled_bytes(&self, seq: Seq) -> u64 {
        let convoy = self.convoy.as_deref();
        convoy.and_then(|convoy| convoy.cancelled.get(&seq).copied()).unwrap_or(0)
    }

    /// A message's record is new: if it is set aside, its content and those behind it leave RAM.
    pub(in crate::engine) fn settle_record(
        &mut self,
        seq: Seq,
        now: Timestamp,
        budget: &mut Budget,
    ) {
        let Some(record) = self.uncommon.records.get(&seq) else { return };
        let (state, due) = (record.state, record.due);
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        if state == MessageState::Cancelled {
            convoy.cancelled.entry(seq).or_insert(0);
        } else {
            convoy.cancelled.remove(&seq);
        }
        self.list_again(seq);
        if state == MessageState::Waiting
            && let Some(due) = due
            && let Some(convoy) = self.convoy.as_deref_mut()
        {
            convoy.wait_until(due, seq);
        }
        self.review(seq, now);
        match state {
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Leased
            | MessageState::Done => {}
            MessageState::Waiting | MessageState::Blocked | MessageState::Cancelled => {
                self.window.remove(seq, budget);
                self.drop_behind(seq, budget);
            }
        }
    }

    /// Contents of a line that stands are of no use.
    fn drop_behind(&mut self, seq: Seq, budget: &mut Budget) {
        let Some(convoy) = self.convoy.as_deref() else { return };
        let key = convoy.listed.get(&seq).and_then(|listed| listed.key.as_ref());
        let Some(line) = key.and_then(|key| convoy.lines.get(key)) else { return };
        if line.offered.is_none() && line.busy.is_none_or(|busy| busy == seq) {
            line.places.iter().for_each(|&place| drop(self.window.remove(place, budget)));
        }
    }

    /// What waited until now may go.
    pub(in crate::engine) fn wake(&mut self, now: Timestamp) {
        while let Some(convoy) = self.convoy.as_deref_mut()
            && let Some(&(due, seq)) = convoy.due.first().filter(|(due, _)| *due <= now)
        {
            convoy.due.remove(&(due, seq));
            self.review(seq, now);
        }
    }

    /// Contents leave RAM; what may go is read again once it is of use.
    pub(in crate::engine) fn drop_ready(&mut self, budget: &mut Budget) {
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        convoy.unread.extend(std::mem::take(&mut convoy.ready));
        self.window.drop_all(budget);
    }

    /// A cancelled message that can't be restored any more when the one at `seq` is handed out: those before it
    /// without an order key, or of its own.
    pub(in crate::engine) fn passed_by(&self, seq: Seq) -> Option<Seq> {
        let convoy = self.convoy.as_deref()?;
        let key = convoy.listed.get(&seq)?.key.as_ref();
        match key.and_then(|key| convoy.lines.get(key)) {
            Some(line) => line.places.front().copied().filter(|&place| place < seq),
            None => {
                convoy.cancelled.range(..seq).map(|(&place, _)| place).find(|place| {
                    convoy.listed.get(place).is_some_and(|listed| listed.key.is_none())
                })
            }
        }
    }

    /// Whether a read of what was looked at before has begun here and is under way.
    pub(in crate::engine) fn is_reading_from(&self, from: Seq) -> bool {
        let reading = self.convoy.as_deref().and_then(|convoy| convoy.reading.as_ref());
        reading.is_some_and(|(began, _)| *began == from)
    }

    /// Ends that read, whose entries may be outdated (`false`). Returns whether it lacks what it must have brought.
    pub(in crate::engine) fn end_reading(
        &mut self,
        from: Seq,
        entries: Vec<(Entry, bool)>,
        now: Timestamp,
        bounds: Bounds,
        budget: &mut Budget,
    ) -> bool {
        let Some((_, reading)) = self.convoy.as_deref_mut().and_then(|it| it.reading.take()) else {
            return false;
        };
        self.window.end_load(from, budget);
        let until = entries.last().map(|(entry, _)| entry.seq.next());
        let until = until.filter(|&until| until < self.window.end());
        let is_warm = self.is_warm();
        let mut has_outdated = false;
        for (entry, is_current) in entries {
            has_outdated |= !is_current;
            if is_warm && reading == Reading::Later {
                self.note_later(&entry, now);
            } else if is_warm && self.is_unfinished(entry.seq) && self.is_wanted(&entry, from) {
                if is_current {
                    self.keep(entry, now, bounds, budget);
                } else {
                    self.review(entry.seq, now);
                }
            }
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return false };
        match reading {
            Reading::Unread(seq) => {
                let is_left = convoy.unread.iter().any(|&(_, place)| place == seq);
                is_left && is_warm && !has_outdated
            }
            Reading::Sweep(key) => {
                convoy.end_sweep(&key, until);
                false
            }
            Reading::Later => {
                if is_warm {
                    convoy.later.end_read(until);
                }
                false
            }
        }
    }

    /// Whether a message that was read is one that may go, or one that its line has only counted and lists now.
    fn is_wanted(&mut self, entry: &Entry, from: Seq) -> bool {
        let end = self.window.end();
        let Some(convoy) = self.convoy.as_deref_mut() else { return false };
        match convoy.listed.get(&entry.seq) {
            Some(listed) => convoy.unread.contains(&(Reverse(listed.priority), entry.seq)),
            None => {
                let is_counted = convoy.is_keyed && entry.seq < end;
                is_counted && convoy.list_beyond(entry.seq, &entry.content.header, from)
            }
        }
    }
}
