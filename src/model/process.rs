//! Processes: what goes on longer than one message, and is kept by the store until it is over.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::ProcessId;

/// What a process is. Its order is the order in which processes are recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessKind {
    /// A scatter-gather that waits for parts.
    Gather,
    /// A reply that is kept for a caller that comes back.
    Reply,
    /// A saga.
    Saga,
}

/// Which process: unique until it is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// What it is.
    pub kind: ProcessKind,
    /// Unique in its kind.
    pub id: ProcessId,
}

/// A part of what the store keeps of a process. Part 0 is always there; further ones are for what is large and
/// doesn't change, so that it is not written anew with each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRecord {
    /// Whose.
    pub key: ProcessKey,
    /// Which part of it.
    pub part: u16,
    /// Bytes of the kind's own form, which say its version; at most `limits::MAX_PROCESS_PART_BYTES`.
    pub body: Bytes,
}

/// The parts of a process, by number.
pub type ProcessParts = BTreeMap<u16, Bytes>;

/// The records of processes.
pub(crate) fn process_records(
    processes: &BTreeMap<ProcessKey, ProcessParts>,
) -> Vec<ProcessRecord> {
    let of = |(key, parts): (&ProcessKey, &ProcessParts)| -> Vec<ProcessRecord> {
        let record = |(&part, body): (&u16, &Bytes)| {
            let (key, body) = (key.clone(), body.clone());
            ProcessRecord { key, part, body }
        };
        parts.iter().map(record).collect()
    };
    processes.iter().flat_map(of).collect()
}
