//! Keeps pools of worker processes running.
//!
//! Each process leads a process group and has a mark of its own (`worker/process/`), under which all that it starts is found: when it
//! has ended, by whatever cause, nothing of it runs any more before its place is filled again. One that ends by itself is
//! started again after a pause that grows; when too many have ended in too short a time, the pool is given up.

mod output;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::pool::Pool;
use self::process::Ended;
use super::process::{Launcher, Mark};
use crate::model::limits::MAX_POOL_COUNT;
use crate::model::{Hidden, PoolAct, PoolError, PoolView, QueueName, WorkerPool};

/// How processes are run.
#[derive(Debug, Clone)]
pub struct SupervisorOptions {
    /// What knows the command `worker`, and becomes what it is told (`worker/process/`): `mubroker`.
    pub program: PathBuf,
    /// The same, as it is started to become something else.
    pub launcher: PathBuf,
    /// Where workers connect.
    pub endpoint: String,
    /// What workers show in HELLO, where the broker asks for a token.
    pub token: Option<Hidden>,
    /// The DogStatsD address that workers are told; none if empty.
    pub datadog: String,
    /// How long processes may take to end when all are stopped; a pool's own grace if that is shorter.
    pub stop_limit: Duration,
    /// Spreads pauses.
    pub seed: u64,
}

/// What a supervisor is asked.
#[derive(Debug)]
pub enum SupervisorRequest {
    /// How pools are, all of them if none is named; after an act, if one is given.
    Pools {
        /// Which; the name of one of its processes' workers stands for that process alone.
        name: Option<String>,
        /// What to do to it.
        act: Option<PoolAct>,
        /// Told when it has begun, not when it is done.
        answer: oneshot::Sender<Result<Vec<PoolView>, PoolError>>,
    },
    /// The process with this `spawn_id` doesn't do its work: it is ended, and counts as one that ended by itself.
    End {
        /// Which.
        spawn_id: String,
        /// For people.
        why: String,
    },
    /// Everything ends.
    Stop {
        /// Told when nothing runs any more.
        done: oneshot::Sender<()>,
    },
}

/// What happens to supervised processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorEvent {
    /// A process runs.
    Started {
        /// The worker's name.
        worker: String,
        /// Its process.
        pid: u32,
    },
    /// A process ended by itself, or could not be started.
    Exited {
        /// The worker's name.
        worker: String,
        /// How.
        how: String,
        /// When it is started again, in milliseconds; not any more if absent.
        again_in_ms: Option<u64>,
    },
    /// Too many have ended: nothing is started any more.
    GivenUp {
        /// The pool.
        pool: String,
        /// What it serves.
        queues: Vec<QueueName>,
        /// How many have ended.
        restarts: usize,
        /// In how long, in milliseconds.
        within_ms: u64,
        /// How the last one ended.
        how: String,
    },
}

/// Keeps the pools' processes running until it is told to stop, or nobody can tell it anything any more. Must run on a thread that lasts: what is
/// started ends with it.
pub async fn supervise(
    options: SupervisorOptions,
    pools: Vec<WorkerPool>,
    mut requests: mpsc::Receiver<SupervisorRequest>,
    observe: impl FnMut(SupervisorEvent),
) -> io::Result<()> {
    let launcher = Launcher::with_mark(&options.launcher, Mark::unique())?;
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let pools = pools.into_iter().map(|spec| {
        let pool = Pool::new(spec, rng.fork());
        (pool.name().to_owned(), pool)
    });
    let mut supervisor = Supervisor {
        pools: pools.collect(),
        processes: JoinSet::new(),
        launcher,
        observe,
        options,
    };
    let stop = loop {
        supervisor.start_due();
        let due = supervisor.pools.values().filter_map(Pool::next_due).min();
        tokio::select! {
            request = requests.recv() => match request {
                Some(SupervisorRequest::Pools { name, act, answer }) => {
                    // Who asked may have gone away.
                    let _gone = answer.send(supervisor.pools(name.as_deref(), act));
                }
                Some(SupervisorRequest::End { spawn_id, why }) => supervisor.end(&spawn_id, &why),
                Some(SupervisorRequest::Stop { done }) => break Some(done),
                None => break None,
            },
            Some(ended) = supervisor.processes.join_next() => {
                supervisor.ended(ended.expect("a process' task doesn't panic, and none is aborted"));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    };
    supervisor.stop().await;
    if let Some(done) = stop {
        let _gone = done.send(());
    }
    Ok(())
}

struct Supervisor<O> {
    options: SupervisorOptions,
    launcher: Launcher,
    pools: BTreeMap<String, Pool>,
    processes: JoinSet<Ended>,
    observe: O,
}

impl<O: FnMut(SupervisorEvent)> Supervisor<O> {
    fn start_due(&mut self) {
        let now = Instant::now();
        for pool in self.pools.values_mut() {
            for place in pool.due(now) {
                if !pool.is_due(place, now) {
                    // One before it couldn't be started, and the pool was given up.
                    continue;
                }
                let launcher = self.launcher.below(&pool.mark_of(place));
                let worker = pool.worker_of(place);
                let command = pool.command(&worker, &launcher, &self.options);
                let started = process::start(pool.name(), place, command, launcher, worker.clone());
                match started {
                    Ok((process, task)) => {
                        let pid = process.pid;
                        (self.observe)(SupervisorEvent::Started { worker, pid });
                        pool.started(place, process, now);
                        self.processes.spawn(task);
                    }
                    Err(error) => {
                        let how = format!("it can't be started: {error}");
                        let events = pool.ended(place, &how, Duration::ZERO, now);
                        events.into_iter().for_each(&mut self.observe);
                    }
                }
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { pool, place, how, ran } = ended;
        if let Some(pool) = self.pools.get_mut(&pool) {
            let events = pool.ended(place, &how, ran, Instant::now());
            events.into_iter().for_each(&mut self.observe);
        }
    }

    fn pools(
        &mut self,
        name: Option<&str>,
        act: Option<PoolAct>,
    ) -> Result<Vec<PoolView>, PoolError> {
        let now = Instant::now();
        let Some(name) = name else {
            return Ok(self.pools.values().map(|pool| pool.view(now)).collect());
        };
        if let Some(pool) = self.pools.get_mut(name) {
            match act {
                Some(PoolAct::Scale(count)) if count > MAX_POOL_COUNT => {
                    return Err(PoolError::TooMany { count });
                }
                Some(act) => pool.act(act, now),
                None => {}
            }
            return Ok(vec![pool.view(now)]);
        }
        let place = |pool: &Pool| pool.place_of(name);
        let found = self.pools.values_mut().find_map(|pool| Some((place(pool)?, pool)));
        match (found, act) {
            (Some((_, pool)), Some(PoolAct::Scale(_))) => {
                Err(PoolError::NoPool { name: name.to_owned(), pool: pool.name().to_owned() })
            }
            (Some((place, pool)), act) => {
                pool.act_on(place, act, now);
                Ok(vec![pool.view(now)])
            }
            (None, _) => {
                let known = self.pools.keys().cloned().collect();
                Err(PoolError::NoSuchPool { name: name.to_owned(), known })
            }
        }
    }

    fn end(&mut self, spawn_id: &str, why: &str) {
        for pool in self.pools.values_mut() {
            pool.end(spawn_id, why);
        }
    }

    async fn stop(&mut self) {
        for pool in self.pools.values_mut() {
            pool.stop(self.options.stop_limit);
        }
        while self.processes.join_next().await.is_some() {}
    }
}

/// Words of a command line.
fn words(text: &[String]) -> Vec<OsString> {
    text.iter().map(OsString::from).collect()
}
