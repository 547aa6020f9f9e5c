//! Workers that the broker supervises.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ids::QueueName;
use super::state::as_str;

/// `[workers."name"]`: what is kept running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPool {
    /// Its name.
    pub name: String,
    /// What it serves, at least one.
    pub queues: Vec<QueueName>,
    /// What does the work.
    pub by: WorkedBy,
    /// How many processes.
    pub count: u32,
    /// How many messages each takes at once.
    pub credit: u32,
    /// How long one message may take, in milliseconds.
    pub max_execution_ms: u64,
    /// How long a message that has taken too long is let end by itself, in milliseconds.
    pub overrun_grace_ms: u64,
    /// How long running messages may still take when a process is told to stop, in milliseconds.
    pub stop_grace_ms: u64,
    /// Variables beside the broker's own.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the broker's own folder if absent.
    pub cwd: Option<PathBuf>,
    /// Whether each process answers health checks, on a free port of the loopback address.
    pub health: bool,
    /// When one that has ended is started again, and when no more.
    pub restart: RestartPolicy,
}

/// What does the work of a supervised worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkedBy {
    /// A command once a message.
    Exec(Vec<String>),
    /// A command that stays, and whether its frames are lengths instead of lines.
    Stdio(Vec<String>, bool),
    /// A URL.
    Http(String),
    /// A worker of its own that speaks MUB1.
    Command(Vec<String>),
}

/// When a process that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// The first pause, in milliseconds; doubles each time, half of it at random.
    pub backoff_initial_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_max_ms: u64,
    /// More ends than this …
    pub max_restarts: u32,
    /// … within so many milliseconds, over all processes of the pool, and it is given up.
    pub within_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { backoff_initial_ms: 500, backoff_max_ms: 30_000, max_restarts: 5, within_ms: 60_000 }
    }
}

/// What an operator does to a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolAct {
    /// Each process ends what it has and is started anew, also if the pool was given up.
    Restart,
    /// Each process ends what it has, and none is started again until `restart` or `scale`.
    Drain,
    /// So many processes from now on, until the broker stops.
    Scale(u32),
}

/// How a pool is.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolState {
    /// Its processes are kept running.
    Running,
    /// An operator has drained it.
    Drained,
    /// Its processes ended too often; nothing is started any more.
    GivenUp,
}

/// A pool as it is shown.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// What it serves.
    pub queues: Vec<QueueName>,
    /// How it is.
    pub state: PoolState,
    /// How many processes there are to be.
    pub count: u32,
    /// How often processes have ended by themselves since the broker started.
    pub restarts: u64,
    /// How the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// Its processes.
    pub processes: Vec<PoolProcess>,
}

/// A process of a pool.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolProcess {
    /// The name under which its worker is known.
    pub worker: String,
    /// What its worker says as its `spawn_id`; absent while it doesn't run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_id: Option<String>,
    /// Its process id; absent while it doesn't run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it does.
    pub state: ProcessState,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

/// What a process of a pool does.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It has ended, and is started again after a pause.
    Waiting,
    /// It was told to end.
    Stopping,
    /// An operator has drained it: it has ended, and isn't started again until he restarts it.
    Drained,
}

as_str!(PoolState { Running => "running", Drained => "drained", GivenUp => "given-up" });
as_str!(ProcessState { Running => "running", Waiting => "waiting", Stopping => "stopping", Drained => "drained" });

/// Why an operator's act on a pool is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No pool has this name.
    #[error("there is no supervised worker {name:?}; {}", those_known(.known))]
    NoSuchPool {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It is one process of a pool, and only a pool has a number of them.
    #[error("{name} is one process of {pool}; give the number of {pool}")]
    NoPool {
        /// As it was asked for.
        name: String,
        /// Whose process it is.
        pool: String,
    },
    /// More processes than a pool may have.
    #[error(
        "{count} processes are too many; up to {} can be supervised in a pool",
        super::limits::MAX_POOL_COUNT
    )]
    TooMany {
        /// As it was asked for.
        count: u32,
    },
}

fn those_known(names: &[String]) -> String {
    if names.is_empty() {
        return "the configuration has no [workers.\"name\"]".to_owned();
    }
    format!("there are {}", names.join(", "))
}
