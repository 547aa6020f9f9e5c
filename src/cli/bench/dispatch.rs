//! Handing waiting messages to ready workers, next to the least that could do it: a ROUTER in a loop. The workers are the
//! same, DEALERs of the same crate.

use std::cell::Cell;
use std::path::Path;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqError, ZmqMessage};

use super::host::Host;
use super::load::{Load, SILENCE, open, unexpected};
use super::report::{Bar, Figure, Row};
use super::samples::Samples;
use super::{BenchError, Plan};
use crate::wire::MAGIC;

/// How the messages under way are spread over connections.
#[derive(Clone, Copy)]
struct Shape {
    workers: usize,
    /// Messages that each worker may hold.
    credit: usize,
    /// What is compared.
    ratio: &'static str,
}

impl Shape {
    fn window(self) -> usize {
        self.workers * self.credit
    }
}

/// Workers that are ready once they have answered; and few that hold many, so that each write carries many.
const SHAPES: [Shape; 2] = [
    Shape {
        workers: 64,
        credit: 1,
        ratio: "dispatch, memory queue / bare ROUTER-DEALER loop, 64 workers with a message each",
    },
    Shape {
        workers: 4,
        credit: 256,
        ratio: "dispatch, memory queue / bare ROUTER-DEALER loop, 4 workers with 256 each",
    },
];
/// Unanswered messages while a queue is filled.
const FILL_WINDOW: usize = 1024;
/// At most so many messages: a `memory` queue holds them.
const MAX_MESSAGES: u64 = 100_000;
/// Bare loop and `memory` queue by turns: either takes a fraction of a second, in which the machine does other things, too.
/// The round that counts is the one with the median ratio.
const ROUNDS: usize = 3;
/// A queue's mailbox, and the row of it.
type Of = (&'static str, &'static str);
const MEMORY: Of = ("memory", "dispatch: memory");
const FILE: Of = ("file", "dispatch: file");

/// Works a backlog off with a bare loop, from a `memory` queue and from a `file` queue.
pub(super) async fn measure(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let count = plan.messages.min(MAX_MESSAGES);
    for shape in SHAPES {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let bare = bare(shape, count, plan.payload_bytes).await?;
            rounds.push([bare, of_broker(plan, at, shape, count, MEMORY).await?]);
        }
        let ratio = |[bare, memory]: &[Row; 2]| memory.per_second / bare.per_second;
        rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let median = rounds.swap_remove(ROUNDS / 2);
        figures.push(Figure::new(shape.ratio, ratio(&median), "", Bar::AtLeast(0.5)));
        rows.extend(median);
        rows.push(of_broker(plan, at, shape, count, FILE).await?);
    }
    Ok(())
}

async fn of_broker(
    plan: &Plan,
    at: &Path,
    shape: Shape,
    count: u64,
    (mailbox, name): Of,
) -> Result<Row, BenchError> {
    let settings = format!(
        "[queues.\"bench.dispatch.0\"]\nmailbox = \"{mailbox}\"\nordering = \"none\"\ndedup = \"off\"\n"
    );
    let host = Host::start_with(at, &settings).await?;
    let mut load = Load::new(plan, &host.clients, "bench.dispatch", 1).await?;
    load.fill("dispatch: filled", FILL_WINDOW, count).await?;
    let ready = format!(r#"{{"queues":["bench.dispatch.0"],"credit":{}}}"#, shape.credit);
    worked_off(name, &host.workers, &ready, shape, count).await
}

/// Workers that have said READY; all answer what they get, until there were `count`. The same for loop and broker.
async fn worked_off(
    name: &'static str,
    address: &str,
    ready: &str,
    shape: Shape,
    count: u64,
) -> Result<Row, BenchError> {
    let began = Instant::now();
    let (left, over) = (Cell::new(count), Notify::new());
    try_join_all((0..shape.workers).map(|_| async {
        let mut worker = DealerSocket::new();
        worker.connect(address).await.map_err(failed)?;
        worker.send(message(&["READY", ready])).await.map_err(failed)?;
        while left.get() > 0 {
            let came = tokio::select! {
                came = timeout(SILENCE, worker.recv()) => came,
                () = over.notified() => break,
            };
            let frames = came.map_err(|_| BenchError::Silent)?.map_err(failed)?.into_vec();
            let (verb, head) = open(&frames)?;
            match verb {
                b"DELIVER" => {
                    let ack = format!("{{\"delivery\":\"{}\"}}", head.delivery);
                    worker.send(message(&["ACK", &ack])).await.map_err(failed)?;
                    left.set(left.get().saturating_sub(1));
                }
                b"HEARTBEAT" => {
                    worker.send(message(&["HEARTBEAT", "{}"])).await.map_err(failed)?;
                }
                other => return Err(unexpected(other, &head)),
            }
        }
        over.notify_waiters();
        Ok(())
    }))
    .await?;
    Ok(Row::new(name, shape.window(), 1, count, began.elapsed(), Samples::default()))
}

fn message(frames: &[&str]) -> ZmqMessage {
    let mut message = ZmqMessage::from(Bytes::from_static(MAGIC));
    frames.iter().for_each(|frame| message.push_back(Bytes::copy_from_slice(frame.as_bytes())));
    message
}

fn failed(error: ZmqError) -> BenchError {
    BenchError::io("a socket of the zeromq crate", std::io::Error::other(error))
}

async fn bare(shape: Shape, count: u64, payload_bytes: usize) -> Result<Row, BenchError> {
    let (told, address) = oneshot::channel();
    // Dropped at the end of this, also of a failure, it ends the loop.
    let (_stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("bare-router".to_owned())
        .spawn(move || router(shape.credit as u64, count, payload_bytes, told, stopped))
        .map_err(|source| BenchError::io("a thread for a bare ROUTER", source))?;
    let Ok(address) = address.await else {
        let ended = thread.join().unwrap_or_else(|_| Err(std::io::Error::other("it panicked")));
        let source = ended.err().unwrap_or_else(|| std::io::Error::other("it ended"));
        return Err(BenchError::io("a bare ROUTER", source));
    };
    worked_off("dispatch: bare loop", &address, "{}", shape, count).await
}

/// Gives each that says something its credit, and one message for each answer after that.
fn router(
    credit: u64,
    count: u64,
    payload_bytes: usize,
    told: oneshot::Sender<String>,
    mut stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let failed = |error: ZmqError| std::io::Error::other(error);
    runtime.block_on(async {
        let mut router = RouterSocket::new();
        let bound = router.bind("tcp://127.0.0.1:0").await.map_err(failed)?;
        let _heard = told.send(bound.to_string());
        let (header, payload) = (head(), Bytes::from(vec![b'x'; payload_bytes]));
        let mut left = count;
        loop {
            let came = tokio::select! {
                came = router.recv() => came.map_err(failed)?,
                _ = &mut stopped => return Ok(()),
            };
            let is_ready = came.get(2).is_some_and(|verb| verb == "READY");
            let Some(peer) = came.get(0) else { continue };
            let due = if is_ready { credit } else { 1 }.min(left);
            left -= due;
            for _ in 0..due {
                let mut message = ZmqMessage::from(peer.clone());
                for frame in
                    [Bytes::from_static(MAGIC), "DELIVER".into(), header.clone(), payload.clone()]
                {
                    message.push_back(frame);
                }
                router.send(message).await.map_err(failed)?;
            }
        }
    })
}

/// As long as the broker's.
fn head() -> Bytes {
    let head = r#"{"delivery":"1-100000","queue":"bench.dispatch.0","seq":100000,"attempt":1,"id":"b100000","deadline_ms":30000}"#;
    Bytes::from_static(head.as_bytes())
}
