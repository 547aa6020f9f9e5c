//! What each mailbox keeps when the real binary is killed, and a queue's move between them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on ends there")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mubroker::admin::client::MessageQuery;
use mubroker::client::{Client, NewMessage};
use mubroker::model::{MailboxKind, QueueName};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, folder, serve};

const STOP_LIMIT: Duration = Duration::from_secs(5);
const QUEUES: &str = r#"
[queues.ram]
mailbox = "memory"
[queues.both]
mailbox = "mixed"
memory_messages = 4
[queues.disk]
mailbox = "file"
[queues.moving]
mailbox = "memory"
"#;

fn start(folder: &Path) -> Daemon {
    let config = folder.join("c.toml");
    let text = format!("data_dir = {:?}\n{QUEUES}", folder.join("data"));
    std::fs::write(&config, text).unwrap();
    let data_dir = folder.join("data");
    let mut command = serve(&data_dir);
    command.arg("--config").arg(&config);
    Daemon::start_with(command, &data_dir)
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mubroker"));
    command.args(args).env("MUBROKER_CONFIG", folder.join("c.toml")).stdin(Stdio::null());
    command.output().unwrap()
}

fn ok(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

async fn send(client: &Client, queue: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let queue = QueueName::new(queue).unwrap();
    let mut places = Vec::new();
    for n in numbers {
        let message = NewMessage::new(format!("{{\"n\":{n}}}")).id(&format!("{queue}-{n}"));
        places.push(client.send(&queue, message.build().unwrap()).await.unwrap().seq.0);
    }
    places
}

/// The messages of a queue: place and payload.
async fn waiting(daemon: &Daemon, queue: &str) -> Vec<(u64, String)> {
    let (admin, queue) = (daemon.admin(), QueueName::new(queue).unwrap());
    let page = admin.messages(&queue, &MessageQuery::default()).await.unwrap();
    let mut found = Vec::new();
    for message in page.messages {
        let payload = admin.payload(&queue, message.seq, None).await.unwrap();
        found.push((message.seq.0, String::from_utf8(payload.to_vec()).unwrap()));
    }
    found
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    numbers.map(|n| (n, format!("{{\"n\":{n}}}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_each_queue_has_what_its_mailbox_keeps() {
    let folder = folder();
    let daemon = start(folder.path());
    let client = Client::connect(&daemon.clients).await.unwrap();
    for queue in ["ram", "both", "disk"] {
        assert_eq!(send(&client, queue, 1..=10).await, (1..=10).collect::<Vec<_>>());
        assert_eq!(waiting(&daemon, queue).await, expected(1..=10));
    }
    daemon.end(Signal::SIGKILL, STOP_LIMIT);

    let daemon = start(folder.path());
    assert_eq!(waiting(&daemon, "ram").await, [], "memory is gone with the process");
    assert_eq!(waiting(&daemon, "both").await, expected(5..=10), "the overflow is there");
    assert_eq!(waiting(&daemon, "disk").await, expected(1..=10));
    let client = Client::connect(&daemon.clients).await.unwrap();
    for queue in ["ram", "both", "disk"] {
        let places = send(&client, queue, 11..=12).await;
        assert!(places[0] > 10 && places[1] == places[0] + 1, "no place is used twice: {places:?}");
    }
    let both = waiting(&daemon, "both").await;
    assert!(both.is_sorted() && both.len() == 8, "in order: {both:?}");
    assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_moves_to_disk_with_its_messages_and_stays_there() {
    let folder = folder();
    let daemon = start(folder.path());
    let client = Client::connect(&daemon.clients).await.unwrap();
    send(&client, "moving", 1..=5).await;
    let set = ["queue", "set", "moving", "mailbox=file", "lease_ms=1234", "--json"];
    let refused = run(folder.path(), &set);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("mubroker queue pause moving"), "{error}");
    ok(folder.path(), &["queue", "pause", "moving", "--json"]);
    let queue = ok(folder.path(), &set);
    assert_eq!(queue["settings"]["mailbox"], "file");
    assert_eq!(queue["overrides"], serde_json::json!(["mailbox", "lease_ms"]));
    daemon.end(Signal::SIGKILL, STOP_LIMIT);

    let daemon = start(folder.path());
    assert_eq!(waiting(&daemon, "moving").await, expected(1..=5));
    let admin = daemon.admin();
    let queue = QueueName::new("moving").unwrap();
    let view = admin.queue(&queue).await.unwrap();
    assert_eq!((view.settings.mailbox, view.settings.lease_ms), (MailboxKind::File, 1234));
    let journal = ok(folder.path(), &["journal", "--queue", "moving", "--json"]).to_string();
    assert!(journal.contains("settings-changed") && journal.contains("mailbox=file lease_ms=1234"));
    let shown = run(folder.path(), &["queue", "show", "moving"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("set by an operator: mailbox, lease_ms"), "{shown}");
    let back = ["queue", "set", "moving", "mailbox=default", "lease_ms=default", "--json"];
    let queue = ok(folder.path(), &back);
    assert_eq!(
        (&queue["settings"]["mailbox"], &queue["overrides"]),
        (&"memory".into(), &Value::Null)
    );
    assert_eq!(waiting(&daemon, "moving").await, expected(1..=5), "what is on disk stays there");
    let wrong = run(folder.path(), &["queue", "set", "moving", "mailbx=file"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no setting `mailbx`"));
    assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));
}
