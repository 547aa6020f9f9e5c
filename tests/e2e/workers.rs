//! Workers as processes: what they start, and how it ends.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::{Broker, PATIENCE, Running, signal, wait_for_end};

/// Writes the process ids of the command, of a child in its group, and of one in a session of its own.
const FAMILY: &str = "echo $$ >> pids; sleep 1000 & echo $! >> pids; \
                      setsid sh -c 'echo $$ >> pids; exec sleep 1000' & wait";

fn worker(broker: &Broker, more: &[&str]) -> Running {
    let arguments = [&["worker", "--queue", "jobs", "--broker", &broker.workers], more].concat();
    let mut command = broker.command(&arguments);
    command.current_dir(broker.folder()).stdin(Stdio::null()).stderr(Stdio::null());
    Running(command.stdout(Stdio::null()).spawn().expect("mubroker starts"))
}

fn pids(folder: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
    text.lines().map(|line| Pid::from_raw(line.parse().expect("a process id"))).collect()
}

fn is_gone(pid: Pid) -> bool {
    // Ended, but not yet reaped by whoever inherited it, counts too.
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    kill(pid, None) == Err(Errno::ESRCH) || stat().map_or(true, |stat| stat.contains(") Z"))
}

/// A worker that runs a family of processes for the one message there is.
fn at_work(broker: &mut Broker) -> (Running, Vec<Pid>) {
    broker.run(&["send", "-q", "jobs", "work"], b"");
    let worker = worker(broker, &["--exec", "sh", "-c", FAMILY]);
    let family = broker.until("the whole family runs", |broker| {
        Some(pids(broker.folder())).filter(|pids| pids.len() == 3)
    });
    assert!(!family.iter().any(|&pid| is_gone(pid)));
    (worker, family)
}

#[test]
fn a_worker_that_is_killed_takes_all_that_its_command_has_started_with_it() {
    let mut broker = Broker::start("");
    let (mut worker, family) = at_work(&mut broker);
    signal(worker.0.id(), Signal::SIGKILL);
    wait_for_end(&mut worker.0);
    broker.until("nobody of the family runs", |_| {
        family.iter().all(|&pid| is_gone(pid)).then_some(())
    });
}

#[test]
fn a_command_ends_with_its_killed_worker_also_without_a_keeper() {
    let mut broker = Broker::start("");
    let (mut worker, family) = at_work(&mut broker);
    let keepers = broker.until("there is a keeper", |_| {
        Some(keepers_of(worker.0.id())).filter(|keepers| keepers.len() == 1)
    });
    signal(keepers[0], Signal::SIGKILL);
    signal(worker.0.id(), Signal::SIGKILL);
    wait_for_end(&mut worker.0);
    broker.until("the command doesn't run", |_| is_gone(family[0]).then_some(()));
    for pid in family {
        let _gone = kill(pid, Signal::SIGKILL);
    }
}

#[test]
fn a_keeper_ends_with_its_worker() {
    let mut broker = Broker::start("");
    let mut worker = worker(&broker, &["--exec", "true"]);
    broker.until("the worker is there", |broker| {
        broker.get("/v1/workers").filter(|list| list.as_array().is_some_and(|list| list.len() == 1))
    });
    let keepers = broker.until("there is a keeper", |_| {
        Some(keepers_of(worker.0.id())).filter(|keepers| keepers.len() == 1)
    });
    signal(worker.0.id(), Signal::SIGTERM);
    assert!(wait_for_end(&mut worker.0).success());
    let keeper = Pid::from_raw(i32::try_from(keepers[0]).expect("a pid"));
    broker.until("the keeper is gone", |_| is_gone(keeper).then_some(()));
}

/// The worker's children that are keepers.
fn keepers_of(worker: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{worker}/task/{worker}/children"));
    let children = children.expect("Linux shows a process's children");
    let pids = children.split_whitespace().map(|pid| pid.parse().expect("a process id"));
    let is_keeper = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "mub-keeper")
    };
    pids.filter(is_keeper).collect()
}

/// `GET path` of a worker's health server: status and body.
fn health(url: &str, path: &str) -> (String, String) {
    let address = url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.split_whitespace().nth(1).expect("a status").to_owned(), body.to_owned())
}

#[test]
fn a_message_that_takes_too_long_is_told_everywhere_and_ended() {
    let mut broker = Broker::start("");
    let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    agent.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let datadog = format!("udp://{}", agent.local_addr().expect("bound"));
    let script = format!("trap '' TERM; {FAMILY}; sleep 1000");
    let limits = ["--max-execution-ms", "400", "--overrun-grace-ms", "400", "--name", "w"];
    let more = ["--health", "--datadog", &datadog, "--exec", "sh", "-c", &script];
    let _worker = worker(&broker, &[&limits[..], &more].concat());
    let url = broker.until("the worker is there", |broker| {
        broker.get("/v1/workers")?[0]["health_url"].as_str().map(str::to_owned)
    });
    assert_eq!(health(&url, "/healthz").0, "200");
    assert_eq!(health(&url, "/readyz").0, "200");
    broker.run(&["send", "-q", "jobs", "--id", "m1", "work"], b"");
    let body = broker.until("it is unhealthy", |_| {
        let (status, body) = health(&url, "/healthz");
        (status == "500").then_some(body)
    });
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&body["work"][0]["id"], &body["work"][0]["left_ms"]), (&"m1".into(), &0.into()));
    let mut datagrams = Vec::new();
    for _ in 0..2 {
        let mut bytes = [0; 8_192];
        let read = agent.recv(&mut bytes).expect("a datagram");
        datagrams.push(String::from_utf8(bytes[..read].to_vec()).expect("UTF-8"));
    }
    assert_eq!(datagrams[0], "mubroker.worker.overrun:1|c|#queue:jobs,worker:w");
    assert_eq!(
        datagrams[1],
        "_e{20,47}:w is stuck on jobs 1|message m1 runs longer than 400 ms and is ended\
         |k:mubroker-overrun|t:error|#queue:jobs,worker:w"
    );
    let queue = broker.until("it is blocked", |broker| {
        broker.queue("jobs").filter(|queue| queue["state"] == "blocked")
    });
    assert_eq!(queue["head"]["error"]["code"], "timeout", "{queue}");
    assert!(pids(broker.folder()).iter().take(2).all(|&pid| is_gone(pid)), "its group has ended");
    assert_eq!(health(&url, "/healthz").0, "200");
    let of_alerts = ["--after", "1-0", "--type", "worker-alert", "--limit", "2"];
    let events = broker.run(&[&["events", "--json"][..], &of_alerts].concat(), b"");
    assert!(events.contains("\"alert\":\"overrun\""), "{events}");
}

#[test]
fn the_readmes_child_does_messages_and_blocks_what_it_cannot_read() {
    let mut broker = Broker::start("");
    let readme = include_str!("../../README.md");
    let from = readme.find("import json, sys\n\nfor line").expect("the README shows it");
    let script = readme[from..].split("```").next().expect("it ends");
    let child = broker.folder().join("child.py");
    std::fs::write(&child, script).expect("a file");
    let child = child.to_str().expect("a plain path");
    let _worker = worker(&broker, &["--stdio", "python3", child]);
    assert_eq!(broker.run(&["call", "-q", "jobs", "{\"total\": 120}"], b""), "booked 120");
    broker.run(&["send", "-q", "jobs", "no JSON"], b"");
    broker.until("it is blocked", |broker| {
        broker.queue("jobs").filter(|queue| queue["state"] == "blocked")
    });
}

#[test]
fn a_connected_worker_is_restarted_and_drained_after_what_it_has() {
    let mut broker = Broker::start("");
    let mut worker =
        worker(&broker, &["--name", "w", "--exec", "sh", "-c", "echo $$ >> pids; sleep 0.5"]);
    broker.run(&["send", "-q", "jobs", "work"], b"");
    let id = |broker: &mut Broker, not: u64| {
        broker.until("it is there", |broker| {
            broker.get("/v1/workers")?[0]["id"].as_u64().filter(|&id| id != not)
        })
    };
    let first = id(&mut broker, 0);
    broker.until("it is at work", |broker| (pids(broker.folder()).len() == 1).then_some(()));
    assert_eq!(broker.run(&["worker", "restart", "w"], b""), "1 told\n");
    id(&mut broker, first);
    assert_eq!(broker.queue("jobs").expect("a queue")["done"], 1, "it has ended what it had");
    assert!(worker.0.try_wait().expect("a child").is_none());
    broker.run(&["worker", "drain", "w", "--reason", "maintenance"], b"");
    assert!(wait_for_end(&mut worker.0).success());
    assert_eq!(broker.queue("jobs").expect("a queue")["failed"], 0);
}
