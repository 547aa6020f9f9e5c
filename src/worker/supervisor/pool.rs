//! A pool's places, and when a process is started in which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::process::Process;
use super::{SupervisorEvent, SupervisorOptions, words};
use crate::model::{
    Hidden, PoolAct, PoolProcess, PoolState, PoolView, ProcessState, WorkedBy, WorkerPool,
};
use crate::worker::process::{KILL_GRACE, Launcher, TOKEN};

/// Beyond the grace that a worker gives its messages: its BYE, and its handlers' end.
const STOP_SLACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Pool {
    spec: WorkerPool,
    state: PoolState,
    /// How many places are to be filled.
    count: u32,
    places: BTreeMap<u32, Place>,
    /// Places that an operator has drained: they stay empty until he says otherwise.
    drained: BTreeSet<u32>,
    /// When processes ended by themselves, those of the last `within_ms`.
    ends: VecDeque<Instant>,
    restarts: u64,
    last_exit: Option<String>,
    /// Starts so far: no two processes have the same mark.
    starts: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Place {
    phase: Phase,
    since: Instant,
    /// Ends in a row that came soon after the start.
    failures: u32,
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Instant },
    Running(Process),
    Stopping(Process),
    Drained,
}

impl Pool {
    pub(super) fn new(spec: WorkerPool, rng: fastrand::Rng) -> Self {
        let mut pool = Self {
            count: spec.count,
            state: PoolState::Running,
            places: BTreeMap::new(),
            drained: BTreeSet::new(),
            ends: VecDeque::new(),
            restarts: 0,
            last_exit: None,
            starts: 0,
            spec,
            rng,
        };
        pool.fill(Instant::now());
        pool
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// What a process in a place is marked by, beside the supervisor's own mark.
    pub(super) fn mark_of(&mut self, place: u32) -> String {
        self.starts += 1;
        // A dot would make it stand below another pool's; and no two pools' names may become the same.
        let name = self.spec.name.replace('_', "_0").replace('.', "_1");
        format!("{name}-{place}.{}", self.starts)
    }

    /// The name under which a place's worker is known.
    pub(super) fn worker_of(&self, place: u32) -> String {
        match (self.spec.count, place) {
            (0 | 1, 0) => self.spec.name.clone(),
            _ => format!("{}-{place}", self.spec.name),
        }
    }

    pub(super) fn command(
        &self,
        worker: &str,
        launcher: &Launcher,
        options: &SupervisorOptions,
    ) -> Command {
        let line = match &self.spec.by {
            WorkedBy::Command(line) => words(line),
            WorkedBy::Exec(_) | WorkedBy::Stdio(..) | WorkedBy::Http(_) => {
                self.worker_line(worker, options)
            }
        };
        let (program, arguments) = line.split_first().expect("a pool's command has a program");
        let mut command = launcher.command(program, arguments);
        command
            .env("MUBROKER_WORKERS", &options.endpoint)
            .env("MUBROKER_WORKER_NAME", worker)
            .env_remove(TOKEN)
            .envs(&self.spec.env);
        if let Some(Hidden(token)) = &options.token {
            command.env(TOKEN, token);
        }
        if let Some(cwd) = &self.spec.cwd {
            command.current_dir(cwd);
        }
        command
    }

    /// `mubroker worker …`
    fn worker_line(&self, worker: &str, options: &SupervisorOptions) -> Vec<OsString> {
        let spec = &self.spec;
        let mut line = vec![options.program.clone().into_os_string(), "worker".into()];
        for queue in &spec.queues {
            line.extend(["--queue".into(), queue.as_str().into()]);
        }
        for (flag, value) in [
            ("--broker", options.endpoint.clone()),
            ("--name", worker.to_owned()),
            ("--credit", spec.credit.to_string()),
            ("--max-execution-ms", spec.max_execution_ms.to_string()),
            ("--overrun-grace-ms", spec.overrun_grace_ms.to_string()),
            ("--stop-grace-ms", spec.stop_grace_ms.to_string()),
        ] {
            line.extend([flag.into(), value.into()]);
        }
        if !options.datadog.is_empty() {
            line.extend(["--datadog".into(), options.datadog.clone().into()]);
        }
        if spec.health {
            line.push("--health".into());
        }
        let (flag, rest): (&str, Vec<OsString>) = match &spec.by {
            WorkedBy::Exec(command) | WorkedBy::Command(command) => {
                line.push("--show-stderr".into());
                ("--exec", words(command))
            }
            WorkedBy::Stdio(command, by_length) => {
                if *by_length {
                    line.extend(["--framing".into(), "length".into()]);
                }
                ("--stdio", words(command))
            }
            WorkedBy::Http(url) => ("--http", vec![url.into()]),
        };
        line.push(flag.into());
        line.extend(rest);
        line
    }

    /// Places without a process get one, those that are too many are told to end.
    fn fill(&mut self, now: Instant) {
        let wanted = match self.state {
            PoolState::Running => self.count,
            PoolState::Drained | PoolState::GivenUp => 0,
        };
        for place in 0..wanted {
            let phase = match self.drained.contains(&place) {
                true => Phase::Drained,
                false => Phase::Waiting { until: now },
            };
            let new = Place { phase, since: now, failures: 0 };
            self.places.entry(place).or_insert(new);
        }
        let too_many: Vec<u32> = self.places.range(wanted..).map(|(&place, _)| place).collect();
        for place in too_many {
            self.stop_place(place, now, "it isn't wanted any more");
        }
    }

    /// One that runs is told to end; one that waits isn't there any more.
    fn stop_place(&mut self, at: u32, now: Instant, why: &str) {
        let grace = self.grace();
        let Some(place) = self.places.remove(&at) else { return };
        match place.phase {
            Phase::Waiting { .. } | Phase::Drained => {}
            Phase::Running(mut process) => {
                process.stop(why, grace);
                let phase = Phase::Stopping(process);
                self.places.insert(at, Place { phase, since: now, failures: 0 });
            }
            Phase::Stopping(_) => {
                self.places.insert(at, place);
            }
        }
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.spec.stop_grace_ms) + STOP_SLACK
    }

    /// Places in which a process is to be started now.
    pub(super) fn due(&self, now: Instant) -> Vec<u32> {
        self.places.keys().copied().filter(|&at| self.is_due(at, now)).collect()
    }

    pub(super) fn is_due(&self, at: u32, now: Instant) -> bool {
        let phase = self.places.get(&at).map(|place| &place.phase);
        matches!(phase, Some(Phase::Waiting { until }) if *until <= now)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let until = |place: &Place| match place.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Running(_) | Phase::Stopping(_) | Phase::Drained => None,
        };
        self.places.values().filter_map(until).min()
    }

    pub(super) fn started(&mut self, at: u32, process: Process, now: Instant) {
        if let Some(place) = self.places.get_mut(&at) {
            place.phase = Phase::Running(process);
            place.since = now;
        }
    }

    /// A place's process has ended, or could not be started.
    pub(super) fn ended(
        &mut self,
        at: u32,
        how: &str,
        ran: Duration,
        now: Instant,
    ) -> Vec<SupervisorEvent> {
        let worker = self.worker_of(at);
        let Some(mut place) = self.places.remove(&at) else { return Vec::new() };
        if let Phase::Stopping(_) = place.phase {
            self.fill(now);
            return Vec::new();
        }
        self.restarts += 1;
        self.last_exit = Some(how.to_owned());
        let policy = self.spec.restart;
        let within = Duration::from_millis(policy.within_ms);
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|&end| now.duration_since(end) > within) {
            self.ends.pop_front();
        }
        let how = how.to_owned();
        if self.ends.len() > usize::try_from(policy.max_restarts).unwrap_or(usize::MAX) {
            self.state = PoolState::GivenUp;
            self.fill(now);
            let given_up = SupervisorEvent::GivenUp {
                pool: self.spec.name.clone(),
                queues: self.spec.queues.clone(),
                restarts: self.ends.len(),
                within_ms: policy.within_ms,
                how: how.clone(),
            };
            return vec![SupervisorEvent::Exited { worker, how, again_in_ms: None }, given_up];
        }
        place.failures = if ran >= within { 0 } else { place.failures.saturating_add(1) };
        let pause = self.pause(place.failures);
        place.phase = Phase::Waiting { until: now + pause };
        place.since = now;
        self.places.insert(at, place);
        let again_in_ms = u64::try_from(pause.as_millis()).ok();
        vec![SupervisorEvent::Exited { worker, how, again_in_ms }]
    }

    fn pause(&mut self, failures: u32) -> Duration {
        let policy = self.spec.restart;
        let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        let most = policy.backoff_max_ms.max(policy.backoff_initial_ms);
        let pause = policy.backoff_initial_ms.saturating_mul(doubled).min(most);
        Duration::from_millis(pause).mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    pub(super) fn act(&mut self, act: PoolAct, now: Instant) {
        match act {
            PoolAct::Restart => {
                self.begin_anew();
                let all: Vec<u32> = self.places.keys().copied().collect();
                for place in all {
                    self.stop_place(place, now, "it is restarted");
                }
            }
            PoolAct::Drain => self.state = PoolState::Drained,
            PoolAct::Scale(count) => {
                self.begin_anew();
                self.count = count;
            }
        }
        self.fill(now);
    }

    fn begin_anew(&mut self) {
        self.state = PoolState::Running;
        self.ends.clear();
        self.drained.clear();
        self.places.retain(|_, place| !matches!(place.phase, Phase::Drained));
    }

    /// The place whose worker has this name.
    pub(super) fn place_of(&self, worker: &str) -> Option<u32> {
        self.places.keys().copied().find(|&at| self.worker_of(at) == worker)
    }

    /// Drains one place, or fills it anew. What its worker had is ended in the usual way, and no loss.
    pub(super) fn act_on(&mut self, at: u32, act: Option<PoolAct>, now: Instant) {
        let why = match act {
            Some(PoolAct::Drain) => {
                self.drained.insert(at);
                "it is drained"
            }
            Some(PoolAct::Restart) => {
                self.drained.remove(&at);
                "it is restarted"
            }
            Some(PoolAct::Scale(_)) | None => return,
        };
        self.stop_place(at, now, why);
        self.fill(now);
    }

    /// Ends a process that doesn't do its work. What becomes of its place is as if it had ended by itself.
    pub(super) fn end(&mut self, spawn_id: &str, why: &str) {
        for place in self.places.values_mut() {
            match &mut place.phase {
                Phase::Running(process) if process.spawn_id == spawn_id => {
                    process.stop(why, KILL_GRACE);
                }
                Phase::Running(_) | Phase::Waiting { .. } | Phase::Stopping(_) | Phase::Drained => {
                }
            }
        }
    }

    /// Ends all, for good.
    pub(super) fn stop(&mut self, limit: Duration) {
        let grace = limit.min(self.grace());
        self.state = PoolState::Drained;
        for (_, place) in std::mem::take(&mut self.places) {
            match place.phase {
                Phase::Running(mut process) | Phase::Stopping(mut process) => {
                    process.stop("the broker stops", grace);
                }
                Phase::Waiting { .. } | Phase::Drained => {}
            }
        }
    }

    pub(super) fn view(&self, now: Instant) -> PoolView {
        let processes = self.places.iter().map(|(&at, place)| {
            let (state, process) = match &place.phase {
                Phase::Waiting { .. } => (ProcessState::Waiting, None),
                Phase::Running(process) => (ProcessState::Running, Some(process)),
                Phase::Stopping(process) => (ProcessState::Stopping, Some(process)),
                Phase::Drained => (ProcessState::Drained, None),
            };
            let for_ms = now.duration_since(place.since).as_millis();
            PoolProcess {
                worker: self.worker_of(at),
                spawn_id: process.map(|process| process.spawn_id.clone()),
                pid: process.map(|process| process.pid),
                state,
                for_ms: u64::try_from(for_ms).unwrap_or(u64::MAX),
            }
        });
        PoolView {
            name: self.spec.name.clone(),
            queues: self.spec.queues.clone(),
            state: self.state,
            count: self.count,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            processes: processes.collect(),
        }
    }
}

#[cfg(test)]
mod tests;
