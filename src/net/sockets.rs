//! Both doors: listeners, guards, and what goes between them and the loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Inbound;
use super::admission::DoorAuth;
use super::doors::{self, Doors, Main, OpenDoors};
use super::endpoint::listen;
use super::guard::{Guard, GuardCounters, GuardSnapshot, Mint, Peers, Phase};
use super::intake::Intake;
use super::options::{NetError, NetLimits, NetOptions};
use super::plain::Common;
use super::router::{Router, Side};
use super::sender::Sender;

/// How long answers that are out may take to leave when the broker stops.
const FLUSH: Duration = Duration::from_secs(1);
/// How long connections may take to end after that.
const END: Duration = Duration::from_millis(500);

/// The open sockets. Dropping it closes all connections at once; [`Net::shutdown`] does so in order.
#[derive(Debug)]
pub struct Net {
    clients: String,
    workers: String,
    sender: Sender,
    client_door: DoorState,
    worker_door: DoorState,
    phase: watch::Sender<Phase>,
    guards: [JoinHandle<()>; 2],
    doors: Doors,
    door_tasks: JoinSet<()>,
    door_peers: Vec<Arc<Peers>>,
    all_ended: mpsc::Receiver<()>,
}

/// Counts of both doors at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetSnapshot {
    /// The clients'.
    pub clients: GuardSnapshot,
    /// The workers'.
    pub workers: GuardSnapshot,
}

/// What is known of one door.
#[derive(Debug, Clone)]
struct DoorState {
    peers: Arc<Peers>,
    counters: Arc<GuardCounters>,
}

impl DoorState {
    /// `unsent` is what may wait for one peer, in bytes.
    fn new(limits: &NetLimits, unsent: u64) -> Self {
        Self { peers: Arc::new(Peers::new(limits, unsent)), counters: Arc::default() }
    }
}

/// Opens both doors. What comes in goes to `inbound`, as decoded requests; while it is full, nothing is
/// read and TCP holds the peers back. Tasks run on the current runtime.
pub async fn bind(options: NetOptions, inbound: mpsc::Sender<Inbound>) -> Result<Net, NetError> {
    let limits = &options.limits;
    let (client_listener, clients) = listen("listen.clients", &options.clients).await?;
    let (worker_listener, workers) = listen("listen.workers", &options.workers).await?;

    let (phase, phase_seen) = watch::channel(Phase::Open);
    let (alive, all_ended) = mpsc::channel(1);
    let client_door = DoorState::new(limits, limits.client_unsent_bytes);
    let worker_door = DoorState::new(limits, limits.worker_unsent_bytes);
    let common = Common { mint: Mint::new(), phase: phase_seen, alive };
    let main = [
        Main { name: "clients", endpoint: &clients, counters: client_door.counters.clone() },
        Main { name: "workers", endpoint: &workers, counters: worker_door.counters.clone() },
    ];
    let others = doors::open(&options, &common, &inbound, main).await?;
    let OpenDoors { doors, pulls, tasks, sockets } = others;

    let sender = Sender::new(client_door.peers.clone(), worker_door.peers.clone(), pulls);
    let guard = |side, state: &DoorState, auth: &Option<DoorAuth>| Guard {
        limits: limits.clone(),
        counters: state.counters.clone(),
        peers: state.peers.clone(),
        mint: common.mint.clone(),
        inside: Router {
            side,
            intake: Intake::new(inbound.clone()),
            sender: sender.clone(),
            counters: state.counters.clone(),
            auth: auth.clone(),
            checks: options.checks.clone(),
            new_message_id: options.new_message_id,
        },
        auth: auth.clone(),
        phase: common.phase.clone(),
        alive: common.alive.clone(),
    };
    let guards = [
        tokio::spawn(guard(Side::Clients, &client_door, &options.client_auth).run(client_listener)),
        tokio::spawn(guard(Side::Workers, &worker_door, &options.worker_auth).run(worker_listener)),
    ];
    Ok(Net {
        clients,
        workers,
        sender,
        client_door,
        worker_door,
        phase,
        guards,
        doors,
        door_tasks: tasks,
        door_peers: sockets,
        all_ended,
    })
}

impl Net {
    /// Where clients connect, with the port that was taken.
    pub fn client_endpoint(&self) -> &str {
        &self.clients
    }

    /// Where workers connect, with the port that was taken.
    pub fn worker_endpoint(&self) -> &str {
        &self.workers
    }

    /// What takes what is to be sent.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The other doors.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// What has been seen and refused so far.
    pub fn counters(&self) -> NetSnapshot {
        NetSnapshot {
            clients: self.client_door.counters.snapshot(),
            workers: self.worker_door.counters.snapshot(),
        }
    }

    /// The counters themselves (clients', workers'), for metrics that outlive a borrow of this.
    pub fn counter_handles(&self) -> (Arc<GuardCounters>, Arc<GuardCounters>) {
        (self.client_door.counters.clone(), self.worker_door.counters.clone())
    }

    /// Waits until a part of this has broken down, which only a bug can do: a door is dead then, and the
    /// broker must not look alive. Cancel safe; not after [`Net::shutdown`].
    pub async fn broken(&mut self) {
        let Self { guards: [client, worker], door_tasks, .. } = self;
        tokio::select! {
            Some(_) = door_tasks.join_next() => {}
            _ = client => {}
            _ = worker => {}
        }
    }

    /// Stops: no new connections, no further requests; what was given to [`Net::sender`] before this
    /// call still leaves, for at most a second; then all connections end. Takes at most two seconds.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        let flushed = async {
            self.client_door.peers.all_sent().await;
            self.worker_door.peers.all_sent().await;
            for peers in &self.door_peers {
                peers.all_sent().await;
            }
        };
        if timeout(FLUSH, flushed).await.is_err() {
            tracing::warn!("some answers had not left when the broker stopped");
        }
        self.phase.send_replace(Phase::Closed);
        if timeout(END, self.all_ended.recv()).await.is_err() {
            tracing::warn!("some connections had not ended when the broker stopped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_that_broke_down_is_noticed() {
        for door in [0, 1] {
            let (inbound, _requests) = mpsc::channel(1);
            let anywhere = "tcp://127.0.0.1:0";
            let mut net = bind(NetOptions::new(anywhere, anywhere), inbound).await.unwrap();
            net.guards[door].abort();
            timeout(Duration::from_secs(10), net.broken()).await.expect("noticed");
            net.shutdown().await;
        }
    }
}
