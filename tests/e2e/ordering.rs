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

#[test]
fn a_blocked_order_key_holds_its_own_messages_only_and_is_listed() {
    let mut broker = Broker::start("[queues.orders]\nordering = \"key\"\n");
    send(&broker, "orders", &["--key", "anna"], "bad");
    for n in 0..6 {
        send(&broker, "orders", &["--key", "anna"], &format!("anna {n}"));
        send(&broker, "orders", &["--key", "bert"], &format!("bert {n}"));
        send(&broker, "orders", &[], &format!("nobody {n}"));
    }
    let first = worker(&broker, "orders", "8");
    settled(&mut broker, "orders", 7, 1);
    let page = broker.get("/v1/queues/orders/keys").expect("a page");
    assert_eq!(page["keys"].as_array().map(Vec::len), Some(1), "{page}");
    let key = &page["keys"][0];
    assert_eq!((&key["key"], &key["seq"], &key["behind"]), (&"anna".into(), &1.into(), &6.into()));
    let listed = broker.run(&["queue", "keys", "orders"], b"");
    assert!(listed.contains("anna") && listed.contains("it is bad"), "{listed}");
    let moved = r#"{"job": "good"}"#;
    std::fs::write(broker.folder().join("good.json"), moved).expect("a file");
    drop(first);

    broker.restart(Signal::SIGKILL);
    let after = broker.get("/v1/queues/orders/keys").expect("a page");
    assert_eq!((&after["keys"][0]["key"], &after["unseen"]), (&"anna".into(), &7.into()));
    let _second = worker(&broker, "orders", "8");
    send(&broker, "orders", &["--key", "bert"], "bert 7");
    settled(&mut broker, "orders", 7, 1);
    let page = broker.get("/v1/queues/orders/keys").expect("a page");
    assert_eq!((&page["keys"][0]["behind"], &page["unseen"]), (&6.into(), &0.into()));
    let file = broker.folder().join("good.json");
    let file = file.to_str().expect("a path");
    broker.run(
        &["message", "edit", "orders", "1", "--file", file, "--retry", "--reason", "mended"],
        b"",
    );
    settled(&mut broker, "orders", 0, 0);
    let none = broker.run(&["queue", "keys", "orders"], b"");
    assert_eq!(none, "no order key stands\n");
}

#[test]
fn a_message_whose_attempts_are_used_up_is_a_dead_letter_also_after_a_kill() {
    let retry = "retry = { attempts = 2, backoff = \"fixed\", initial_ms = 20 }";
    let mut broker =
        Broker::start(&format!("[queues.\"*\"]\non_failure = \"dead-letter\"\n{retry}\n"));
    send(&broker, "bills", &[], "bad");
    send(&broker, "bills", &[], "good");
    let _first = worker(&broker, "bills", "1");
    settled(&mut broker, "bills", 0, 0);
    broker.restart(Signal::SIGKILL);
    settled(&mut broker, "bills.dead", 1, 0);
    let dead = broker.get("/v1/queues/bills.dead/messages/1").expect("a message");
    let from = &dead["header"]["dead_letter"];
    assert_eq!((&from["reason"], &from["attempts"]), (&"attempts".into(), &2.into()), "{dead}");
    assert!(from["error"].as_str().is_some_and(|error| error.contains("it is bad")), "{dead}");
    assert_eq!(dead["payload"]["data"], "bad");
}

#[test]
fn dead_letters_are_brought_back_by_a_filter_and_what_fails_again_stays_out_of_it() {
    let retry = "on_failure = \"dead-letter\"\nretry = { attempts = 1 }\n";
    let mut broker = Broker::start(&format!("[queues.\"*\"]\n{retry}"));
    for n in 0..8 {
        let country = if n % 2 == 0 { "FR" } else { "DE" };
        let payload = format!(r#"{{"n": {n}, "country": "{country}", "state": "bad"}}"#);
        send(&broker, "bills", &["--id", &format!("bill-{n}")], &payload);
    }
    let _worker = worker(&broker, "bills", "1");
    settled(&mut broker, "bills.dead", 8, 0);
    let redrive = ["queue", "redrive", "bills.dead", "--filter", "body.country == 'FR'"];
    let told = broker.run(&[&redrive[..], &["--dry-run"]].concat(), b"");
    assert_eq!(told.lines().filter(|line| line.ends_with("would go")).count(), 4, "{told}");
    settled(&mut broker, "bills.dead", 8, 0);

    // All are still bad: each comes back once.
    let told = broker.run(&[&redrive[..], &["--rate", "0", "--reason", "try"]].concat(), b"");
    assert_eq!(told.lines().filter(|line| line.contains("now")).count(), 4, "{told}");
    settled(&mut broker, "bills.dead", 8, 0);
    let page = broker.get("/v1/queues/bills.dead/messages").expect("a page");
    let ids: Vec<_> = page["messages"].as_array().expect("rows").iter().map(|m| &m["id"]).collect();
    let order = [1, 3, 5, 7, 0, 2, 4, 6].map(|n| Value::from(format!("bill-{n}")));
    assert_eq!(ids, order.iter().collect::<Vec<_>>());
    let last = broker.get("/v1/queues/bills.dead/messages/12").expect("the newest");
    assert_eq!(last["header"]["dead_letter"]["count"], 2, "{last}");

    // One is mended where it lies, and goes back.
    let edit = ["message", "edit", "bills.dead", "2", "--file", "-", "--reason", "mended"];
    broker.run(&edit, br#"{"n": 1, "state": "good"}"#);
    let told = broker.run(&["message", "move", "bills.dead", "2"], b"");
    assert!(told.contains("bills.dead 2 is bills 13 now"), "{told}");
    settled(&mut broker, "bills", 0, 0);
    settled(&mut broker, "bills.dead", 7, 0);
    let journal = broker.run(&["journal", "--queue", "bills.dead"], b"");
    assert!(journal.contains("moved             bills.dead 2 to bills by"), "{journal}");
}

#[test]
fn an_operator_sends_a_blocked_message_to_the_dead_letters_or_elsewhere() {
    let mut broker = Broker::start("");
    for payload in ["bad", "bad too", "fine"] {
        send(&broker, "bills", &[], payload);
    }
    let _worker = worker(&broker, "bills", "1");
    settled(&mut broker, "bills", 3, 1);
    let told = broker.run(&["message", "dead-letter", "bills", "1", "--reason", "no use"], b"");
    assert!(told.contains("bills 1 is bills.dead 1 now"), "{told}");
    let listed = broker.run(&["message", "ls", "bills.dead"], b"");
    assert!(listed.contains(" in bills"), "why it is there: {listed}");
    settled(&mut broker, "bills", 2, 1);
    let refused = broker.try_run(&["message", "move", "bills", "2"], b"");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("is no dead letter"), "{text}");
    broker.run(&["message", "move", "bills", "2", "--to", "by-hand"], b"");
    settled(&mut broker, "bills", 0, 0);
    broker.restart(Signal::SIGKILL);
    settled(&mut broker, "bills.dead", 1, 0);
    settled(&mut broker, "by-hand", 1, 0);
}
