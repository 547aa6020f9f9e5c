//! Alerts of a broker whose events come faster than they are looked at.

use std::future::pending;

use super::*;
use crate::cli::embedded::Embedded;
use crate::client::{Client, NewMessage};
use crate::config::{Config, Sources};
use crate::wire::Delivery;
use crate::worker::{self, Handler, Work, WorkerOptions};

/// More events than are kept for one who follows.
const FLOOD: usize = 2_000;
/// Nothing here takes long; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Fails;

impl Handler for Fails {
    async fn handle(&self, _: Delivery, _: Work) -> Result<Bytes, worker::Failure> {
        Err(worker::Failure::of("no", "not today"))
    }
}

async fn embedded(folder: &std::path::Path) -> Embedded {
    let any_port = || Some("tcp://127.0.0.1:0".to_owned());
    let data_dir = Some(folder.display().to_string());
    let sources =
        Sources { data_dir, clients: any_port(), workers: any_port(), ..Sources::default() };
    let config = Config::load(&sources).expect("plain settings");
    let started = tokio::task::spawn_blocking(move || Embedded::start(&config));
    started.await.expect("no panic").expect("it starts")
}

/// The next event that `find` takes.
async fn next<T>(events: &mut Events, find: impl Fn(&Notice) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.next().await.expect("the broker runs");
            if let Some(found) = find(&event.what) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_is_told_although_its_events_were_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = embedded(folder.path()).await;
    let broker = embedded.handle().clone();
    let late = broker.events(None).await.expect("it runs");
    let mut events = broker.events(None).await.expect("it runs");
    let queue = QueueName::new("jobs").expect("a name");
    let options = WorkerOptions::new(embedded.workers(), vec![queue.clone()]);
    let working = tokio::spawn(worker::run(options, Fails, pending(), |_| {}));
    let client = Client::connect(embedded.clients()).await.expect("it listens");
    let content = NewMessage::new("{}").build().expect("a message");
    client.send(&queue, content).await.expect("accepted");
    let is_blocked = |what: &Notice| Alert::of_event(what).filter(|it| it.rule == "blocked");
    next(&mut events, is_blocked).await;
    drop(events);
    for _ in 0..FLOOD {
        broker.tell(Notice::StoreHasRoom).await.expect("it runs");
    }
    let mut events = broker.events(None).await.expect("it runs");
    let teller =
        Teller::new(&Alerts { disk_low_mb: 0, ..Alerts::default() }, folder.path(), broker);
    let telling = tokio::spawn(teller.run(late, Duration::from_millis(10)));
    let mut told = Vec::new();
    for _ in 0..2 {
        let alert = |what: &Notice| match what {
            Notice::Alert { rule, message, .. } => Some((rule.clone(), message.clone())),
            _ => None,
        };
        told.push(next(&mut events, alert).await);
    }
    assert_eq!(told[0].0, "missed");
    assert_eq!(told[1], ("blocked".to_owned(), "jobs 1: no: not today".to_owned()));
    telling.abort();
    working.abort();
    embedded.shut_down().await;
}

#[test]
fn a_disk_is_low_before_it_counts_as_full_and_a_small_one_not_always() {
    const MIB: u64 = 1024 * 1024;
    let is_low = |disk_low_mb, free: u64, total: u64| {
        let config = Alerts { disk_low_mb, ..Alerts::default() };
        let disk = Disk { free: free * MIB, total: total * MIB };
        disk_low(&config, Path::new("/data"), disk).map(|alert| alert.text)
    };
    assert_eq!(is_low(1024, 1024, 100_000), None);
    let told = is_low(1024, 1023, 100_000).expect("it is low");
    assert!(told.starts_with("/data: 1023 MiB are free on its disk, less than 1024 MiB"), "{told}");
    assert_eq!(is_low(1024, 64, 256), None);
    assert!(is_low(1024, 63, 256).is_some(), "32 MiB are where publishing ends");
    assert_eq!(is_low(0, 0, 256), None);
    assert!(is_low(u64::MAX, 1, 256).is_some());
}
