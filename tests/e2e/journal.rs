//! The journal's bound with the real binary: what goes, what stays, and what lists say.

#![expect(clippy::unwrap_used, reason = "a test that can't go on ends there")]

use mubroker::admin::client::{AdminClient, Endpoint};
use mubroker::admin::dto::{RepairRequest, RepairVerb};
use mubroker::model::{IdempotencyKey, Payload, QueueName, Revision, Seq};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Broker, MUBROKER};

const KEPT: usize = 40;
/// Upkeep may leave so many more.
const SLACK: usize = 32;

fn start() -> Broker {
    let queues = "[queues.orders]\n[queues.'mem.*']\nmailbox = 'memory'\n[queues.email]";
    Broker::start(&format!("[store]\njournal_entries = {KEPT}\n{queues}"))
}

fn admin(broker: &Broker) -> AdminClient {
    AdminClient::new(Endpoint::Unix(broker.data_dir().join("admin.sock")), "api")
}

/// One message is sent to the queue, and a worker fails on it.
fn block(broker: &mut Broker, queue: &str) {
    broker.run(&["send", "--broker", &broker.clients, "-q", queue, "{}"], b"");
    let arguments = ["worker", "--broker", &broker.workers, "-q", queue, "--exec", "false"];
    let mut worker = broker.command(&arguments).spawn().unwrap();
    broker.until("it is blocked", |broker| (broker.queue(queue)?["blocked"] == 1).then_some(()));
    worker.kill().unwrap();
    worker.wait().unwrap();
}

async fn pause_and_resume(broker: &Broker, times: usize) {
    let (admin, queue) = (admin(broker), QueueName::new("email").unwrap());
    for _ in 0..times {
        admin.pause(&queue, "again and again").await.unwrap();
        admin.resume(&queue, "").await.unwrap();
    }
}

/// All entries asked for, page by page: their numbers, oldest first, and whether the last page says that the oldest are
/// gone.
fn list(broker: &Broker, message: Option<(&str, u64)>) -> (Vec<u64>, bool) {
    let of = message.map_or_else(String::new, |(queue, seq)| format!("&queue={queue}&seq={seq}"));
    let mut numbers: Vec<u64> = Vec::new();
    let mut before = u64::MAX;
    loop {
        let page = broker.get(&format!("/v1/journal?limit=7&before={before}{of}")).unwrap();
        let entries = page["entries"].as_array().unwrap().iter();
        numbers.extend(entries.map(|entry| entry["number"].as_u64().unwrap()));
        let older_removed = page["older_removed"].as_bool().unwrap();
        let Some(next) = page["next_before"].as_u64() else {
            numbers.reverse();
            return (numbers, older_removed);
        };
        assert!(!older_removed, "there is another page");
        before = next;
    }
}

/// Waits until upkeep has left no more than so many.
fn until_bounded(broker: &mut Broker, most: usize) -> Vec<u64> {
    broker.until("upkeep has bounded the journal", |broker| {
        let (numbers, older_removed) = list(broker, None);
        assert!(older_removed || numbers.len() > most);
        (numbers.len() <= most).then_some(numbers)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_keeps_its_newest_entries_and_those_of_messages_that_wait() {
    let mut broker = start();
    block(&mut broker, "orders");
    block(&mut broker, "mem.a");
    let (first, older_removed) = list(&broker, None);
    assert_eq!(
        (first, older_removed),
        ((1..=5).collect(), false),
        "two queues, mem.a, two blocked"
    );
    pause_and_resume(&broker, 150).await;
    let left = until_bounded(&mut broker, KEPT + SLACK + 2);
    assert!(left.len() >= KEPT + 2 && left.last() == Some(&305), "{left:?}");
    for (queue, number) in [("orders", left[0]), ("mem.a", left[1])] {
        assert_eq!(list(&broker, Some((queue, 1))).0, [number], "{queue}");
        let message = broker.get(&format!("/v1/queues/{queue}/messages/1")).unwrap();
        assert_eq!(message["history"][0]["kind"], "blocked");
        assert_eq!(message["history_cut"], false);
    }
    let told = broker.try_run(&["journal", "--before", "200", "--limit", "9"], b"");
    assert_eq!(String::from_utf8_lossy(&told.stdout).matches("blocked").count(), 2);
    assert!(String::from_utf8_lossy(&told.stderr).contains("[store] journal_entries"));

    // What was in RAM is gone with the process, and so is its history.
    broker.restart(Signal::SIGKILL);
    let left = until_bounded(&mut broker, KEPT + 1);
    assert_eq!(list(&broker, Some(("orders", 1))).0, [left[0]]);
    assert_eq!(list(&broker, Some(("mem.a", 1))).0, [0; 0]);

    broker.run(&["message", "cancel", "orders", "1", "--reason", "not needed"], b"");
    pause_and_resume(&broker, 60).await;
    let cancelled = list(&broker, Some(("orders", 1))).0;
    assert_eq!(cancelled, [left[0], 306], "it can still be restored");
    broker.run(&["send", "--broker", &broker.clients, "-q", "orders", "{}"], b"");
    let arguments = ["worker", "--broker", &broker.workers, "-q", "orders", "--exec", "true"];
    let mut worker = broker.command(&arguments).spawn().unwrap();
    broker
        .until("the next is done", |broker| (broker.queue("orders")?["depth"] == 0).then_some(()));
    until_bounded(&mut broker, KEPT + SLACK);
    assert_eq!(list(&broker, Some(("orders", 1))).0, [0; 0], "now it can't");
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(broker.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_with_gaps_is_exported_imported_and_goes_on() {
    let mut broker = start();
    block(&mut broker, "orders");
    pause_and_resume(&broker, 100).await;
    until_bounded(&mut broker, KEPT + SLACK + 1);
    // The store is exported while no broker has it.
    let (folder, data_dir) = (broker.folder().join("second"), broker.data_dir());
    let store = |arguments: &[&str], data_dir: &std::path::Path| {
        let mut command = std::process::Command::new(MUBROKER);
        let output = command.arg("store").arg("--data-dir").arg(data_dir).args(arguments);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let keep = tempfile::tempdir().unwrap();
    let backup = keep.path().join("backup");
    broker.run(&["store", "backup", backup.to_str().unwrap()], b"");
    let first = keep.path().join("first");
    store(&["restore", backup.to_str().unwrap()], &first);
    let exported = store(&["export"], &first);
    let file = keep.path().join("export.jsonl");
    std::fs::write(&file, &exported).unwrap();
    store(&["import", file.to_str().unwrap()], &folder);
    let again = store(&["export"], &folder);
    // The first line has the run's number.
    assert!(exported.lines().skip(1).eq(again.lines().skip(1)));
    let numbers: Vec<u64> = exported
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["journal"]["number"].as_u64()
        })
        .collect();
    assert!((KEPT..=KEPT + SLACK + 1).contains(&numbers.len()), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&203));

    // The broker goes on with the imported store in place of its own.
    broker.restart_with(Signal::SIGTERM, || {
        std::fs::remove_dir_all(data_dir.join("store")).unwrap();
        std::fs::rename(folder.join("store"), data_dir.join("store")).unwrap();
    });
    pause_and_resume(&broker, 1).await;
    let left = until_bounded(&mut broker, KEPT + SLACK + 1);
    assert_eq!((left[0], left.last()), (numbers[0], Some(&205)));
    assert!(broker.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_a_long_history_shows_the_newest_of_it_and_says_so() {
    const EDITS: u32 = 505;
    let mut broker = start();
    block(&mut broker, "orders");
    let (admin, queue) = (admin(&broker), QueueName::new("orders").unwrap());
    for n in 0..EDITS {
        let request = RepairRequest {
            key: IdempotencyKey::new(&format!("edit-{n}")).unwrap(),
            expect_revision: Revision(n),
            action: RepairVerb::Save,
            payload: Some(Payload::Utf8(n.to_string())),
            header: None,
            to: None,
            reason: String::new(),
        };
        admin.repair(&queue, Seq(1), &request).await.unwrap();
    }
    let message = admin.message(&queue, Seq(1)).await.unwrap();
    assert!(message.history_cut);
    let revisions: Vec<u32> =
        message.history.iter().map(|entry| entry.revision.unwrap().0).collect();
    assert_eq!(revisions, (EDITS - 499..=EDITS).collect::<Vec<_>>());
    let shown = broker.run(&["message", "show", "orders", "1"], b"");
    assert!(shown.contains("journal, newest entries"), "{shown}");
    assert_eq!(list(&broker, Some(("orders", 1))).0.len(), EDITS as usize + 1);
    assert!(broker.stop().success());
}
