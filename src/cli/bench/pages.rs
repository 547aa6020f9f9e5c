//! What operators look at: pages of long queues' messages, and publishing while many watch.

use std::path::Path;
use std::thread::JoinHandle;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::host::Host;
use super::load::Load;
use super::report::{Bar, Figure, Row};
use super::samples::Samples;
use super::{BenchError, Plan, watched};
use crate::admin::client::{AdminClient, AdminError, EventQuery, EventStream, MessageQuery};
use crate::model::{MessageFilter, MessageState, QueueName, Seq};

/// Queues whose messages are looked at.
const QUEUES: usize = 100;
/// Pages of each kind.
const PAGES: u64 = 500;
/// Messages of a page.
const PAGE: usize = 100;
/// Unanswered messages while queues are filled, and while others watch.
const WINDOW: usize = 1024;
/// Who watches: half of them as the console does, half as a program that follows all events.
const WATCHERS: usize = 50;
/// Publishing is measured so often alone and so often beside watchers, by turns: what the machine does besides is in both.
/// The turn that counts is the one with the median ratio.
const TURNS: usize = 5;

type Choose = fn() -> MessageFilter;

/// Each kind of page. No message is of the group, nor has the field: so a page looks at as many as it may.
const KINDS: [(&str, Choose); 6] = [
    ("pages: messages", MessageFilter::default),
    ("pages: by state", || MessageFilter::in_state(MessageState::Ready)),
    ("pages: by header", || MessageFilter {
        header: "type=none".parse().ok(),
        ..MessageFilter::default()
    }),
    ("pages: by JSON path", || MessageFilter {
        path: "$.none=1".parse().ok(),
        ..MessageFilter::default()
    }),
    ("pages: by error group", || MessageFilter {
        group: "0000000000000000".parse().ok(),
        ..MessageFilter::default()
    }),
    ("pages: by age", || MessageFilter { older_ms: Some(86_400_000), ..MessageFilter::default() }),
];

/// Looks at pages of queues that hold `depth` messages each, in random places.
pub(super) async fn pages(
    plan: &Plan,
    at: &Path,
    depth: u64,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let host = Host::start(at).await?;
    let mut load = Load::new(plan, &host.clients, "bench.page", QUEUES).await?;
    rows.push(watched(&host, load.fill("pages: filled", WINDOW, depth * QUEUES as u64)).await?);
    let mut dice = fastrand::Rng::with_seed(depth);
    let mut worst: f64 = 0.0;
    for (name, choose) in KINDS {
        let (began, mut samples) = (Instant::now(), Samples::default());
        for _ in 0..PAGES {
            let queue = QueueName::new(&format!("bench.page.{}", dice.usize(0..QUEUES)));
            let queue = queue.expect("letters, dots and a number");
            let from = Some(Seq(dice.u64(1..=depth)));
            let query = MessageQuery { from, limit: Some(PAGE), filter: choose() };
            let asked = Instant::now();
            let page = host.admin().messages(&queue, &query).await;
            samples.add(asked.elapsed());
            page.map_err(|source| BenchError::Admin { what: "a page of messages", source })?;
        }
        let row = Row::new(name, 1, QUEUES, PAGES, began.elapsed(), samples);
        worst = row.latency_ms.map_or(worst, |[_, p99, _]| worst.max(p99));
        rows.push(row);
    }
    figures.push(Figure::new(
        "pages of messages: p99 of the slowest kind",
        worst,
        "ms",
        Bar::Below(20.0),
    ));
    Ok(())
}

/// Publishing with nobody and with many to watch it.
pub(super) async fn watchers(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let host = Host::start(at).await?;
    let mut turns = Vec::new();
    for turn in 0..TURNS {
        let mut load =
            Load::new(plan, &host.clients, &format!("bench.alone{turn}"), QUEUES).await?;
        let alone = watched(&host, load.publish(WINDOW)).await?;
        let watching = Watching::start(host.admin().clone()).await?;
        let mut load = Load::new(plan, &host.clients, &format!("bench.seen{turn}"), QUEUES).await?;
        let beside = watched(&host, load.publish(WINDOW)).await?;
        watching.stop()?;
        turns.push([alone, beside]);
    }
    let ratio = |[alone, beside]: &[Row; 2]| beside.per_second / alone.per_second;
    turns.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let median = turns.swap_remove(TURNS / 2);
    let ratio = ratio(&median);
    let names = ["publish: nobody watches", "publish: 50 watch"];
    rows.extend(median.into_iter().zip(names).map(|(row, name)| Row { name, ..row }));
    figures.push(Figure::new("publish beside 50 watchers / alone", ratio, "", Bar::AtLeast(0.95)));
    Ok(())
}

/// Watchers on a thread of their own, which reads what they are told and keeps nothing of it: those who watch a broker sit
/// at other machines, and what they do with it takes none of its processors' time.
struct Watching {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), AdminError>>,
}

impl Watching {
    /// Returns once all of them have seen all that there is, and only what changes comes.
    async fn start(client: AdminClient) -> Result<Self, BenchError> {
        let (stop, stopped) = oneshot::channel();
        let (ready, mut all_ready) = mpsc::channel(WATCHERS);
        let thread = std::thread::Builder::new()
            .name("watchers".to_owned())
            .spawn(move || watch(&client, &ready, stopped))
            .map_err(|source| BenchError::io("a thread for watchers", source))?;
        for _ in 0..WATCHERS {
            if all_ready.recv().await.is_none() {
                break;
            }
        }
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<(), BenchError> {
        // An error says that it has ended, and why comes now.
        let _ = self.stop.send(());
        let told =
            self.thread.join().map_err(|_| BenchError::Unexpected { what: "a panic".into() })?;
        told.map_err(|source| BenchError::Admin { what: "the stream", source })
    }
}

/// Follows until it is told to stop; an error ends all.
fn watch(
    client: &AdminClient,
    ready: &mpsc::Sender<()>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only what the main one has already");
    runtime.block_on(async {
        let all = try_join_all((0..WATCHERS).map(|number| async move {
            if number % 2 == 0 {
                follow(client.stream().await?.of(), ready, Some("listed")).await
            } else {
                // Nobody counts any more once all are ready.
                let events = client.events(&EventQuery::default()).await?.of();
                let _ = ready.send(()).await;
                follow(events, ready, None).await
            }
        }));
        tokio::select! {
            ended = all => ended.map(drop),
            _ = stopped => Ok(()),
        }
    })
}

/// What an event is; the rest isn't looked at.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    event: String,
}

/// Reads on; says so once it has read an event of kind `first`, if it is to wait for one.
async fn follow(
    mut stream: EventStream<Kind>,
    ready: &mpsc::Sender<()>,
    first: Option<&str>,
) -> Result<(), AdminError> {
    while let Some(told) = stream.next().await {
        if first == Some(told?.event.as_str()) {
            let _ = ready.send(()).await;
        }
    }
    Ok(())
}
