//! Both doors: listeners, guards, the crate's ROUTER sockets, and what goes between them and the loop.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use zeromq::{RouterSendHalf, SocketSend, ZmqMessage};

use super::doors::{self, Doors, Main, OpenDoors};
use super::endpoint::Listener;
use super::guard::{Guard, GuardCounters, GuardSnapshot, Mint, Peers, Phase, Router};
use super::guard::{reached, wire_bytes};
use super::intake::Intake;
use super::majordomo;
use super::options::{NetError, NetOptions};
use super::plain::Common;
use super::private::{CLIENTS, PrivateDir, WORKERS, private_router};
use super::receiver::Receiver;
use super::{Inbound, Outbound, PeerId, ReplyForm};
use crate::wire::BrokerMessage;

/// Answers that wait to be encoded: a burst of one group commit fits.
const OUTBOUND_CAPACITY: usize = 4096;
/// How long answers that are out may take to leave when the broker stops.
const FLUSH: Duration = Duration::from_secs(1);
/// How long connections may take to end after that.
const END: Duration = Duration::from_millis(500);

/// The open sockets. Dropping it closes all connections at once; [`Net::shutdown`] does so in order.
#[derive(Debug)]
pub struct Net {
    clients: String,
    workers: String,
    outbound: mpsc::Sender<Outbound>,
    client_door: DoorState,
    worker_door: DoorState,
    phase: watch::Sender<Phase>,
    sender: JoinHandle<()>,
    receivers: [JoinHandle<()>; 2],
    guards: [JoinHandle<()>; 2],
    doors: Doors,
    door_tasks: JoinSet<()>,
    door_peers: Vec<Arc<Peers>>,
    all_ended: mpsc::Receiver<()>,
    /// The private sockets' folder, removed with this.
    _private: PrivateDir,
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
pub(super) struct DoorState {
    pub(super) peers: Arc<Peers>,
    pub(super) counters: Arc<GuardCounters>,
}

/// Opens both doors. What comes in goes to `inbound`, as decoded requests; while it is full, nothing is
/// read and TCP holds the peers back. Tasks run on the current runtime.
pub async fn bind(options: NetOptions, inbound: mpsc::Sender<Inbound>) -> Result<Net, NetError> {
    let limits = &options.limits;
    let client_listener = Listener::bind("listen.clients", &options.clients).await?;
    let worker_listener = Listener::bind("listen.workers", &options.workers).await?;
    let private = PrivateDir::make(options.run_dir.clone())?;
    let (client_path, client_router) = private_router(&private, CLIENTS).await?;
    let (worker_path, worker_router) = private_router(&private, WORKERS).await?;
    let bound = |door: &str, endpoint: &str, listener: &Listener| {
        listener.address().map_err(|source| NetError::Bind {
            door: door.to_owned(),
            endpoint: endpoint.to_owned(),
            source,
        })
    };
    let clients = bound("listen.clients", &options.clients, &client_listener)?;
    let workers = bound("listen.workers", &options.workers, &worker_listener)?;

    let (phase, phase_seen) = watch::channel(Phase::Open);
    let (alive, all_ended) = mpsc::channel(1);
    let (outbound, to_send) = mpsc::channel(OUTBOUND_CAPACITY);
    let door = |unsent| DoorState {
        peers: Arc::new(Peers::new(limits, unsent)),
        counters: Arc::default(),
    };
    let client_door = door(limits.client_unsent_bytes);
    let worker_door = door(limits.worker_unsent_bytes);
    let mint = Mint::new();
    let guard = |state: &DoorState, private, gone| Guard {
        limits: limits.clone(),
        counters: state.counters.clone(),
        peers: state.peers.clone(),
        mint: mint.clone(),
        inside: Router { private, inbound: inbound.clone(), gone },
        phase: phase_seen.clone(),
        alive: alive.clone(),
    };
    let client_guard = guard(&client_door, client_path, |peer| Inbound::ClientGone { peer });
    let worker_guard = guard(&worker_door, worker_path, |peer| Inbound::WorkerGone { peer });
    let guards = [
        tokio::spawn(client_guard.run(client_listener)),
        tokio::spawn(worker_guard.run(worker_listener)),
    ];

    let common = Common { mint: mint.clone(), phase: phase_seen.clone(), alive: alive.clone() };
    let main = [
        Main { name: "clients", endpoint: &clients, counters: client_door.counters.clone() },
        Main { name: "workers", endpoint: &workers, counters: worker_door.counters.clone() },
    ];
    let others = doors::open(&options, &common, &mint, &inbound, main).await?;
    let OpenDoors { doors, pulls, tasks, sockets } = others;

    let (client_send, client_recv) = client_router.split();
    let (worker_send, worker_recv) = worker_router.split();
    let receiver = |state: &DoorState| Receiver {
        state: state.clone(),
        intake: Intake::new(inbound.clone()),
        outbound: outbound.clone(),
        new_message_id: options.new_message_id,
    };
    let receivers = [
        tokio::spawn(receiver(&client_door).clients(client_recv)),
        tokio::spawn(receiver(&worker_door).workers(worker_recv)),
    ];
    let sender = Sender {
        clients: (client_door.peers.clone(), client_send),
        workers: (worker_door.peers.clone(), worker_send),
        pulls,
    };
    let sender = tokio::spawn(sender.run(to_send, phase_seen));
    Ok(Net {
        clients,
        workers,
        outbound,
        client_door,
        worker_door,
        phase,
        sender,
        receivers,
        guards,
        doors,
        door_tasks: tasks,
        door_peers: sockets,
        all_ended,
        _private: private,
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

    /// Takes what is to be sent. A message to a peer that is gone is dropped; a peer for which too much
    /// waits is cut off, and `ClientGone` or `WorkerGone` follows. Never waits for a peer: a full channel
    /// means only that encoding is behind.
    pub fn outbound(&self) -> mpsc::Sender<Outbound> {
        self.outbound.clone()
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
        let Self { sender, receivers: [clients, workers], guards: [client, worker], .. } = self;
        let door_tasks = &mut self.door_tasks;
        tokio::select! {
            Some(_) = door_tasks.join_next() => {}
            _ = sender => {}
            _ = clients => {}
            _ = workers => {}
            _ = client => {}
            _ = worker => {}
        }
    }

    /// Stops: no new connections, no further requests; what was given to [`Net::outbound`] before this
    /// call still leaves, for at most a second; then all connections end. Takes at most two seconds.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        for receiver in &self.receivers {
            receiver.abort();
        }
        let flushed = async {
            // A panic of the sender is as good as its end; nothing more can leave.
            if !self.sender.is_finished() {
                let _ = (&mut self.sender).await;
            }
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

impl Drop for Net {
    fn drop(&mut self) {
        // The others see that the phase's sender is gone; these wait for the crate alone.
        for receiver in &self.receivers {
            receiver.abort();
        }
    }
}

/// The way out of both doors.
struct Sender {
    clients: (Arc<Peers>, RouterSendHalf),
    workers: (Arc<Peers>, RouterSendHalf),
    /// Workers that are doors.
    pulls: HashMap<PeerId, mpsc::Sender<BrokerMessage>>,
}

impl Sender {
    /// Sends until the broker stops, and then what was given before.
    async fn run(
        mut self,
        mut to_send: mpsc::Receiver<Outbound>,
        mut phase: watch::Receiver<Phase>,
    ) {
        loop {
            tokio::select! {
                outbound = to_send.recv() => match outbound {
                    Some(outbound) => self.send(outbound).await,
                    None => return,
                },
                () = reached(&mut phase, Phase::Draining) => break,
            }
        }
        to_send.close();
        while let Some(outbound) = to_send.recv().await {
            self.send(outbound).await;
        }
    }

    async fn send(&mut self, outbound: Outbound) {
        let (door, id, delimited, frames) = match outbound {
            Outbound::Client { peer, reply_form, reply } => {
                let (delimited, frames) = match reply_form {
                    ReplyForm::Plain => (false, Some(reply.encode())),
                    ReplyForm::Delimited => (true, Some(reply.encode())),
                    ReplyForm::Majordomo(form) => (form.delimited(), form.encode(&reply)),
                };
                let Some(frames) = frames else { return };
                (&mut self.clients, peer, delimited, frames)
            }
            Outbound::Served { peer, form, is_served } => {
                (&mut self.clients, peer, form.delimited(), form.encode_served(is_served))
            }
            Outbound::Frames { peer, delimited, frames } => {
                (&mut self.clients, peer, delimited, frames)
            }
            Outbound::Worker { peer, message } if self.pulls.contains_key(&peer) => {
                return self.pull(peer, message);
            }
            Outbound::Worker { peer, message } => {
                let door = &mut self.workers;
                let known = door.0.get(peer);
                let delimited = known.as_ref().is_some_and(|peer| peer.delimited());
                let version = known.as_ref().and_then(|peer| Some((peer, peer.majordomo()?)));
                let frames = match version {
                    Some((peer, version)) => majordomo::to_worker(peer, version, &message),
                    None => Some(message.encode()),
                };
                let Some(frames) = frames else { return };
                (door, peer, delimited, frames)
            }
        };
        let (peers, router) = door;
        let mut envelope = VecDeque::with_capacity(frames.len() + 2);
        envelope.push_back(Bytes::copy_from_slice(&id.0.to_be_bytes()));
        if delimited {
            envelope.push_back(Bytes::new());
        }
        envelope.extend(frames);
        let bytes = wire_bytes(envelope.iter().skip(1).map(Bytes::len));
        if !peers.charge(id, bytes) {
            return;
        }
        let message = ZmqMessage::try_from(envelope).expect("an envelope has an identity");
        // Does not wait: `charge` keeps the crate's queue for this peer far from full.
        if router.send(message).await.is_err()
            && let Some(peer) = peers.get(id)
        {
            peers.discharge(&peer, bytes, 1);
        }
    }
}

impl Sender {
    /// To a worker that is a door.
    fn pull(&self, peer: PeerId, message: BrokerMessage) {
        if let Some(door) = self.pulls.get(&peer)
            && door.try_send(message).is_err()
        {
            tracing::warn!("a pull door doesn't take what it is told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_that_broke_down_is_noticed() {
        for break_down in [
            |net: &Net| net.receivers[1].abort(),
            |net: &Net| net.sender.abort(),
            |net: &Net| net.guards[0].abort(),
        ] {
            let (inbound, _requests) = mpsc::channel(1);
            let anywhere = "tcp://127.0.0.1:0";
            let mut net = bind(NetOptions::new(anywhere, anywhere), inbound).await.unwrap();
            break_down(&net);
            timeout(Duration::from_secs(10), net.broken()).await.expect("noticed");
            net.shutdown().await;
        }
    }
}
