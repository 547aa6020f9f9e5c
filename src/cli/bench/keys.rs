//! A queue that is ordered by key, with and without blocked keys: how much of its delivery speed is left.

use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::host::Host;
use super::load::{connection, heard};
use super::report::{Bar, Figure, Row};
use super::samples::Samples;
use super::zmtp::Dealer;
use super::{BenchError, Plan};
use crate::wire::MAGIC;

/// Unanswered messages while the queue is filled, and the worker's credit.
const WINDOW: usize = 1024;
/// One of so many keys is blocked.
const ONE_BLOCKED_OF: u64 = 100;
const QUEUE: &str = "bench.keys";
const SETTINGS: &str = "[queues.\"bench.keys\"]\nordering = \"key\"\ndedup = \"off\"\n";

/// What is looked at in a delivery.
#[derive(Deserialize)]
struct Delivered {
    delivery: String,
    id: String,
}

/// Fills a queue with a message for each of `keys` keys, and works it off: once with every key free, once with a
/// hundredth of them blocked before.
pub(super) async fn measure(
    plan: &Plan,
    at: &Path,
    keys: u64,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let free = drained(plan, at, keys, 0).await?;
    let held = drained(plan, at, keys, keys / ONE_BLOCKED_OF).await?;
    let ratio = held.per_second / free.per_second;
    rows.extend([free, held]);
    let name = "keys: delivery with 1 % of the keys blocked / with none";
    figures.push(Figure::new(name, ratio, "", Bar::AtLeast(0.8)));
    Ok(())
}

/// Works off a queue of which `blocked` keys are blocked.
async fn drained(plan: &Plan, at: &Path, keys: u64, blocked: u64) -> Result<Row, BenchError> {
    let host = Host::start_with(at, SETTINGS).await?;
    let payload = vec![b'x'; plan.payload_bytes];
    let mut client = Dealer::connect(&host.clients).await.map_err(connection)?;
    if blocked > 0 {
        fill(&mut client, "bad", blocked, ONE_BLOCKED_OF, &payload).await?;
        let mut worker = ready(&host.workers).await?;
        work(&mut worker, blocked).await?;
        bye(worker).await?;
    }
    fill(&mut client, "good", keys, 1, &payload).await?;
    let mut worker = ready(&host.workers).await?;
    let began = Instant::now();
    work(&mut worker, keys - blocked).await?;
    let name = if blocked > 0 { "keys: drain, 1 % blocked" } else { "keys: drain" };
    let row = Row::new(name, WINDOW, 1, keys - blocked, began.elapsed(), Samples::default());
    bye(worker).await?;
    Ok(row)
}

/// Sends `count` messages, each with a key of its own: every `step`th one.
async fn fill(
    client: &mut Dealer,
    kind: &str,
    count: u64,
    step: u64,
    payload: &[u8],
) -> Result<(), BenchError> {
    let (mut sent, mut accepted) = (0, 0);
    while accepted < count {
        while sent < count && sent - accepted < WINDOW as u64 {
            let key = sent * step;
            let header = format!(r#"{{"queue":"{QUEUE}","id":"{kind}{sent}","key":"key-{key}"}}"#);
            client.put(&[MAGIC, b"SEND", header.as_bytes(), payload]);
            sent += 1;
        }
        client.flush().await.map_err(connection)?;
        heard(client.more()).await?;
        while let Some(frames) = client.next() {
            if verb(&frames) != b"ACCEPTED" {
                return Err(unexpected(&frames));
            }
            accepted += 1;
        }
    }
    Ok(())
}

async fn ready(address: &str) -> Result<Dealer, BenchError> {
    let mut worker = Dealer::connect(address).await.map_err(connection)?;
    let ready =
        format!(r#"{{"queues":["{QUEUE}"],"credit":{WINDOW},"worker":{{"name":"bench"}}}}"#);
    worker.put(&[MAGIC, b"READY", ready.as_bytes()]);
    worker.flush().await.map_err(connection)?;
    Ok(worker)
}

/// Answers `count` deliveries: bad ones are blocked, others done.
async fn work(worker: &mut Dealer, count: u64) -> Result<(), BenchError> {
    let mut answered = 0;
    while answered < count {
        heard(worker.more()).await?;
        while let Some(frames) = worker.next() {
            match verb(&frames) {
                b"DELIVER" => {
                    answer(worker, &frames)?;
                    answered += 1;
                }
                b"HEARTBEAT" => worker.put(&[MAGIC, b"HEARTBEAT", b"{}"]),
                _ => return Err(unexpected(&frames)),
            }
        }
        worker.flush().await.map_err(connection)?;
    }
    Ok(())
}

fn answer(worker: &mut Dealer, frames: &[Bytes]) -> Result<(), BenchError> {
    let header = frames.get(2).map_or(&b""[..], |header| header);
    let Delivered { delivery, id } =
        serde_json::from_slice(header).map_err(|_| unexpected(frames))?;
    let (verb, more) =
        if id.starts_with("bad") { ("NACK", r#","action":"block""#) } else { ("ACK", "") };
    let header = format!(r#"{{"delivery":"{delivery}"{more}}}"#);
    worker.put(&[MAGIC, verb.as_bytes(), header.as_bytes()]);
    Ok(())
}

/// Says BYE, and waits until it is said back: all answers are durable then.
async fn bye(mut worker: Dealer) -> Result<(), BenchError> {
    worker.put(&[MAGIC, b"BYE", b"{}"]);
    worker.flush().await.map_err(connection)?;
    loop {
        heard(worker.more()).await?;
        while let Some(frames) = worker.next() {
            if verb(&frames) == b"BYE" {
                return Ok(());
            }
        }
    }
}

fn verb(frames: &[Bytes]) -> &[u8] {
    frames.get(1).map_or(b"", |verb| verb)
}

fn unexpected(frames: &[Bytes]) -> BenchError {
    let words = frames.iter().skip(1).take(2).map(|frame| String::from_utf8_lossy(frame));
    BenchError::Unexpected { what: words.collect::<Vec<_>>().join(" ") }
}
