//! The engine and what is around it, as a question of the handle sees it.

use std::path::PathBuf;
use std::sync::Arc;

use super::figures::DiskLook;
use crate::engine::Engine;
use crate::model::{Overview, SpanCounts, StoreHealth, Timestamp};
use crate::net::Doors;

/// What doesn't change while the broker runs.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) started_at: Timestamp,
    pub(super) data_dir: String,
    /// The store's folder, if it has one.
    pub(super) store_dir: Option<PathBuf>,
    pub(super) disk_look: DiskLook,
    pub(super) clients: String,
    pub(super) workers: String,
    pub(super) doors: Doors,
    /// Absent if nothing is traced.
    pub(super) spans: Option<Arc<SpanCounts>>,
}

/// The engine and what is around it, as a question sees it.
pub(super) struct View<'a> {
    pub(super) engine: &'a Engine,
    pub(super) now: Timestamp,
    pub(super) health: StoreHealth,
    pub(super) facts: &'a Facts,
}

impl View<'_> {
    pub(super) fn overview(&self) -> Overview {
        let counts = self.engine.counts();
        Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            generation: self.engine.generation(),
            started_at: self.facts.started_at,
            now: self.now,
            data_dir: self.facts.data_dir.clone(),
            clients: self.facts.clients.clone(),
            workers: self.facts.workers.clone(),
            store: self.health.clone(),
            queue_count: counts.queues,
            blocked_count: counts.blocked,
            worker_count: counts.workers,
            stale_answers: counts.stale,
            late_replies: counts.late_replies,
            gathers: counts.gathers,
            unreadable_processes: counts.unreadable_processes,
            late_parts: counts.late_parts,
        }
    }
}
