//! Puts what was looked at into metrics.

use super::Looked;
use super::exposition::{Exposition, Metric, decimal};
use super::names::*;
use super::process::Process;
use crate::model::{
    DoorView, Figures, HistogramView, MessageState, PoolView, ProcessState, QueueFigures,
    QueueState, StoreHealth, StoreMeasures, Timestamp, Totals,
};

const NANOS: u64 = 1_000_000_000;
const MICROS: u64 = 1_000_000;
const MILLIS: u64 = 1_000;

/// A metric, and where its value is.
type Row<T> = (&'static Metric, fn(&T) -> u64);

/// All queues together.
#[derive(Debug, Default)]
pub(super) struct Sums {
    messages: [u64; MESSAGE_STATES.len()],
    bytes: u64,
    oldest_at: Option<Timestamp>,
    states: [u64; QUEUE_STATES.len()],
    hidden: u64,
}

const QUEUE_STATES: [QueueState; 4] =
    [QueueState::Running, QueueState::Paused, QueueState::Blocked, QueueState::Draining];

impl Sums {
    pub(super) fn add(&mut self, queue: &QueueFigures, is_shown: bool) {
        for (sum, (_, count)) in self.messages.iter_mut().zip(by_state(queue)) {
            *sum = sum.saturating_add(count);
        }
        self.bytes = self.bytes.saturating_add(queue.bytes);
        self.oldest_at = self.oldest_at.into_iter().chain(queue.oldest_at).min();
        for (sum, state) in self.states.iter_mut().zip(QUEUE_STATES) {
            *sum += u64::from(queue.state == state);
        }
        self.hidden += u64::from(!is_shown);
    }
}

const MESSAGE_STATES: [MessageState; 5] = [
    MessageState::Ready,
    MessageState::Leased,
    MessageState::Waiting,
    MessageState::Scheduled,
    MessageState::Blocked,
];

fn by_state(queue: &QueueFigures) -> impl Iterator<Item = (&'static str, u64)> {
    let QueueFigures { ready, leased, waiting, scheduled, blocked, .. } = *queue;
    let counts = [ready, leased, waiting, scheduled, blocked];
    MESSAGE_STATES.into_iter().map(MessageState::as_str).zip(counts)
}

/// The whole page.
pub(super) fn write(looked: &Looked) -> String {
    let mut out = Exposition::default();
    let Looked { figures, disk, pools, queues, sums, process } = looked;
    let now = figures.overview.now;
    out.begin(&BUILD).put(&[("version", &figures.overview.version)], 1);
    store(&mut out, figures);
    if let Some(disk) = disk {
        out.begin(&STORE_BYTES).put(&[], disk.store_bytes);
        out.begin(&DISK_FREE).put(&[], disk.free_bytes);
        out.begin(&DISK_SIZE).put(&[], disk.total_bytes);
    }
    measures(&mut out, &figures.store);
    totals(&mut out, figures);
    all_queues(&mut out, sums, now);
    each_queue(&mut out, queues, now);
    workers(&mut out, figures, pools);
    out.begin(&GATHERS).put(&[], figures.overview.gathers);
    doors(&mut out, &figures.doors);
    out.begin(&SPANS_EXPORTED).put(&[], figures.spans.exported);
    out.begin(&SPANS_DROPPED).put(&[], figures.spans.dropped);
    own_process(&mut out, process, figures.overview.started_at);
    out.into_text()
}

fn store(out: &mut Exposition, figures: &Figures) {
    let state = &figures.overview.store;
    let mut values = out.begin(&STORE_STATE);
    for (name, is_it) in [
        ("ok", matches!(state, StoreHealth::Ok)),
        ("full", matches!(state, StoreHealth::Full { .. })),
        ("unavailable", matches!(state, StoreHealth::Unavailable { .. })),
    ] {
        values.put(&[("state", name)], u64::from(is_it));
    }
}

fn measures(out: &mut Exposition, store: &StoreMeasures) {
    let rows: [(&Metric, &HistogramView, u64); 4] = [
        (&COMMIT, &store.commit_nanos, NANOS),
        (&SYNC, &store.sync_nanos, NANOS),
        (&COMMIT_OPS, &store.batch_ops, 1),
        (&COMMIT_BYTES, &store.batch_bytes, 1),
    ];
    for (metric, view, unit) in rows {
        out.begin(metric).histogram(view, unit);
    }
}

fn totals(out: &mut Exposition, figures: &Figures) {
    let Totals { accepted, redelivered, done, failed, duplicates, dead_lettered, dropped, resent } =
        figures.totals;
    for (metric, value) in [
        (&ACCEPTED, accepted),
        (&DELIVERED, figures.delivered),
        (&REDELIVERED, redelivered),
        (&ACKED, done),
        (&FAILED, failed),
        (&DEDUPLICATED, duplicates),
        (&DEAD_LETTERED, dead_lettered),
        (&DROPPED, dropped),
        (&RESENT, resent),
        (&STALE, figures.overview.stale_answers),
        (&LATE, figures.overview.late_replies),
    ] {
        out.begin(metric).put(&[], value);
    }
}

fn all_queues(out: &mut Exposition, sums: &Sums, now: Timestamp) {
    let mut values = out.begin(&MESSAGES);
    for (state, sum) in MESSAGE_STATES.into_iter().zip(sums.messages) {
        values.put(&[("state", state.as_str())], sum);
    }
    out.begin(&MESSAGES_BYTES).put(&[], sums.bytes);
    out.begin(&OLDEST).put(&[], age(sums.oldest_at, now));
    let mut values = out.begin(&QUEUES);
    for (state, sum) in QUEUE_STATES.into_iter().zip(sums.states) {
        values.put(&[("state", state.as_str())], sum);
    }
    out.begin(&HIDDEN).put(&[], sums.hidden);
}

fn each_queue(out: &mut Exposition, queues: &[QueueFigures], now: Timestamp) {
    let mut values = out.begin(&QUEUE_MESSAGES);
    for queue in queues {
        for (state, count) in by_state(queue) {
            values.put(&[("queue", queue.name.as_str()), ("state", state)], count);
        }
    }
    let mut values = out.begin(&QUEUE_OLDEST);
    for queue in queues {
        values.put(&[("queue", queue.name.as_str())], age(queue.oldest_at, now));
    }
    let rows: [Row<QueueFigures>; 10] = [
        (&QUEUE_BYTES, |queue| queue.bytes),
        (&QUEUE_PAUSED, |queue| u64::from(queue.is_paused)),
        (&QUEUE_WORKERS, |queue| queue.workers),
        (&QUEUE_ACCEPTED, |queue| queue.totals.accepted),
        (&QUEUE_REDELIVERED, |queue| queue.totals.redelivered),
        (&QUEUE_ACKED, |queue| queue.totals.done),
        (&QUEUE_FAILED, |queue| queue.totals.failed),
        (&QUEUE_DEDUPLICATED, |queue| queue.totals.duplicates),
        (&QUEUE_DEAD_LETTERED, |queue| queue.totals.dead_lettered),
        (&QUEUE_DROPPED, |queue| queue.totals.dropped),
    ];
    for (metric, value) in rows {
        let mut values = out.begin(metric);
        for queue in queues {
            values.put(&[("queue", queue.name.as_str())], value(queue));
        }
    }
}

fn workers(out: &mut Exposition, figures: &Figures, pools: &[PoolView]) {
    let mut values = out.begin(&WORKERS);
    for (state, count) in &figures.workers {
        values.put(&[("state", state.as_str())], count);
    }
    let states = [
        ProcessState::Running,
        ProcessState::Waiting,
        ProcessState::Stopping,
        ProcessState::Drained,
    ];
    let mut values = out.begin(&POOL_PROCESSES);
    for pool in pools {
        for state in states {
            let count = pool.processes.iter().filter(|process| process.state == state).count();
            values.put(&[("pool", &pool.name), ("state", state.as_str())], count);
        }
    }
    let mut values = out.begin(&POOL_WANTED);
    for pool in pools {
        values.put(&[("pool", &pool.name)], pool.count);
    }
    let mut values = out.begin(&POOL_RESTARTS);
    for pool in pools {
        values.put(&[("pool", &pool.name)], pool.restarts);
    }
}

fn doors(out: &mut Exposition, doors: &[DoorView]) {
    let rows: [Row<DoorView>; 6] = [
        (&CONNECTIONS, |door| door.connections),
        (&CONNECTED, |door| door.accepted),
        (&BYTES_IN, |door| door.bytes_in),
        (&BYTES_OUT, |door| door.bytes_out),
        (&LOST, |door| door.lost),
        (&NOT_TAKEN, |door| door.refused),
    ];
    for (metric, value) in rows {
        let mut values = out.begin(metric);
        for door in doors {
            values.put(&[("door", &door.name)], value(door));
        }
    }
    let mut values = out.begin(&REFUSED);
    for door in doors {
        for (reason, count) in &door.cut_off_for {
            values.put(&[("door", &door.name), ("reason", reason)], count);
        }
    }
}

fn own_process(out: &mut Exposition, process: &Process, started_at: Timestamp) {
    if let Some(micros) = process.cpu_micros {
        out.begin(&CPU).put(&[], decimal(micros, MICROS));
    }
    for (metric, value) in [
        (&RESIDENT, process.resident_bytes),
        (&OPEN_FILES, process.open_files),
        (&MAX_FILES, process.max_files),
    ] {
        if let Some(value) = value {
            out.begin(metric).put(&[], value);
        }
    }
    out.begin(&STARTED).put(&[], decimal(started_at.0, MILLIS));
}

fn age(oldest_at: Option<Timestamp>, now: Timestamp) -> String {
    decimal(oldest_at.map_or(0, |at| now.since_ms(at)), MILLIS)
}
