//! Workers that the broker keeps running: `[workers."name"]`.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::harness::{Broker, PATIENCE, signal};

/// Processes that have this variable and value in their environment.
fn with_variable(name: &str, value: &str) -> Vec<u32> {
    let line = format!("{name}={value}").into_bytes();
    let has_it = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == line)
    };
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_it).collect()
}

/// A variable's value that no other test has.
fn unique() -> String {
    format!("{}-{:?}", std::process::id(), std::thread::current().id())
}

fn pool(broker: &Broker) -> Option<Value> {
    broker.get("/v1/pools/jobs")
}

/// The names of connected workers in a state, sorted.
fn workers(broker: &Broker, state: &str) -> Option<Vec<String>> {
    let list = broker.get("/v1/workers")?;
    let rows = list.as_array()?.iter().filter(|row| row["state"] == state);
    let mut names: Vec<String> =
        rows.filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect();
    names.sort();
    Some(names)
}

#[test]
fn supervised_workers_do_messages_and_none_outlives_a_killed_broker() {
    let mark = unique();
    let mut broker = Broker::start(&format!(
        "[queues.jobs]\nordering = \"none\"\n[workers.jobs]\nqueue = \"jobs\"\ncount = 2\n\
         env = {{ OURS = \"{mark}\" }}\n\
         exec = [\"sh\", \"-c\", \"echo $OURS $MUBROKER_ID >&2; cat; setsid sleep 1000 & [ $MUBROKER_ID = m1 ] || sleep 1000\"]\n"
    ));
    broker
        .until("both are there", |broker| workers(broker, "idle").filter(|names| names.len() == 2));
    assert_eq!(workers(&broker, "idle").expect("a list"), ["jobs-0", "jobs-1"]);
    assert_eq!(broker.run(&["call", "-q", "jobs", "--id", "m1", "work"], b""), "work");
    for _ in 0..2 {
        broker.run(&["send", "-q", "jobs", "hangs"], b"");
    }
    broker.until("both are at work", |broker| {
        workers(broker, "busy").filter(|names| names.len() == 2)
    });
    // Two workers, two shells, what these have started, and what the first message has left behind.
    broker.until("all run", |_| (with_variable("OURS", &mark).len() >= 6).then_some(()));
    broker.restart_with(Signal::SIGKILL, || {});
    // The new broker has workers of its own: the old ones' shells are gone but for its own two.
    broker.until("only the new ones run", |broker| {
        let busy = workers(broker, "busy").filter(|names| names.len() == 2);
        let old =
            with_variable("OURS", &mark).into_iter().filter(|pid| started_by_old(*pid, broker));
        (busy.is_some() && old.count() == 0).then_some(())
    });
    let log = broker.log();
    assert!(
        log.contains("mubroker::workers: jobs 1 done in"),
        "what a worker writes is in the log"
    );
    broker.stop();
    assert_eq!(with_variable("OURS", &mark), [] as [u32; 0], "nobody outlives a stopped broker");
}

/// Whether a process has the mark of none of the broker's pools' processes.
fn started_by_old(pid: u32, broker: &Broker) -> bool {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
    let Some(mark) = environment.split('\0').find_map(|it| it.strip_prefix("MUBROKER_SPAWN_ID="))
    else {
        return false; // It ended meanwhile.
    };
    let pool = pool(broker).unwrap_or_default();
    let processes = pool["processes"].as_array().cloned().unwrap_or_default();
    !processes.iter().any(|process| process["spawn_id"] == mark)
}

#[test]
fn no_orphan_is_left_after_a_hundred_restarts_and_the_limit_pauses_the_queue() {
    let mark = unique();
    let mut broker = Broker::start(&format!(
        "[queues.jobs]\n[workers.jobs]\nqueue = \"jobs\"\nenv = {{ OURS = \"{mark}\" }}\n\
         command = [\"sh\", \"-c\", \"echo no config >&2; sleep 1000 & setsid sleep 1000 >&- 2>&- & exit 3\"]\n\
         restart = {{ max_restarts = 100, within_ms = 600000, backoff_initial_ms = 1, backoff_max_ms = 1 }}\n"
    ));
    let pool = broker
        .until("it is given up", |broker| pool(broker).filter(|pool| pool["state"] == "given-up"));
    assert_eq!(
        (&pool["restarts"], &pool["last_exit"]),
        (&101.into(), &"exit status 3: no config".into())
    );
    assert_eq!(with_variable("OURS", &mark), [] as [u32; 0]);
    let queue = broker.until("the queue is paused", |broker| {
        broker.queue("jobs").filter(|queue| queue["state"] == "paused")
    });
    assert!(queue.to_string().contains("ended 101 times"), "{queue}");
    let events = broker.run(
        &["events", "--json", "--after", "1-0", "--type", "restart-limit", "--limit", "2"],
        b"",
    );
    assert!(events.contains("\"restarts\":101"), "{events}");
    let shown = broker.run(&["worker", "ls", "--supervised"], b"");
    assert!(shown.contains("given-up") && shown.contains("exit status 3"), "{shown}");
}

#[test]
fn the_limit_pauses_a_queue_that_never_had_a_message() {
    let mut broker = Broker::start(
        "[queues.\"*\"]\n[workers.jobs]\nqueue = \"jobs\"\ncommand = [\"false\"]\n\
         restart = { max_restarts = 1, within_ms = 600000, backoff_initial_ms = 1, backoff_max_ms = 1 }\n",
    );
    let queue = broker.until("the queue is paused", |broker| {
        broker.queue("jobs").filter(|queue| queue["state"] == "paused")
    });
    assert!(queue.to_string().contains("ended 2 times"), "{queue}");
    broker.run(&["send", "-q", "jobs", "work"], b"");
    let queue = broker.queue("jobs").expect("it is there");
    assert_eq!((&queue["state"], &queue["depth"]), (&"paused".into(), &1.into()));
}

#[test]
fn a_supervised_worker_that_stands_still_is_replaced_and_its_message_done() {
    let mut broker = Broker::start(
        "[workers.jobs]\nqueue = \"jobs\"\nrestart = { backoff_initial_ms = 1 }\n\
         exec = [\"sh\", \"-c\", \"[ $MUBROKER_ATTEMPT = 2 ] || sleep 1000\"]\n",
    );
    broker.run(&["send", "-q", "jobs", "work"], b"");
    broker.until("it is at work", |broker| workers(broker, "busy").filter(|it| it.len() == 1));
    let first = pool(&broker).expect("a pool")["processes"][0]["pid"].as_u64().expect("a pid");
    signal(u32::try_from(first).expect("a pid"), Signal::SIGSTOP);
    broker.until("another one has done it", |broker| {
        let queue = broker.queue("jobs")?;
        (queue["done"] == 1).then_some(())
    });
    let pool = pool(&broker).expect("a pool");
    assert_eq!((&pool["restarts"], &pool["last_exit"]), (&1.into(), &"it isn't heard".into()));
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
}

#[test]
fn an_operator_scales_drains_and_restarts_a_pool() {
    let mut broker = Broker::start("[workers.jobs]\nqueue = \"jobs\"\nexec = [\"cat\"]\n");
    let there = |broker: &mut Broker, count: usize| {
        broker.until("they are there", |broker| {
            workers(broker, "idle").filter(|names| names.len() == count)
        })
    };
    assert_eq!(there(&mut broker, 1), ["jobs"]);
    broker.run(&["worker", "scale", "jobs", "3"], b"");
    there(&mut broker, 3);
    let pids = |broker: &Broker| {
        let pool = pool(broker).expect("a pool");
        pool["processes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| it["pid"].clone())
            .collect::<Vec<_>>()
    };
    let before = pids(&broker);
    broker.run(&["worker", "restart", "jobs"], b"");
    broker.until("all are others", |broker| {
        let now = pids(broker);
        (now.len() == 3 && !now.iter().any(|pid| pid.is_null() || before.contains(pid)))
            .then_some(())
    });
    there(&mut broker, 3);
    assert_eq!(broker.run(&["call", "-q", "jobs", "after the restart"], b""), "after the restart");
    broker.run(&["worker", "drain", "jobs"], b"");
    broker.until("all have ended", |broker| {
        pool(broker).filter(|pool| {
            pool["state"] == "drained" && pool["processes"] == Value::Array(Vec::new())
        })
    });
    assert_eq!(pool(&broker).expect("a pool")["restarts"], 0);
    let refused = broker.try_run(&["worker", "restart", "other"], b"");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("no worker \"other\""), "{text}");
    let refused = broker.try_run(&["worker", "scale", "jobs", "1000"], b"");
    assert!(!refused.status.success());
}

#[test]
fn a_stop_lets_supervised_workers_end_what_they_hold_and_what_is_too_long_is_no_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let pool = |name: &str, seconds: &str| {
        format!(
            "[workers.{name}]\nqueue = \"{name}\"\nenv = {{ TOLD = {told:?} }}\n\
             exec = [\"sh\", \"-c\", \"echo $MUBROKER_QUEUE $MUBROKER_ATTEMPT >> $TOLD; sleep {seconds}\"]\n"
        )
    };
    let settings =
        format!("[queues.soon]\n[queues.late]\n{}{}", pool("soon", "1.5"), pool("late", "1000"));
    let mut broker = Broker::start(&settings);
    for queue in ["soon", "late"] {
        broker.run(&["send", "-q", queue, "work"], b"");
    }
    let lines = |_: &mut Broker, count: usize| {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        Some(text).filter(|text| text.lines().count() == count)
    };
    broker.until("both are at work", |broker| lines(broker, 2));
    broker.restart(Signal::SIGTERM);
    let text = broker.until("what was not done is done again", |broker| lines(broker, 3));
    assert!(text.ends_with("late 1\n"), "its first attempt was no failure: {text}");
    assert_eq!(broker.queue("soon").expect("there")["depth"], 0, "it was done in time");
    assert!(!broker.log().contains("worker-lost"), "{}", broker.log());
}

#[test]
fn one_process_of_a_pool_is_drained_and_stays_so_until_it_is_restarted() {
    let mut broker = Broker::start(
        "[queues.jobs]\nordering = \"none\"\n[workers.jobs]\nqueue = \"jobs\"\ncount = 2\nexec = [\"cat\"]\n",
    );
    let idle = |broker: &mut Broker, names: &[&str]| {
        broker.until("the others are there", |broker| {
            workers(broker, "idle").filter(|found| found == names)
        })
    };
    let states = |broker: &mut Broker, expected: [&str; 2]| {
        broker.until("the processes are so", |broker| {
            let pool = pool(broker)?;
            (0..2).all(|at| pool["processes"][at]["state"] == expected[at]).then_some(pool)
        })
    };
    idle(&mut broker, &["jobs-0", "jobs-1"]);
    broker.run(&["worker", "drain", "jobs-0"], b"");
    let drained = states(&mut broker, ["drained", "running"]);
    assert_eq!((&drained["restarts"], &drained["state"]), (&0.into(), &"running".into()));
    idle(&mut broker, &["jobs-1"]);
    // The other one ends by itself and is started again; the drained one isn't.
    let other = drained["processes"][1]["pid"].as_u64().expect("a pid");
    signal(u32::try_from(other).expect("a pid"), Signal::SIGKILL);
    broker.until("it is started again", |broker| {
        let pool = pool(broker)?;
        let pid = pool["processes"][1]["pid"].as_u64()?;
        (pid != other && pool["restarts"] == 1).then_some(())
    });
    states(&mut broker, ["drained", "running"]);
    let refused = broker.try_run(&["worker", "scale", "jobs-0", "2"], b"");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("one process of jobs"), "{text}");
    broker.run(&["worker", "restart", "jobs-0"], b"");
    idle(&mut broker, &["jobs-0", "jobs-1"]);
}

#[test]
fn what_needs_somebody_is_told_to_datadog_a_webhook_and_the_events() {
    let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    agent.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let hook = TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "key\n").expect("a file");
    let broker = Broker::start(&format!(
        "[queues.jobs]\non_failure = \"block\"\n[alerts]\ndatadog = \"udp://{}\"\n\
         webhook = \"http://{}/hook\"\nwebhook_secret_file = {secret:?}\n\
         [workers.jobs]\nqueue = \"jobs\"\nexec = [\"false\"]\nhealth = false\n",
        agent.local_addr().expect("bound"),
        hook.local_addr().expect("bound"),
    ));
    broker.run(&["send", "-q", "jobs", "--id", "m1", "work"], b"");
    let mut datagrams = Vec::new();
    for _ in 0..3 {
        let mut bytes = [0; 8_192];
        let read = agent.recv(&mut bytes).expect("a datagram");
        datagrams.push(String::from_utf8(bytes[..read].to_vec()).expect("UTF-8"));
    }
    for expected in [
        "mubroker.worker.failed:1|c|#queue:jobs,worker:jobs",
        "mubroker.alert:1|c|#rule:blocked",
        "_e{22,29}:mubroker: blocked jobs|jobs 1: exit-1: exit status 1|k:blocked|t:error|#rule:blocked,subject:jobs",
    ] {
        assert!(datagrams.iter().any(|found| found == expected), "{expected}: {datagrams:?}");
    }
    let (mut stream, _) = hook.accept().expect("it posts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut request = String::new();
    let mut piece = [0; 4_096];
    while !request.ends_with('}') {
        let read = stream.read(&mut piece).expect("it writes");
        request += std::str::from_utf8(&piece[..read]).expect("text");
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it reads");
    let (head, body) = request.split_once("\r\n\r\n").expect("a request");
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        body,
        "{\"rule\":\"blocked\",\"level\":\"error\",\"subject\":\"jobs\",\"queue\":\"jobs\",\
         \"text\":\"jobs 1: exit-1: exit status 1\",\"kept_back\":0}"
    );
    assert!(
        head.contains("mubroker-signature: t=") && head.contains("mubroker-alert-id: "),
        "{head}"
    );
    let arguments = ["events", "--json", "--after", "1-0", "--type", "alert", "--limit", "2"];
    let events = broker.run(&arguments, b"");
    assert!(events.contains("\"rule\":\"blocked\""), "{events}");
}

#[test]
fn old_messages_and_many_dead_letters_are_worth_an_alert() {
    let broker = Broker::start(
        "[queues.idle]\n[queues.jobs]\non_failure = \"dead-letter\"\n\
         [queues.\"bi*\"]\n[topics.t]\nsubscriptions = [{ queue = \"bills\", filter = \"body.n > 1\" }]\n\
         [alerts]\noldest_age_ms = 1\ndead_letters = 2\n\
         [workers.jobs]\nqueue = \"jobs\"\nexec = [\"false\"]\n",
    );
    // Its filter can't be told, and its queue has never had a message.
    for _ in 0..2 {
        broker.run(&["publish", "-t", "t", "{}"], b"");
    }
    broker.run(&["send", "-q", "idle", "nobody does it"], b"");
    for _ in 0..3 {
        broker.run(&["send", "-q", "jobs", "work"], b"");
    }
    // The first line says that the events before were missed.
    let arguments = ["events", "--json", "--after", "1-0", "--type", "alert", "--limit", "6"];
    let events = broker.run(&arguments, b"");
    for expected in [
        "jobs.dead: 2 dead letters came within",
        "bills.dead: 2 dead letters came within",
        "idle: the oldest of 1 messages waits",
    ] {
        assert!(events.contains(expected), "{events}");
    }
}
