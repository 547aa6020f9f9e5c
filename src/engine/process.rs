//! Processes: what goes on over several messages, and over restarts (gathers, sagas, kept replies).
//!
//! A process has records in the store (`Op::PutProcess`), bytes of its kind's own form, and here what is common
//! to all kinds: its bytes, what it waits for, and when it is due. A kind is a module that
//!
//! * begins with [`Engine::admit_process`] and [`Engine::start_process`], which gives the number that the process
//!   has in this run;
//! * sends with [`Engine::process_sends`] and waits for the message's end with [`Engine::process_waits`];
//! * writes its state anew with [`Engine::put_process`], and ends with [`Engine::end_process`];
//! * is told by [`Engine::run_processes`] of what it waits for, and of its time ([`Engine::process_due`]);
//! * is made again of its records by [`Engine::recover_processes`]: it says again what it waits for (its records name the queue by its `QueueId`), and
//!   when it is due. A message that was at its end before that is heard as `already-done`.
//!
//! What a process hears it hears in the same `handle` as the event that made it so, after that event is through: so
//! the message's end and what the process does then are one commit, and no queue is between two states.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::model::limits::{
    MAX_PROCESS_PART_BYTES, MAX_PROCESSES, MAX_PROCESSES_BYTES, MAX_PROCESSES_BYTES_AT_START,
};
use crate::model::{
    Accepted, CallStatus, Content, Numbered, Op, ProcessKey, ProcessKind, ProcessParts,
    ProcessRecord, QueueName, RejectCode, Rejection, Seq, Timestamp,
};

use super::queues::QueueIndex;
use super::request::{CallEnd, Place, draining};
use super::send::FULL_RETRY_MS;
use super::timer::{Timer, shifted_back};
use super::{Effects, Engine};

/// A process' number in this run: in the order in which they were recovered, then started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProcessNumber(pub(super) u64);

#[derive(Debug)]
struct Process {
    key: ProcessKey,
    /// By part, how many bytes the store has.
    bytes: BTreeMap<u16, u64>,
    waits: BTreeSet<Place>,
    due: Option<Timestamp>,
}

/// What a process is told.
#[derive(Debug)]
enum News {
    /// A message that it waits for is at its end, or blocked: then it waits on.
    End(Place, CallEnd),
    /// A worker that had such a message was lost, or had it for too long: it may have done it all the same.
    Lost(Place),
    /// Its time has come.
    Due,
}

/// All processes, at most `limits::MAX_PROCESSES`.
#[derive(Debug, Default)]
pub(super) struct Processes {
    last_number: u64,
    by_key: BTreeMap<ProcessKey, ProcessNumber>,
    processes: BTreeMap<ProcessNumber, Process>,
    /// Who waits for a message.
    by_place: Numbered<Place, Vec<ProcessNumber>>,
    /// Told at the end of this `handle`, or of the first one.
    news: VecDeque<(ProcessNumber, News)>,
    /// What the store keeps of all.
    bytes: u64,
    /// Processes in the store whose records this version can't read: they stay there, and do nothing.
    unreadable: u64,
}

impl Processes {
    /// The number of a process that runs.
    pub(super) fn find(&self, key: &ProcessKey) -> Option<ProcessNumber> {
        self.by_key.get(key).copied()
    }

    /// What a process that runs is found by.
    pub(super) fn key(&self, number: ProcessNumber) -> Option<&ProcessKey> {
        self.processes.get(&number).map(|process| &process.key)
    }

    /// A message of a queue that one waits for.
    pub(super) fn first_of(&self, queue: QueueIndex) -> Option<Seq> {
        self.by_place.keys().filter(|(at, _)| *at == queue).map(|&(_, seq)| seq).min()
    }

    /// Whether one is to be told something.
    pub(super) fn have_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// How many can't be read.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Who waits for a message is told of its end.
    pub(super) fn hear(&mut self, place: Place, end: &CallEnd) {
        let numbers = match end.status {
            CallStatus::Blocked => self.by_place.get(&place).cloned(),
            CallStatus::Ok | CallStatus::Failed | CallStatus::Timeout => {
                self.by_place.remove(&place)
            }
        };
        for number in numbers.unwrap_or_default() {
            if end.status != CallStatus::Blocked
                && let Some(process) = self.processes.get_mut(&number)
            {
                process.waits.remove(&place);
            }
            self.news.push_back((number, News::End(place, end.clone())));
        }
    }

    /// Who waits for a message is told that nobody knows what a worker has done of it.
    pub(super) fn hear_lost(&mut self, place: Place) {
        for &number in self.by_place.get(&place).into_iter().flatten() {
            self.news.push_back((number, News::Lost(place)));
        }
    }

    /// The clock stepped back.
    pub(super) fn shift_back(&mut self, ms: u64) {
        for process in self.processes.values_mut() {
            process.due = process.due.map(|at| shifted_back(at, ms));
        }
    }

    fn add(&mut self, key: ProcessKey) -> ProcessNumber {
        self.last_number = self.last_number.saturating_add(1);
        let number = ProcessNumber(self.last_number);
        self.by_key.insert(key.clone(), number);
        let (bytes, waits, due) = Default::default();
        self.processes.insert(number, Process { key, bytes, waits, due });
        number
    }

    fn note_bytes(&mut self, number: ProcessNumber, part: u16, bytes: u64) {
        if let Some(process) = self.processes.get_mut(&number) {
            let before = process.bytes.insert(part, bytes).unwrap_or(0);
            self.bytes = self.bytes.saturating_sub(before).saturating_add(bytes);
        }
    }
}

impl Engine {
    /// Whether a process whose first record has so many bytes may start. One that has the key already, and runs,
    /// is for the kind to look for before ([`Processes::find`]).
    pub(super) fn admit_process(&self, bytes: usize) -> Result<(), Rejection> {
        if self.stopping {
            return Err(draining("the broker stops; send again when it is back"));
        }
        if let Some(reason) = &self.store_full {
            let full = Rejection::new(RejectCode::Full, reason.as_str());
            return Err(full.retry_after(FULL_RETRY_MS));
        }
        let busy = |reason: String| {
            Err(Rejection::new(RejectCode::Busy, reason).retry_after(FULL_RETRY_MS))
        };
        let processes = &self.processes;
        if processes.processes.len() >= MAX_PROCESSES {
            return busy(format!("{MAX_PROCESSES} gathers, sagas and kept replies are there"));
        }
        let bytes = bytes as u64;
        if bytes > MAX_PROCESS_PART_BYTES as u64 {
            let reason = format!("{bytes} bytes; at most {MAX_PROCESS_PART_BYTES} are allowed");
            return Err(Rejection::new(RejectCode::TooLarge, reason));
        }
        if processes.bytes.saturating_add(bytes) > MAX_PROCESSES_BYTES_AT_START {
            return busy(format!("what runs keeps {} bytes, no more may start", processes.bytes));
        }
        Ok(())
    }

    /// Begins a process that was admitted, with part 0 of its records.
    pub(super) fn start_process(
        &mut self,
        key: ProcessKey,
        body: Bytes,
        out: &mut Effects,
    ) -> ProcessNumber {
        debug_assert!(self.processes.find(&key).is_none(), "{key:?} runs already");
        let number = self.processes.add(key);
        self.put_process(number, 0, body, out);
        number
    }

    /// Whether a process may keep so many bytes more. What it can't do without is written all the same.
    pub(super) fn has_process_room(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        bytes <= MAX_PROCESS_PART_BYTES as u64
            && self.processes.bytes.saturating_add(bytes) <= MAX_PROCESSES_BYTES
    }

    /// Keeps a part of a process, in the place of what was there.
    pub(super) fn put_process(
        &mut self,
        number: ProcessNumber,
        part: u16,
        body: Bytes,
        out: &mut Effects,
    ) {
        let Some(process) = self.processes.processes.get(&number) else { return };
        let record = ProcessRecord { key: process.key.clone(), part, body };
        self.processes.note_bytes(number, part, record.body.len() as u64);
        out.ops.push(Op::PutProcess(Box::new(record)));
    }

    /// A process is over: it waits for nothing more, and its records go.
    pub(super) fn end_process(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(process) = self.processes.processes.remove(&number) else { return };
        let Process { key, bytes, waits, due } = process;
        for place in waits {
            self.forget_waiter(number, place);
        }
        if let Some(due) = due {
            self.timers.cancel(due, Timer::ProcessDue(number));
        }
        self.processes.by_key.remove(&key);
        let bytes: u64 = bytes.values().sum();
        self.processes.bytes = self.processes.bytes.saturating_sub(bytes);
        out.ops.push(Op::RemoveProcess(key));
    }

    /// Accepts a message that a process sends, as if a producer had sent it: bounds, duplicates (told with the first
    /// one's place), dead letters and all.
    pub(super) fn process_sends(
        &mut self,
        queue: QueueName,
        content: Content,
        out: &mut Effects,
    ) -> Result<(Place, Accepted), Rejection> {
        let message = [(queue, content)];
        self.admit(&message, false)?;
        let [(queue, content)] = message;
        let (at, accepted) = self.accept_into(queue, content, out);
        self.shed(at, out);
        self.offer(at, out);
        Ok(((at, accepted.seq), accepted))
    }

    /// From now on a process waits for a message's end. If it is at its end or blocked already, that is heard in
    /// this `handle`.
    pub(super) fn process_waits(&mut self, number: ProcessNumber, place: Place) {
        let end = self.end_so_far(place);
        let Some(process) = self.processes.processes.get_mut(&number) else { return };
        if end.as_ref().is_none_or(|end| end.status == CallStatus::Blocked)
            && process.waits.insert(place)
        {
            self.processes.by_place.entry(place).or_default().push(number);
        }
        if let Some(end) = end {
            self.processes.news.push_back((number, News::End(place, end)));
        }
    }

    /// A process waits for this message no more.
    pub(super) fn process_waits_no_more(&mut self, number: ProcessNumber, place: Place) {
        if let Some(process) = self.processes.processes.get_mut(&number) {
            process.waits.remove(&place);
        }
        self.forget_waiter(number, place);
    }

    fn forget_waiter(&mut self, number: ProcessNumber, place: Place) {
        if let Some(numbers) = self.processes.by_place.get_mut(&place) {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.processes.by_place.remove(&place);
            }
        }
    }

    /// When a process is to be told that its time has come: once, in the place of what was said before.
    pub(super) fn process_due(&mut self, number: ProcessNumber, at: Option<Timestamp>) {
        let Some(process) = self.processes.processes.get_mut(&number) else { return };
        if let Some(before) = std::mem::replace(&mut process.due, at) {
            self.timers.cancel(before, Timer::ProcessDue(number));
        }
        if let Some(at) = at {
            self.timers.set(at, Timer::ProcessDue(number));
        }
    }

    /// When a process is told so.
    pub(super) fn process_due_at(&self, number: ProcessNumber) -> Option<Timestamp> {
        self.processes.processes.get(&number)?.due
    }

    /// Nobody could be heard for `ms` milliseconds: what is waited for may have come in time.
    pub(super) fn put_off_processes(&mut self, ms: u64) {
        for (&number, process) in &mut self.processes.processes {
            let Some(due) = process.due.as_mut().filter(|_| !process.waits.is_empty()) else {
                continue;
            };
            self.timers.cancel(*due, Timer::ProcessDue(number));
            *due = due.plus_ms(ms);
            self.timers.set(*due, Timer::ProcessDue(number));
        }
    }

    /// The timer of a process fired. While the broker stops nothing begins: it is due again after the start.
    pub(super) fn process_is_due(&mut self, number: ProcessNumber) {
        let Some(process) = self.processes.processes.get_mut(&number) else { return };
        process.due = None;
        if !self.stopping {
            self.processes.news.push_back((number, News::Due));
        }
    }

    /// Tells processes what they wait for; what they do then may be news for others.
    pub(super) fn run_processes(&mut self, out: &mut Effects) {
        while let Some((number, news)) = self.processes.news.pop_front() {
            let Some(process) = self.processes.processes.get(&number) else { continue };
            // What was heard before has set another time.
            if matches!(news, News::Due) && process.due.is_some() {
                continue;
            }
            match process.key.kind {
                // A kept reply waits for nothing.
                ProcessKind::Reply => {}
                ProcessKind::Gather => match news {
                    News::End(place, end) => self.gather_heard(number, place, end, out),
                    // It may be done again, and its reply comes then.
                    News::Lost(_) => {}
                    News::Due => self.gather_is_due(number, out),
                },
                ProcessKind::Saga => match news {
                    News::End(place, end) => self.saga_heard(number, place, end, out),
                    News::Lost(place) => self.saga_heard_lost(number, place, out),
                    News::Due => self.saga_due(number, out),
                },
            }
        }
    }

    /// Makes the processes again that the store has.
    pub(super) fn recover_processes(&mut self, records: Vec<ProcessRecord>) {
        let mut processes: BTreeMap<ProcessKey, ProcessParts> = BTreeMap::new();
        for ProcessRecord { key, part, body } in records {
            processes.entry(key).or_default().insert(part, body);
        }
        for (key, parts) in processes {
            let kind = key.kind;
            let number = self.processes.add(key);
            for (&part, body) in &parts {
                self.processes.note_bytes(number, part, body.len() as u64);
            }
            let is_read = match kind {
                ProcessKind::Reply => self.recover_reply(number, &parts),
                ProcessKind::Saga => self.recover_saga(number, &parts),
                ProcessKind::Gather => self.recover_gather(number, &parts),
            };
            if !is_read {
                self.processes.unreadable = self.processes.unreadable.saturating_add(1);
            }
        }
        self.order_replies();
        self.order_sagas();
        self.order_gathers();
    }
}

/// A page of the processes of a kind, each as `view` shows it: those after `after` that are `wanted`, at most `limit`, and
/// where the next page begins.
pub(super) fn page<T, V>(
    all: &BTreeMap<ProcessNumber, T>,
    (after, limit): (u64, usize),
    wanted: impl Fn(&T) -> bool,
    view: impl Fn(ProcessNumber, &T) -> V,
) -> (Vec<V>, Option<u64>) {
    let mut views = Vec::new();
    for (&number, process) in all.range(ProcessNumber(after.saturating_add(1))..) {
        if !wanted(process) {
            continue;
        }
        if views.len() == limit {
            return (views, Some(number.0.saturating_sub(1)));
        }
        views.push(view(number, process));
    }
    (views, None)
}

#[cfg(test)]
mod tests;
