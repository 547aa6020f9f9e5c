//! Plain devices between two endpoints (`[[proxy]]`): forwarder, shared queue, streamer.
//!
//! They have nothing to do with queues and the store: what passes is not kept. They run on a thread of their own, so that
//! their traffic doesn't hold up the broker's loop. Everything that waits has a bound: a forwarder's subscriber loses what is
//! beyond, a queue's and a streamer's peers wait, and so do those who send to them.
//!
//! What is captured goes to SUB sockets: a first frame `NAME.in` or `NAME.out` (towards the backend, or back), then the
//! message's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::PeerId;
use super::doors::{Row, limits};
use super::frames::Wire;
use super::guard::{Phase, reached};
use super::options::{NetError, NetLimits, NetOptions};
use super::plain::{self, Common, Links, Parcel, Pattern, Taker};
use crate::model::{Proxy, ProxyKind};

/// What has come in at one end and waits to be passed on.
const WAITING_MESSAGES: usize = 256;
const WAITING_BYTES: usize = 40 * 1024 * 1024;
/// What waits for one peer: of a publisher's, seconds; of those that share work, little, so that it goes to who is free.
const SUBSCRIBER_MESSAGES: u64 = 10_000;
const SHARED_MESSAGES: u64 = 100;
const PEER_BYTES: u64 = 16 * 1024 * 1024;

/// Opens all proxies on a thread of theirs: their sockets for lists, and what ends with them.
pub(super) async fn start(
    options: &NetOptions,
    common: &Common,
) -> Result<(Vec<Row>, impl Future<Output = ()> + Send + 'static), NetError> {
    let (opened, is_open) = oneshot::channel();
    let (running, ended) = oneshot::channel::<()>();
    let (proxies, limits, common) =
        (options.proxies.clone(), options.limits.clone(), common.clone());
    let work = move || {
        // Dropped with the thread, however it ends.
        let _running = running;
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(NetError::Thread(error)))),
        };
        runtime.block_on(run(proxies, limits, common, opened));
    };
    std::thread::Builder::new().name("proxies".to_owned()).spawn(work).map_err(NetError::Thread)?;
    let stopped = || NetError::Thread(std::io::Error::other("the thread ended at its start"));
    let rows = is_open.await.map_err(|_| stopped())??;
    Ok((rows, async move { drop(ended.await) }))
}

async fn run(
    proxies: Vec<Proxy>,
    limits: NetLimits,
    common: Common,
    opened: oneshot::Sender<Result<Vec<Row>, NetError>>,
) {
    // Always open: what can't be passed on waits by itself.
    let (_gate, open) = watch::channel(true);
    let mut opening = Opening { limits, common: &common, open, rows: Vec::new() };
    let mut devices = tokio::task::JoinSet::new();
    for proxy in &proxies {
        match opening.device(proxy).await {
            Ok(device) => drop(devices.spawn(device.run())),
            Err(error) => return drop(opened.send(Err(error))),
        }
    }
    if opened.send(Ok(opening.rows)).is_err() {
        return;
    }
    let mut phase = common.phase.clone();
    tokio::select! {
        _ = devices.join_next() => tracing::error!("a proxy broke down"),
        () = reached(&mut phase, Phase::Closed) => {}
    }
}

struct Opening<'a> {
    limits: NetLimits,
    common: &'a Common,
    open: watch::Receiver<bool>,
    rows: Vec<Row>,
}

/// One end of a device.
struct End {
    links: Arc<Links>,
    parcels: mpsc::Receiver<Parcel>,
    received: Arc<AtomicU64>,
}

struct Device {
    kind: ProxyKind,
    name: String,
    front: End,
    back: End,
    capture: Option<Arc<Links>>,
}

impl Opening<'_> {
    async fn device(&mut self, proxy: &Proxy) -> Result<Device, NetError> {
        let Proxy { name, kind, frontend, backend, capture } = proxy;
        let (front, back) = match kind {
            ProxyKind::Forwarder => (Pattern::XSub, Pattern::XPub),
            ProxyKind::Queue => (Pattern::Router, Pattern::Dealer),
            ProxyKind::Streamer => (Pattern::Pull, Pattern::Push),
        };
        let front = self.end(name, "frontend", frontend, front).await?;
        let back = self.end(name, "backend", backend, back).await?;
        let capture = match capture {
            Some(endpoint) => Some(self.end(name, "capture", endpoint, Pattern::XPub).await?.links),
            None => None,
        };
        Ok(Device { kind: *kind, name: name.clone(), front, back, capture })
    }

    async fn end(
        &mut self,
        name: &str,
        end: &str,
        endpoint: &str,
        pattern: Pattern,
    ) -> Result<End, NetError> {
        let (taker, parcels) = Taker::new(WAITING_MESSAGES, WAITING_BYTES, self.open.clone());
        let (messages, taker) = match pattern {
            Pattern::XPub => (SUBSCRIBER_MESSAGES, None),
            Pattern::Push => (SHARED_MESSAGES, None),
            Pattern::Pull | Pattern::XSub | Pattern::Router | Pattern::Dealer => {
                (SHARED_MESSAGES, Some(taker))
            }
        };
        // Answers to a client that asked for many before it reads are not shared out.
        let messages = if pattern == Pattern::Router { SUBSCRIBER_MESSAGES } else { messages };
        let limits = limits(&self.limits, messages, PEER_BYTES);
        let setting = format!("proxy.{name}.{end}");
        let opened = plain::open(&setting, endpoint, pattern, limits, taker, self.common).await?;
        let received = Arc::<AtomicU64>::default();
        self.rows.push(Row {
            name: format!("proxy {name} {end}"),
            pattern: pattern.as_str(),
            endpoint: opened.endpoint,
            counters: opened.counters,
            links: Some(Arc::clone(&opened.links)),
            received: Arc::clone(&received),
            refused: None,
        });
        Ok(End { links: opened.links, parcels, received })
    }
}

impl End {
    async fn next(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.recv().await;
        self.received.fetch_add(u64::from(parcel.is_some()), Relaxed);
        parcel
    }
}

impl Device {
    /// Runs until its sockets are gone.
    async fn run(self) {
        let Self { kind, name, mut front, mut back, capture } = self;
        let capture = Capture { links: capture, name: &name };
        match kind {
            ProxyKind::Forwarder => {
                while let Some(parcel) = front.next().await {
                    capture.tell("in", &parcel.frames);
                    let first = parcel.frames.first().cloned().unwrap_or_default();
                    back.links.publish(&first, || Wire::of(&parcel.frames));
                }
            }
            ProxyKind::Streamer => {
                while let Some(parcel) = front.next().await {
                    capture.tell("in", &parcel.frames);
                    back.links.send_to_any(Wire::of(&parcel.frames)).await;
                }
            }
            ProxyKind::Queue => {
                let clients = Arc::clone(&front.links);
                let servers = Arc::clone(&back.links);
                let asked = async {
                    while let Some(Parcel { from, mut frames, .. }) = front.next().await {
                        capture.tell("in", &frames);
                        // Who asked: the answer begins with it (ROUTER's envelope).
                        frames.insert(0, Bytes::copy_from_slice(&from.0.to_be_bytes()));
                        servers.send_to_any(Wire::of(&frames)).await;
                    }
                };
                let answered = async {
                    while let Some(parcel) = back.next().await {
                        answer(&clients, &capture, &parcel.frames);
                    }
                };
                tokio::join!(asked, answered);
            }
        }
    }
}

/// Back to who asked. What names nobody is lost.
fn answer(clients: &Links, capture: &Capture<'_>, frames: &[Bytes]) {
    let named = frames.split_first();
    let to = named.and_then(|(peer, _)| <[u8; 8]>::try_from(&peer[..]).ok());
    match (to, named) {
        (Some(peer), Some((_, frames))) if !frames.is_empty() => {
            capture.tell("out", frames);
            clients.send_to(PeerId(u64::from_be_bytes(peer)), Wire::of(frames));
        }
        _ => clients.lose(),
    }
}

struct Capture<'a> {
    links: Option<Arc<Links>>,
    name: &'a str,
}

impl Capture<'_> {
    fn tell(&self, way: &str, frames: &[Bytes]) {
        let Some(links) = &self.links else { return };
        let first = Bytes::from(format!("{}.{way}", self.name));
        links.publish(&first, || {
            let told: Vec<Bytes> =
                std::iter::once(first.clone()).chain(frames.iter().cloned()).collect();
            Wire::of(&told)
        });
    }
}
