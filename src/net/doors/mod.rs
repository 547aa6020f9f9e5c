//! The doors beside clients' and workers': PUSH, PUB, SUB and PULL peers (protocol.md, "Other doors").
//!
//! `push` and `feed` take what nobody is answered for, and stop taking while the broker can't keep it: TCP holds a PUSH
//! back, a PUB drops (ZeroMQ's rule). `live` tells subscribers what is published and what happens; nothing of it is
//! kept, and who is slow loses it. A `pull` door is a worker of its queue inside the broker: what it is given is done
//! with that, and goes to one sink.

mod intake;
mod pull;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::intake::Intaking;
use self::pull::PullDoor;
use super::frames::Wire;
use super::guard::GuardCounters;
use super::options::{NetError, NetLimits, NetOptions};
use super::plain::{self, Common, Links, Opened, Pattern, Taker};
use super::{Inbound, PeerId, proxies};
use crate::model::{BrokerEvent, Content, DoorView, TopicName};
use crate::wire::BrokerMessage;

/// What stands before the type of a broker event in its live topic. No topic's name may have a `$`.
const EVENTS: &str = "$events.";
/// What has come in and waits to be read, for each door.
const WAITING_MESSAGES: usize = 256;
const WAITING_BYTES: usize = 48 * 1024 * 1024;
/// What waits for one peer: for a subscriber, seconds of a busy topic; for a sink, little, since it is lost with it.
const SUBSCRIBER_MESSAGES: u64 = 10_000;
const SUBSCRIBER_BYTES: u64 = 16 * 1024 * 1024;
const SINK_MESSAGES: u64 = 100;
const SINK_BYTES: u64 = 1024 * 1024;
/// What waits for all peers of a door together.
const TOTAL_BYTES: u64 = 128 * 1024 * 1024;
/// Large messages that are under way from all peers of a door together: two of the largest.
const INCOMING_BYTES: usize = 64 * 1024 * 1024;
/// Connections of a door: each may have a thousand subscriptions.
const CONNECTIONS: usize = 1024;

/// A door that takes what nobody is answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// PUSH clients' envelopes.
    Push,
    /// What PUB sockets of others publish.
    Feed,
}

impl Door {
    /// Its word in settings, lists and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Feed => "feed",
        }
    }
}

/// What the broker's loop holds of the doors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Doors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taking: watch::Sender<bool>,
    live: Option<Arc<Links>>,
    rows: Vec<Row>,
    refused: [AtomicU64; 2],
}

/// A socket, for lists.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) pattern: &'static str,
    pub(super) endpoint: String,
    pub(super) counters: Arc<GuardCounters>,
    pub(super) links: Option<Arc<Links>>,
    /// Messages that came in.
    pub(super) received: Arc<AtomicU64>,
    pub(super) refused: Option<Door>,
}

impl Default for Doors {
    /// None.
    fn default() -> Self {
        let taking = watch::Sender::new(true);
        let refused = Default::default();
        Self(Arc::new(Shared { taking, live: None, rows: Vec::new(), refused }))
    }
}

impl Doors {
    /// Whether `push` and `feed` take anything now. What has come in already still arrives.
    pub fn take(&self, taking: bool) {
        self.0.taking.send_if_modified(|now| std::mem::replace(now, taking) != taking);
    }

    /// Whether they take anything now.
    pub fn takes(&self) -> bool {
        *self.0.taking.borrow()
    }

    /// What came by this door was refused.
    pub fn refused(&self, door: Door) {
        self.0.refused[door as usize].fetch_add(1, Relaxed);
    }

    /// Tells subscribers an event of a topic: topic, header, payload.
    pub fn publish(&self, topic: &TopicName, content: &Content) {
        let Some(live) = &self.0.live else { return };
        live.publish(topic.as_str().as_bytes(), || {
            let topic = Bytes::copy_from_slice(topic.as_str().as_bytes());
            Wire::of(&[topic, content.header.json().clone(), content.payload.clone()])
        });
    }

    /// Tells subscribers what happened: `$events.`, its type, `.` and its queue if it has one; then the event.
    pub fn tell(&self, event: &BrokerEvent) {
        let Some(live) = &self.0.live else { return };
        let mut topic = format!("{EVENTS}{}", event.what.kind());
        if let Some(queue) = event.what.queue() {
            topic.push('.');
            topic.push_str(queue.as_str());
        }
        live.publish(topic.as_bytes(), || {
            let event = serde_json::to_vec(event).expect("an event is plain data");
            Wire::of(&[Bytes::from(topic.clone()), Bytes::from(event)])
        });
    }

    /// Each door with its counts.
    pub fn views(&self) -> Vec<DoorView> {
        let refused = |door: Door| self.0.refused[door as usize].load(Relaxed);
        let view = |row: &Row| {
            let guard = row.counters.snapshot();
            DoorView {
                name: row.name.clone(),
                pattern: row.pattern.to_owned(),
                endpoint: row.endpoint.clone(),
                connections: guard.open,
                received: row.received.load(Relaxed),
                sent: row.links.as_ref().map_or(0, |links| links.sent()),
                lost: row.links.as_ref().map_or(0, |links| links.lost()),
                refused: row
                    .refused
                    .map_or(0, refused)
                    .saturating_add(guard.undecodable)
                    .saturating_add(guard.forbidden),
                bytes_in: guard.bytes_in,
                bytes_out: guard.bytes_out,
                cut_off: guard.refused.iter().map(|(_, count)| count).sum(),
                accepted: guard.accepted,
                cut_off_for: guard
                    .refused
                    .iter()
                    .map(|(reason, count)| (reason.as_str().to_owned(), *count))
                    .collect(),
            }
        };
        self.0.rows.iter().map(view).collect()
    }
}

/// The doors' sockets and tasks.
pub(super) struct OpenDoors {
    pub(super) doors: Doors,
    /// Workers that are doors.
    pub(super) pulls: HashMap<PeerId, mpsc::Sender<BrokerMessage>>,
    /// One that ends before the broker stops has broken down.
    pub(super) tasks: JoinSet<()>,
    /// What waits for their peers.
    pub(super) sockets: Vec<Arc<super::guard::Peers>>,
}

/// Bounds of a socket whose peers may have so much waiting.
pub(super) fn limits(of: &NetLimits, messages: u64, bytes: u64) -> NetLimits {
    NetLimits {
        connections: of.connections.min(CONNECTIONS),
        connections_per_address: of.connections_per_address.min(CONNECTIONS),
        unsent_messages: messages,
        client_unsent_bytes: bytes,
        total_unsent_bytes: of.total_unsent_bytes.min(TOTAL_BYTES),
        incoming_bytes: of.incoming_bytes.min(INCOMING_BYTES),
        ..of.clone()
    }
}

/// The two doors that are always there, for lists.
pub(super) struct Main<'a> {
    pub(super) name: &'static str,
    pub(super) endpoint: &'a str,
    pub(super) counters: Arc<GuardCounters>,
}

/// Opens the doors that are configured.
pub(super) async fn open(
    options: &NetOptions,
    common: &Common,
    inbound: &mpsc::Sender<Inbound>,
    main: [Main<'_>; 2],
) -> Result<OpenDoors, NetError> {
    let taking = watch::Sender::new(true);
    let mut opening = Opening {
        options,
        common,
        rows: main.map(Row::of_main).into(),
        pulls: HashMap::new(),
        tasks: JoinSet::new(),
        sockets: Vec::new(),
    };
    let asked = &options.doors;
    if let Some(endpoint) = &asked.push {
        opening.take(Door::Push, endpoint, taking.subscribe(), inbound).await?;
    }
    let live = match &asked.live {
        Some(endpoint) => Some(opening.live(endpoint).await?),
        None => None,
    };
    if let Some(endpoint) = &asked.feed {
        opening.take(Door::Feed, endpoint, taking.subscribe(), inbound).await?;
    }
    for (queue, endpoint) in &asked.pulls {
        let name = format!("pull {queue}");
        let setting = format!("listen.pull.{queue}");
        let limits = limits(&options.limits, SINK_MESSAGES, SINK_BYTES);
        let opened = plain::open(&setting, endpoint, Pattern::Push, limits, None, common).await?;
        let peer = common.mint.next();
        let (door, messages) = PullDoor::new(peer, queue.clone(), &opened, inbound.clone());
        opening.pulls.insert(peer, messages);
        opening.tasks.spawn(door.run(common.phase.clone()));
        opening.add(name, "PUSH", opened, None);
    }
    let Opening { mut rows, pulls, mut tasks, sockets, .. } = opening;
    if !options.proxies.is_empty() {
        let (of_proxies, ended) = proxies::start(options, common).await?;
        rows.extend(of_proxies);
        tasks.spawn(ended);
    }
    let refused = Default::default();
    let doors = Doors(Arc::new(Shared { taking, live, rows, refused }));
    Ok(OpenDoors { doors, pulls, tasks, sockets })
}

struct Opening<'a> {
    options: &'a NetOptions,
    common: &'a Common,
    rows: Vec<Row>,
    pulls: HashMap<PeerId, mpsc::Sender<BrokerMessage>>,
    tasks: JoinSet<()>,
    sockets: Vec<Arc<super::guard::Peers>>,
}

impl Row {
    fn of_main(main: Main<'_>) -> Self {
        Self {
            name: main.name.to_owned(),
            pattern: "ROUTER",
            endpoint: main.endpoint.to_owned(),
            counters: main.counters,
            links: None,
            received: Arc::default(),
            refused: None,
        }
    }
}

impl Opening<'_> {
    async fn take(
        &mut self,
        door: Door,
        endpoint: &str,
        taking: watch::Receiver<bool>,
        inbound: &mpsc::Sender<Inbound>,
    ) -> Result<(), NetError> {
        let (pattern, word, setting) = match door {
            Door::Push => (Pattern::Pull, "PULL", "listen.push"),
            Door::Feed => (Pattern::XSub, "XSUB", "listen.feed"),
        };
        let (taker, parcels) = Taker::new(WAITING_MESSAGES, WAITING_BYTES, taking);
        let limits = limits(&self.options.limits, SINK_MESSAGES, SINK_BYTES);
        let opened =
            plain::open(setting, endpoint, pattern, limits, Some(taker), self.common).await?;
        let received = Arc::<AtomicU64>::default();
        let intaking = Intaking {
            door,
            received: Arc::clone(&received),
            inbound: inbound.clone(),
            checks: self.options.checks.clone(),
            new_message_id: self.options.new_message_id,
        };
        let phase = self.common.phase.clone();
        self.tasks.spawn(intaking.run(parcels, phase));
        self.add(door.as_str().to_owned(), word, opened, Some((door, received)));
        Ok(())
    }

    async fn live(&mut self, endpoint: &str) -> Result<Arc<Links>, NetError> {
        let limits = limits(&self.options.limits, SUBSCRIBER_MESSAGES, SUBSCRIBER_BYTES);
        let opened =
            plain::open("listen.live", endpoint, Pattern::XPub, limits, None, self.common).await?;
        let links = Arc::clone(&opened.links);
        self.add("live".to_owned(), "XPUB", opened, None);
        Ok(links)
    }

    fn add(
        &mut self,
        name: String,
        pattern: &'static str,
        opened: Opened,
        takes: Option<(Door, Arc<AtomicU64>)>,
    ) {
        let Opened { endpoint, links, peers, counters, guard } = opened;
        let (refused, received) = takes.unzip();
        let received = received.unwrap_or_default();
        let links = Some(links);
        self.rows.push(Row { name, pattern, endpoint, counters, links, received, refused });
        self.sockets.push(peers);
        self.tasks.spawn(async move {
            // Its panic ends this too, which is noticed.
            let _ = guard.await;
        });
    }
}
