//! Queues whose messages may overtake one another, with the real binary and its worker.

use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Broker, Running};

/// Does what is not `bad`.
const WORK: &str = "grep -q bad && { echo 'it is bad' >&2; exit 1; } || exit 0";

fn worker(broker: &Broker, queue: &str, credit: &str) -> Running {
    let child: Child = broker
        .command(&["worker", "--queue", queue, "--credit", credit, "--broker", &broker.workers])
        .args(["--exec", "sh", "-c", WORK])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mubroker starts");
    Running(child)
}

fn send(broker: &Broker, queue: &str, arguments: &[&str], payload: &str) {
    let arguments = [&["send", "--queue", queue], arguments].concat();
    broker.run(&arguments, payload.as_bytes());
}

/// The queue, once so many wait in it and so many of them are blocked.
fn settled(broker: &mut Broker, queue: &str, depth: u64, blocked: u64) -> Value {
    broker.until(&format!("{depth} wait in {queue}, {blocked} blocked"), |broker| {
        let view = broker.queue(queue)?;
        (view["depth"] == depth && view["blocked"] == blocked).then_some(view)
    })
}

#[test]
fn competing_consumers_go_on_around_a_blocked_message_also_after_a_kill() {
    let mut broker = Broker::start("[queues.jobs]\nordering = \"none\"\npriority = true\n");
    send(&broker, "jobs", &[], "bad");
    for n in 0..20 {
        send(&broker, "jobs", &["--priority", "3"], &format!("job {n}"));
    }
    let first = worker(&broker, "jobs", "4");
    let second = worker(&broker, "jobs", "4");
    let view = settled(&mut broker, "jobs", 1, 1);
    assert_eq!((&view["state"], &view["head"]["seq"]), (&"running".into(), &1.into()));
    let listed = broker.run(&["queue", "ls"], b"");
    assert!(listed.contains("1 blocked: exit status 1: it is bad"), "{listed}");
    let shown = broker.run(&["queue", "show", "jobs"], b"");
    assert!(shown.contains("ordering none, by priority"), "{shown}");
    drop((first, second));

    broker.restart(Signal::SIGKILL);
    send(&broker, "jobs", &[], "job 21");
    let _third = worker(&broker, "jobs", "1");
    settled(&mut broker, "jobs", 1, 1);
    let edit = ["message", "edit", "jobs", "1", "--file", "-", "--retry", "--reason", "mended"];
    broker.run(&edit, br#"{"job": "good"}"#);
    settled(&mut broker, "jobs", 0, 0);
}

#[test]
fn a_priority_is_refused_where_messages_are_in_order() {
    let broker = Broker::start("");
    let refused = broker.try_run(&["send", "--queue", "jobs", "--priority", "3"], b"job");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("queue jobs has no priorities"), "{text}");
}
