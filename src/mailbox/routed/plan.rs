//! Which part of a batch goes where, worked out before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use crate::mailbox::memory::{Load, MemoryMailbox};
use crate::mailbox::{Durable, Elsewhere};
use crate::model::limits::DEFAULT_MEMORY_BYTES;
use crate::model::{Batch, MailboxKind, Op, QueueId, QueueRecord, QueueSettings, Seq};

/// Places of a queue in RAM that one durable write sets aside: after a restart the queue goes on behind them, so
/// that no place is used twice, though the messages are gone. One write for so many messages.
const PLACES_AHEAD: u64 = 10_000;

/// Where a queue's next message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// In RAM.
    Memory,
    /// In RAM while nothing waits in the durable part and fewer than so many in RAM.
    Mixed { messages: u32 },
    /// In the durable part.
    Durable,
}

impl Keeping {
    pub(super) fn of(settings: &QueueSettings) -> Self {
        match settings.mailbox {
            MailboxKind::Memory => Self::Memory,
            MailboxKind::Mixed => Self::Mixed {
                messages: u32::try_from(settings.memory_messages).unwrap_or(u32::MAX),
            },
            MailboxKind::File | MailboxKind::Redis => Self::Durable,
        }
    }

    /// Whether a part of the queue may be in RAM.
    pub(super) fn uses_memory(self) -> bool {
        match self {
            Self::Memory | Self::Mixed { .. } => true,
            Self::Durable => false,
        }
    }
}

/// What is known of a queue between two batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    pub(super) keeping: Keeping,
    /// The place that the next message gets.
    pub(super) next: Seq,
    /// Places below have been set aside durably, or are used there.
    pub(super) reserved: Seq,
    /// Messages that wait in the durable part.
    pub(super) durable: u64,
}

impl Home {
    /// Whether a message that waits may be in the durable part.
    pub(super) fn may_be_durable(&self) -> bool {
        self.durable > 0 || !self.keeping.uses_memory()
    }
}

/// A queue while a batch is taken apart.
#[derive(Debug)]
struct Touched {
    home: Home,
    /// What waits in RAM, with what the batch has done so far.
    ram: Load,
    /// Nothing of it is in RAM with this batch.
    is_durable: bool,
    /// The durable store must be told how far places are set aside.
    says_next: bool,
    has_durable_ops: bool,
    is_removed: bool,
}

impl Touched {
    fn new(home: Home, ram: Load) -> Self {
        let (is_durable, says_next, has_durable_ops, is_removed) = Default::default();
        Self { home, ram, is_durable, says_next, has_durable_ops, is_removed }
    }

    fn takes_into_memory(&self, size: u64) -> bool {
        match self.home.keeping {
            Keeping::Memory => true,
            Keeping::Durable => false,
            Keeping::Mixed { messages } => {
                self.home.durable == 0
                    && self.ram.messages < u64::from(messages)
                    && self.ram.bytes.saturating_add(size) <= DEFAULT_MEMORY_BYTES
            }
        }
    }
}

/// A batch, taken apart.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) durable: Batch,
    pub(super) elsewhere: BTreeMap<QueueId, Elsewhere>,
    pub(super) memory: Vec<Op>,
    /// Queues whose part in RAM is in `durable` now, or removed with it.
    pub(super) moved: Vec<QueueId>,
    pub(super) removed: Vec<QueueId>,
    /// What is known of the batch's queues after it.
    pub(super) homes: Vec<(QueueId, Home)>,
}

/// Takes a batch apart.
pub(super) struct Planner<'a> {
    memory: &'a MemoryMailbox,
    durable: &'a dyn Durable,
    homes: &'a BTreeMap<QueueId, Home>,
    touched: BTreeMap<QueueId, Touched>,
    new_in_memory: BTreeSet<(QueueId, Seq)>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        memory: &'a MemoryMailbox,
        durable: &'a dyn Durable,
        homes: &'a BTreeMap<QueueId, Home>,
    ) -> Self {
        let (touched, new_in_memory, plan) = Default::default();
        Self { memory, durable, homes, touched, new_in_memory, plan }
    }

    /// `batch` is checked: its queues and messages are there.
    pub(super) fn plan(mut self, batch: &Batch) -> Plan {
        self.move_out(batch);
        batch.ops.iter().for_each(|op| self.take(op));
        let Self { touched, mut plan, .. } = self;
        for (queue, touched) in touched {
            if touched.is_removed {
                plan.removed.push(queue);
                continue;
            }
            if touched.has_durable_ops || touched.says_next {
                let next = touched.says_next.then_some(touched.home.reserved);
                plan.elsewhere.insert(queue, Elsewhere { first: touched.ram.first, next });
            }
            plan.homes.push((queue, touched.home));
        }
        plan
    }

    /// A queue that is durable after the batch is so from its beginning: what it has in RAM is moved first, and
    /// what the batch does to it is done there.
    fn move_out(&mut self, batch: &Batch) {
        let mut last: BTreeMap<QueueId, &QueueRecord> = BTreeMap::new();
        for op in &batch.ops {
            if let Op::PutQueue(record) = op {
                last.insert(record.id, record);
            }
        }
        last.retain(|_, record| !Keeping::of(&record.settings).uses_memory());
        for queue in last.into_keys() {
            let touched = self.touched(queue);
            touched.is_durable = true;
            let keeping = std::mem::replace(&mut touched.home.keeping, Keeping::Durable);
            if !keeping.uses_memory() {
                continue;
            }
            touched.home.durable += touched.ram.messages;
            touched.ram = Load::default();
            touched.has_durable_ops = true;
            touched.say_end();
            self.plan.durable.ops.extend(self.memory.as_ops(queue));
            self.plan.moved.push(queue);
        }
    }

    fn take(&mut self, op: &Op) {
        match op {
            Op::PutQueue(record) => self.put_queue(record),
            Op::RemoveQueue { queue, .. } => {
                let touched = self.touched(*queue);
                touched.is_removed = true;
                if touched.home.keeping.uses_memory() {
                    self.plan.moved.push(*queue);
                }
                self.push_durable(*queue, op);
            }
            Op::Append { queue, seq, content, entry, .. } => {
                // What is in a stream already waits there.
                let to_memory = entry.is_none();
                self.append(op, *queue, *seq, content.size_bytes(), to_memory);
            }
            Op::PutRecord { queue, seq, .. } | Op::PutRevision { queue, seq, .. } => {
                if self.is_in_memory(*queue, *seq) {
                    self.plan.memory.push(op.clone());
                } else {
                    self.push_durable(*queue, op);
                }
            }
            Op::Finish { queue, seq, .. } => {
                if self.is_in_memory(*queue, *seq) {
                    let ram = &mut self.touched(*queue).ram;
                    ram.messages = ram.messages.saturating_sub(1);
                    self.plan.memory.push(op.clone());
                } else {
                    let home = &mut self.touched(*queue).home;
                    home.durable = home.durable.saturating_sub(1);
                    self.push_durable(*queue, op);
                }
            }
            Op::PassEntry { queue, .. } | Op::PutNote { queue, .. } => {
                self.push_durable(*queue, op);
            }
            Op::Journal(_)
            | Op::PutRepair(_)
            | Op::PutSubscription(_)
            | Op::RemoveSubscription { .. }
            | Op::PutProcess(_)
            | Op::RemoveProcess(_) => self.plan.durable.ops.push(op.clone()),
        }
    }

    /// The record goes to the durable store, and to RAM if the queue has a part there.
    fn put_queue(&mut self, record: &QueueRecord) {
        let keeping = Keeping::of(&record.settings);
        let touched = self.touched(record.id);
        touched.home.next = touched.home.next.max(record.first);
        if !touched.is_durable {
            touched.home.keeping = keeping;
        }
        if touched.home.keeping.uses_memory() {
            self.plan.memory.push(Op::PutQueue(Box::new(record.clone())));
        }
        self.plan.durable.ops.push(Op::PutQueue(Box::new(record.clone())));
    }

    fn append(&mut self, op: &Op, queue: QueueId, seq: Seq, size: u64, may_be_in_memory: bool) {
        let touched = self.touched(queue);
        touched.home.next = seq.next();
        if !may_be_in_memory || !touched.takes_into_memory(size) {
            touched.home.durable += 1;
            touched.say_end();
            self.push_durable(queue, op);
            return;
        }
        touched.ram.messages += 1;
        touched.ram.bytes = touched.ram.bytes.saturating_add(size);
        touched.ram.first = touched.ram.first.or(Some(seq));
        if seq >= touched.home.reserved {
            touched.home.reserved = Seq(seq.0.saturating_add(PLACES_AHEAD));
            touched.says_next = true;
        }
        self.new_in_memory.insert((queue, seq));
        self.plan.memory.push(op.clone());
    }

    fn push_durable(&mut self, queue: QueueId, op: &Op) {
        self.touched(queue).has_durable_ops = true;
        self.plan.durable.ops.push(op.clone());
    }

    fn is_in_memory(&mut self, queue: QueueId, seq: Seq) -> bool {
        let touched = self.touched(queue);
        !touched.is_durable
            && touched.ram.first.is_some()
            && (touched.home.durable == 0
                || self.new_in_memory.contains(&(queue, seq))
                || self.memory.has(queue, seq))
    }

    fn touched(&mut self, queue: QueueId) -> &mut Touched {
        self.touched.entry(queue).or_insert_with(|| {
            let unused = || Home {
                keeping: Keeping::Durable,
                next: Seq(1),
                reserved: Seq(0),
                durable: self.durable.waiting(queue),
            };
            let home = self.homes.get(&queue).copied().unwrap_or_else(unused);
            let ram =
                if home.keeping.uses_memory() { self.memory.load(queue) } else { Load::default() };
            Touched::new(home, ram)
        })
    }
}

impl Touched {
    /// What comes now is in the durable store itself, so nothing is set aside beyond it.
    fn say_end(&mut self) {
        if self.home.reserved > self.home.next {
            self.home.reserved = self.home.next;
            self.says_next = true;
        }
    }
}
