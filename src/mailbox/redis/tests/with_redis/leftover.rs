//! What a queue that was deleted has left in its stream.

use std::collections::HashMap;

use nix::sys::signal::Signal;

use super::*;

/// `Q` is moved out of Redis, and then deleted with what waits in it.
fn move_and_delete(rig: &Rig, next: u64) {
    let moved = queue_record(Q, MailboxKind::File, 10);
    rig.mailbox.append(&batch([Op::PutQueue(Box::new(moved))])).unwrap();
    commit(rig, [Op::RemoveQueue { queue: Q, next: Seq(next) }]);
}

fn ids() -> Vec<String> {
    let all: Vec<(String, Vec<(String, String)>)> = redis(&["XRANGE", STREAM, "-", "+"]);
    all.into_iter().map(|(id, _)| id).collect()
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_former_redis_queue_that_is_deleted_leaves_others_entries_only() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, (1..=3_000).map(|seq| append(Q, seq, "own")));
    let _: String = redis(&["XADD", STREAM, "*", "payload", "taken in"]);
    assert_eq!(take_in(&rig, 3_001), 3_002);
    commit(&rig, [finish(Q, 1)]);
    // It is never taken in, so what the queue adds from now on stands among what is others'.
    let others: String = redis(&["XADD", STREAM, "*", "payload", "of others"]);
    rig.until("what others added is told", |rig| {
        rig.streams.state().queues[&Q].told.is_some_and(|told| told.to_string() == others)
    });
    commit(&rig, (3_002..=3_200).map(|seq| append(Q, seq, "own")));
    assert_eq!(entries(), 3_200);
    move_and_delete(&rig, 3_201);
    rig.until("what it had is removed", |_| ids() == [others.as_str()]);
    rig.until("it is forgotten", |rig| rig.streams.state().queues.is_empty());
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_queue_of_the_same_name_gets_nothing_of_the_one_that_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, (1..=5).map(|seq| append(Q, seq, "deleted")));
    server(|server| server.signal(nix::sys::signal::Signal::SIGSTOP));
    move_and_delete(&rig, 6);
    let mut again = queue_record(QueueId(2), MailboxKind::File, 10);
    (again.name, again.first) = (name(Q), Seq(6));
    commit(&rig, [Op::PutQueue(Box::new(again))]);
    server(|server| server.signal(nix::sys::signal::Signal::SIGCONT));
    rig.until("what the first had is removed", |_| entries() == 0);
    commit(&rig, [append(QueueId(2), 6, "new")]);
    let _: String = redis(&["XADD", STREAM, "*", "payload", "of others"]);
    let (queue, _, arrivals) = rig.arrivals();
    assert_eq!((queue, &arrivals[0].content.payload[..]), (QueueId(2), &b"of others"[..]));
    assert_eq!(arrivals.len(), 1);
}

/// The names that Redis refuses with, how it is made to, and how it is brought to take them again.
const REFUSALS: [(&str, &[&str], &[&str]); 4] = [
    (
        "NOREPLICAS",
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
    ),
    ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ("NOPERM", &["ACL", "SETUSER", "default", "-xtrim"], &["ACL", "SETUSER", "default", "+xtrim"]),
    ("NOPERM", &["ACL", "SETUSER", "default", "-xdel"], &["ACL", "SETUSER", "default", "+xdel"]),
];

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_redis_refuses_to_remove_is_removed_once_it_does() {
    for (code, refuse, allow) in REFUSALS {
        let folder = tempfile::tempdir().unwrap();
        let rig = fresh(folder.path());
        commit(&rig, [append(Q, 1, "one")]);
        let others: String = redis(&["XADD", STREAM, "*", "payload", "of others"]);
        rig.until("what others added is told", |rig| rig.streams.state().queues[&Q].told.is_some());
        // This one stands behind it: it takes a look at each, not a cut.
        commit(&rig, [append(Q, 2, "two"), put_queue(QueueId(2), 10)]);
        let _: String = redis(refuse);
        move_and_delete(&rig, 3);
        rig.until("it was refused twice", |_| refused(code) >= 2);
        assert!(rig.streams.state().queues[&Q].leftover.is_some(), "{code}");
        assert!(ids().len() >= 2, "{code}");
        let _: String = redis(allow);
        rig.until("what it had is removed", |_| ids() == [others.as_str()]);
        rig.until("it is forgotten", |rig| !rig.streams.state().queues.contains_key(&Q));
        rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
        commit(&rig, [append(QueueId(2), 1, "others go on")]);
        assert_eq!(redis::<usize>(&["XLEN", "mubroker:queue-2"]), 1);
        drop(rig);
        let _: usize = redis(&["DEL", STREAM, "mubroker:queue-2"]);
        let _: String = redis(&["CONFIG", "RESETSTAT"]);
    }
}

/// How often commands were refused with this code.
fn refused(code: &str) -> u64 {
    let stats: String = redis(&["INFO", "errorstats"]);
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("errorstat_{code}:count=")));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_key_that_others_made_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one")]);
    let _: i64 = redis(&["DEL", STREAM]);
    let _: String = redis(&["SET", STREAM, "x"]);
    move_and_delete(&rig, 2);
    rig.until("it is forgotten", |rig| rig.streams.state().queues.is_empty());
    assert_eq!(redis::<String>(&["GET", STREAM]), "x");
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_had_no_answer_goes_with_its_queue_too() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one")]);
    // So that nothing of the queue is looked at any more, as while it is full.
    let others: String = redis(&["XADD", STREAM, "*", "payload", "of others"]);
    rig.until("what others added is told", |rig| rig.streams.state().queues[&Q].told.is_some());
    server(|server| server.signal(Signal::SIGSTOP));
    commit(&rig, (2..=20).map(|seq| append(Q, seq, "in doubt")));
    move_and_delete(&rig, 21);
    let mut again = queue_record(QueueId(2), MailboxKind::File, 10);
    (again.name, again.first) = (name(Q), Seq(21));
    commit(&rig, [Op::PutQueue(Box::new(again))]);
    server(|server| server.signal(Signal::SIGCONT));
    let newest: String = redis(&["XADD", STREAM, "*", "payload", "new"]);
    rig.until("it is forgotten", |rig| !rig.streams.state().queues.contains_key(&Q));
    // What is told and not committed is told again.
    rig.until("others' entries are told, and no more", |rig| {
        let news = rig.news.lock().unwrap();
        let told = news.iter().rev().find_map(|news| match news {
            RedisNews::Arrived { queue: QueueId(2), arrivals, .. } => Some(arrivals),
            RedisNews::Arrived { .. } | RedisNews::Reach { .. } => None,
        });
        let told = told.into_iter().flatten().map(|arrival| arrival.entry.id.to_string());
        told.eq([others.as_str(), newest.as_str()])
    });
    assert_eq!(ids(), [others.as_str(), newest.as_str()]);
    let info: HashMap<String, redis::Value> = redis(&["XINFO", "STREAM", STREAM]);
    assert_eq!(info["entries-added"], redis::Value::Int(22), "they had got there");
}
