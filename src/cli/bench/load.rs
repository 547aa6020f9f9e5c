//! The loads: closed loops, each with a window of what may be unanswered, from one thread.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::samples::Samples;
use super::zmtp::Dealer;
use super::{BenchError, Plan, Row};
use crate::wire::MAGIC;

/// How long the broker may be silent in the middle of a load.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// The part of a load's time at its start that isn't measured: caches fill, queues are made.
const WARM_UP: u32 = 10;
/// A load of a given number of messages is given up after this time.
const LIMIT: Duration = Duration::from_secs(3600);

/// One load against one broker: connections, and the names of its messages.
pub(super) struct Load<'a> {
    plan: &'a Plan,
    client: Dealer,
    queues: Vec<String>,
    payload: Vec<u8>,
    next: u64,
    sent: HashMap<u64, Instant>,
}

/// The fields of answers and deliveries that a load looks at.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    id: String,
    #[serde(default)]
    pub(super) delivery: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
}

/// What has been measured so far.
struct Tally {
    began: Instant,
    warm: Duration,
    time: Duration,
    limit: u64,
    count: u64,
    samples: Samples,
}

impl Tally {
    fn new(time: Duration, limit: u64) -> Self {
        let warm = time / WARM_UP;
        Self { began: Instant::now(), warm, time, limit, count: 0, samples: Samples::default() }
    }

    /// Everything counts, until there are `count`.
    fn of_all(count: u64) -> Self {
        let mut tally = Self::new(LIMIT, count);
        tally.warm = Duration::ZERO;
        tally
    }

    fn add(&mut self, since: Instant) {
        let now = Instant::now();
        if now.duration_since(self.began) >= self.warm {
            self.count += 1;
            self.samples.add(now.duration_since(since));
        }
    }

    fn over(&self) -> bool {
        self.began.elapsed() >= self.time || self.count >= self.limit
    }

    fn row(self, name: &'static str, window: usize, queues: usize) -> Row {
        let elapsed = self.began.elapsed().saturating_sub(self.warm);
        Row::new(name, window, queues, self.count, elapsed, self.samples)
    }
}

impl<'a> Load<'a> {
    /// Connects. The load's queues are new ones whose names begin with `prefix`.
    pub(super) async fn new(
        plan: &'a Plan,
        clients: &str,
        prefix: &str,
        queues: usize,
    ) -> Result<Self, BenchError> {
        let client = Dealer::connect(clients).await.map_err(connection)?;
        let queues = (0..queues).map(|n| format!("{prefix}.{n}")).collect();
        let payload = vec![b'x'; plan.payload_bytes];
        Ok(Self { plan, client, queues, payload, next: 0, sent: HashMap::new() })
    }

    /// How many of its messages the broker has taken.
    pub(super) fn accepted(&self) -> u64 {
        self.next - self.sent.len() as u64
    }

    /// SENDs with at most `window` unanswered; the times are from the write to ACCEPTED. The messages
    /// stay in their queues; `Load::drain` takes them out.
    pub(super) async fn publish(&mut self, window: usize) -> Result<Row, BenchError> {
        let tally = Tally::new(self.plan.time, self.plan.messages);
        self.send("publish", window, u64::MAX, tally).await
    }

    /// As `Load::publish`, but exactly `count` messages, however long that takes.
    pub(super) async fn fill(
        &mut self,
        name: &'static str,
        window: usize,
        count: u64,
    ) -> Result<Row, BenchError> {
        self.send(name, window, count, Tally::of_all(count)).await
    }

    async fn send(
        &mut self,
        name: &'static str,
        window: usize,
        most: u64,
        mut tally: Tally,
    ) -> Result<Row, BenchError> {
        while !(tally.over() && self.sent.is_empty()) {
            while self.sent.len() < window && self.next < most && !tally.over() {
                self.put("SEND", "");
            }
            self.client.flush().await.map_err(connection)?;
            heard(self.client.more()).await?;
            while let Some(frames) = self.client.next() {
                let (verb, head) = open(&frames)?;
                match verb {
                    b"ACCEPTED" => tally.add(self.answered(&head.id)?),
                    other => return Err(unexpected(other, &head)),
                }
            }
        }
        Ok(tally.row(name, window, self.queues.len()))
    }

    /// The time from a worker's connection to its first delivery. What it was given is not done.
    pub(super) async fn first_delivery(&mut self, workers: &str) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let mut worker = self.worker(workers).await?;
        loop {
            heard(worker.more()).await?;
            while let Some(frames) = worker.next() {
                if work(&mut worker, &frames)?.is_some() {
                    return Ok(began.elapsed());
                }
            }
        }
    }

    /// CALLs with at most `window` unanswered, and a worker that answers at once; the times are from the
    /// call to its reply.
    pub(super) async fn rpc(&mut self, workers: &str, window: usize) -> Result<Row, BenchError> {
        let mut worker = self.worker(workers).await?;
        let mut tally = Tally::new(self.plan.time, self.plan.messages);
        while !(tally.over() && self.sent.is_empty()) {
            while self.sent.len() < window && !tally.over() {
                self.put("CALL", ",\"timeout_ms\":30000");
            }
            self.turn(&mut worker).await?;
            while let Some(frames) = self.client.next() {
                let (verb, head) = open(&frames)?;
                match verb {
                    b"REPLY" if head.status == "ok" => tally.add(self.answered(&head.id)?),
                    other => return Err(unexpected(other, &head)),
                }
            }
            while let Some(frames) = worker.next() {
                work(&mut worker, &frames)?;
            }
        }
        worker.put(&[MAGIC, b"BYE", b"{}"]);
        worker.flush().await.map_err(connection)?;
        Ok(tally.row("rpc", window, self.queues.len()))
    }

    /// SENDs and the worker's side of them: at most `window` messages on their way; the times are from
    /// the write of SEND to the delivery at the worker.
    pub(super) async fn end_to_end(
        &mut self,
        workers: &str,
        window: usize,
    ) -> Result<Row, BenchError> {
        let mut worker = self.worker(workers).await?;
        let mut tally = Tally::new(self.plan.time, self.plan.messages);
        let mut unanswered = 0_u64;
        while !(tally.over() && self.sent.is_empty() && unanswered == 0) {
            while self.sent.len() < window && !tally.over() {
                self.put("SEND", "");
                unanswered += 1;
            }
            self.turn(&mut worker).await?;
            while let Some(frames) = self.client.next() {
                let (verb, head) = open(&frames)?;
                match verb {
                    b"ACCEPTED" => unanswered -= 1,
                    other => return Err(unexpected(other, &head)),
                }
            }
            while let Some(frames) = worker.next() {
                if let Some(head) = work(&mut worker, &frames)? {
                    tally.add(self.answered(&head.id)?);
                }
            }
        }
        worker.put(&[MAGIC, b"BYE", b"{}"]);
        worker.flush().await.map_err(connection)?;
        Ok(tally.row("end to end", window, self.queues.len()))
    }

    /// Works off `count` messages that wait in this load's queues; the times are from one delivery to
    /// the next.
    pub(super) async fn drain(&mut self, workers: &str, count: u64) -> Result<Row, BenchError> {
        let mut worker = self.worker(workers).await?;
        let mut tally = Tally::of_all(count);
        let mut last = Instant::now();
        while !tally.over() {
            worker.flush().await.map_err(connection)?;
            heard(worker.more()).await?;
            while let Some(frames) = worker.next() {
                if work(&mut worker, &frames)?.is_some() {
                    tally.add(last);
                    last = Instant::now();
                }
            }
        }
        worker.put(&[MAGIC, b"BYE", b"{}"]);
        worker.flush().await.map_err(connection)?;
        Ok(tally.row("backlog: drain", self.queues.len(), self.queues.len()))
    }

    /// A worker of all queues that takes one message of each at once.
    async fn worker(&self, address: &str) -> Result<Dealer, BenchError> {
        let mut worker = Dealer::connect(address).await.map_err(connection)?;
        let ready = serde_json::json!({
            "queues": self.queues,
            "credit": self.queues.len(),
            "worker": { "name": "bench", "pid": std::process::id() },
        });
        worker.put(&[MAGIC, b"READY", ready.to_string().as_bytes()]);
        worker.flush().await.map_err(connection)?;
        Ok(worker)
    }

    /// Puts the next message: to each queue in turn.
    fn put(&mut self, verb: &str, more: &str) {
        let n = self.next;
        self.next += 1;
        let at = usize::try_from(n % self.queues.len() as u64).expect("it is below a usize");
        let header = format!("{{\"queue\":\"{}\",\"id\":\"b{n}\"{more}}}", self.queues[at]);
        self.client.put(&[MAGIC, verb.as_bytes(), header.as_bytes(), &self.payload]);
        self.sent.insert(n, Instant::now());
    }

    fn answered(&mut self, id: &str) -> Result<Instant, BenchError> {
        let n = id.strip_prefix('b').and_then(|n| n.parse().ok());
        n.and_then(|n: u64| self.sent.remove(&n)).ok_or_else(|| BenchError::Unexpected {
            what: format!("message {id:?}, twice or never sent"),
        })
    }

    /// Writes both sides' frames and waits until either hears something.
    async fn turn(&mut self, worker: &mut Dealer) -> Result<(), BenchError> {
        self.client.flush().await.map_err(connection)?;
        worker.flush().await.map_err(connection)?;
        heard(async {
            tokio::select! {
                came = self.client.more() => came,
                came = worker.more() => came,
            }
        })
        .await
    }
}

/// Acknowledges a delivery and gives its head; answers a heartbeat.
pub(super) fn work(
    worker: &mut Dealer,
    frames: &[bytes::Bytes],
) -> Result<Option<Head>, BenchError> {
    let (verb, head) = open(frames)?;
    match verb {
        b"DELIVER" => {
            let ack = format!("{{\"delivery\":\"{}\"}}", head.delivery);
            worker.put(&[MAGIC, b"ACK", ack.as_bytes()]);
            Ok(Some(head))
        }
        b"HEARTBEAT" => {
            worker.put(&[MAGIC, b"HEARTBEAT", b"{}"]);
            Ok(None)
        }
        other => Err(unexpected(other, &head)),
    }
}

pub(super) fn open(frames: &[bytes::Bytes]) -> Result<(&[u8], Head), BenchError> {
    let [magic, verb, header, ..] = frames else {
        return Err(BenchError::Unexpected { what: format!("{} frames", frames.len()) });
    };
    if magic != MAGIC {
        return Err(BenchError::Unexpected { what: "frames that are not MUB1".to_owned() });
    }
    let head = serde_json::from_slice(header)
        .map_err(|error| BenchError::Unexpected { what: format!("a header: {error}") })?;
    Ok((verb, head))
}

pub(super) async fn heard(
    more: impl Future<Output = std::io::Result<()>>,
) -> Result<(), BenchError> {
    timeout(SILENCE, more).await.map_err(|_| BenchError::Silent)?.map_err(connection)
}

pub(super) fn connection(source: std::io::Error) -> BenchError {
    BenchError::io("the connection to the broker", source)
}

pub(super) fn unexpected(verb: &[u8], head: &Head) -> BenchError {
    let verb = String::from_utf8_lossy(verb);
    BenchError::Unexpected { what: format!("{verb} {}{}", head.status, head.reason) }
}
