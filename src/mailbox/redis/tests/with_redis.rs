//! What needs a server. Each test has its own, which ends with the test's thread.

mod leftover;
mod power;

use std::cell::RefCell;

use bytes::Bytes;

use super::*;
use crate::mailbox::conformance::sample::*;
use crate::model::StreamId;

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// The server of this test.
fn server<T>(f: impl FnOnce(&mut Server) -> T) -> T {
    SERVER.with_borrow_mut(|server| f(server.get_or_insert_with(Server::start)))
}

fn open(folder: &Path) -> Rig {
    Rig::open(folder, &server(|server| server.url()))
}

/// Closed and opened again within the process: what is in RAM stays.
fn mixed() -> impl Fn(&Path) -> Rig {
    let ram = Arc::default();
    move |folder| {
        let url = server(|server| server.url());
        Rig::of_kind(MailboxKind::Mixed, folder, &url, Arc::clone(&ram))
    }
}

/// All payloads in Redis.
mod redis_queues {
    conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        live,
        super::super::open
    );
    durable_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        durable,
        super::super::open
    );
    journal_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        journal,
        super::super::open
    );
    durable_journal_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        kept,
        super::super::open
    );
}

/// Some in RAM, the rest in Redis.
mod mixed_queues {
    conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        live,
        super::super::mixed()
    );
    durable_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        reopened,
        super::super::mixed()
    );
    journal_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        journal,
        super::super::mixed()
    );
    durable_journal_conformance!(
        #[ignore = "needs redis-server: tests/run runs it"]
        kept,
        super::super::mixed()
    );
}

fn redis<T: redis::FromRedisValue>(words: &[&str]) -> T {
    server(|server| server.ask(words))
}

/// The stream of `Q`.
const STREAM: &str = "mubroker:queue-1";

fn entries() -> usize {
    redis(&["XLEN", STREAM])
}

fn payloads(mailbox: &dyn Mailbox) -> Vec<Bytes> {
    let messages = mailbox.read(Q, Seq(1), 1_000, usize::MAX).unwrap();
    messages.into_iter().map(|message| message.content.payload.clone()).collect()
}

fn commit(rig: &Rig, ops: impl IntoIterator<Item = Op>) {
    rig.append(&batch(ops)).unwrap();
    rig.sync().unwrap();
}

fn fresh(folder: &Path) -> Rig {
    let rig = open(folder);
    rig.recover().unwrap();
    commit(&rig, [put_queue(Q, 10)]);
    rig
}

/// What others have added, taken in as the engine does; from place `seq` on. What is committed already was told again
/// because that took long.
fn take_in(rig: &Rig, mut seq: u64) -> u64 {
    let (queue, _, arrivals) = rig.arrivals();
    let taken = rig.streams.state().queues[&queue].taken;
    let new = arrivals.into_iter().filter(|arrival| arrival.entry.id > taken);
    let ops = new.map(|arrival| {
        let at = crate::model::Timestamp(1);
        let (content, entry) = (Arc::new(arrival.content), Some(Box::new(arrival.entry)));
        let op = Op::Append { queue, seq: Seq(seq), at, content, entry };
        seq += 1;
        op
    });
    let ops: Vec<Op> = ops.collect();
    commit(rig, ops);
    seq
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_payload_is_in_the_stream_until_its_message_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one"), append(Q, 2, "two")]);
    assert_eq!(entries(), 2);
    let fields: Vec<(String, Vec<(String, String)>)> = redis(&["XRANGE", STREAM, "-", "+"]);
    let names: Vec<&str> = fields[0].1.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["payload", "header", "by"]);
    assert_eq!(fields[0].1[0].1, "one");
    commit(&rig, [finish(Q, 1)]);
    rig.until("the first entry is removed", |_| entries() == 1);
    assert_eq!(payloads(&rig), ["two"]);
    assert!(rig.news.lock().unwrap().iter().all(|n| !matches!(n, RedisNews::Arrived { .. })));
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_others_add_is_taken_in_once_and_removed_when_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "own")]);
    let _: String = redis(&["XADD", STREAM, "*", "payload", "a", "header", r#"{"id":"m-a"}"#]);
    let _: String = redis(&["XADD", STREAM, "*", "x", "1"]);
    let mut seq = 2;
    while seq < 4 {
        seq = take_in(&rig, seq);
    }
    assert_eq!(payloads(&rig), ["own", "a", r#"{"x":"1"}"#]);
    drop(rig);
    let rig = open(folder.path());
    let recovered = rig.recover().unwrap();
    assert!(recovered.queues[0].newest_entry > StreamId::ZERO);
    assert_eq!(payloads(&rig), ["own", "a", r#"{"x":"1"}"#]);
    commit(&rig, [finish(Q, 1), finish(Q, 2), finish(Q, 3)]);
    rig.until("all entries are removed", |_| entries() == 0);
    assert!(rig.news.lock().unwrap().iter().all(|n| !matches!(n, RedisNews::Arrived { .. })));
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_was_told_and_not_committed_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let _: String = redis(&["XADD", STREAM, "*", "payload", "a"]);
    let first = rig.arrivals();
    let again = rig.arrivals();
    assert_eq!(first, again);
    let entry = again.2[0].entry.id;
    commit(&rig, [Op::PassEntry { queue: Q, entry }]);
    rig.until("a passed entry is removed", |_| entries() == 0);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn without_redis_payloads_are_kept_here_and_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "there")]);
    server(Server::kill);
    let started = Instant::now();
    commit(&rig, [append(Q, 2, "here")]);
    commit(&rig, [append(Q, 3, "here too")]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let unreachable = rig.read(Q, Seq(1), 9, usize::MAX).unwrap_err();
    assert!(matches!(unreachable, MailboxError::Unreachable { .. }), "{unreachable}");
    let here = rig.read(Q, Seq(2), 9, usize::MAX).unwrap();
    assert_eq!(here.len(), 2, "what is here can be read");
    server(Server::restart);
    rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
    commit(&rig, [append(Q, 4, "there again")]);
    assert_eq!(payloads(&rig), ["there", "here", "here too", "there again"]);
    assert_eq!(entries(), 2);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_mixed_queue_spills_into_its_stream_and_what_is_in_ram_needs_no_redis() {
    let folder = tempfile::tempdir().unwrap();
    let rig = mixed()(folder.path());
    rig.recover().unwrap();
    commit(&rig, [put_queue(Q, 10)]);
    commit(&rig, (1..=5).map(|seq| append(Q, seq, format!("payload {seq}"))));
    assert_eq!(entries(), 3, "two wait in RAM");
    assert_eq!(payloads(&rig), (1..=5).map(|n| format!("payload {n}")).collect::<Vec<_>>());
    server(Server::kill);
    rig.until("it is noticed", |rig| rig.streams.state().reach != Reach::Up);
    assert_eq!(payloads(&rig), ["payload 1", "payload 2"]);
    server(Server::restart);
    rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
    commit(&rig, (1..=5).map(|seq| finish(Q, seq)));
    commit(&rig, [append(Q, 6, "in RAM again")]);
    rig.until("all are removed", |_| entries() == 0);
    assert_eq!(payloads(&rig), ["in RAM again"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_queue_moves_in_and_out_of_redis_and_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let put = |kind| {
        let mut record = queue_record(Q, MailboxKind::File, 10);
        record.settings = QueueSettings { mailbox: kind, ..(*record.settings).clone() }.into();
        rig.mailbox.append(&batch([Op::PutQueue(Box::new(record))])).unwrap();
    };
    let kinds = [
        (MailboxKind::Redis, 1),
        (MailboxKind::File, 1),
        (MailboxKind::Redis, 2),
        (MailboxKind::Memory, 2),
        // What was in RAM goes into the stream.
        (MailboxKind::Redis, 4),
        (MailboxKind::File, 4),
    ];
    for (at, (kind, in_stream)) in kinds.into_iter().enumerate() {
        let seq = at as u64 + 1;
        put(kind);
        commit(&rig, [append(Q, seq, format!("payload {seq}"))]);
        assert_eq!(entries(), in_stream, "after {seq}");
    }
    let expected: Vec<String> = (1..=6).map(|n| format!("payload {n}")).collect();
    assert_eq!(payloads(&rig), expected);
    drop(rig);
    let rig = open(folder.path());
    assert_eq!(
        rig.recover().unwrap().queues[0].bytes,
        expected.iter().map(|p| p.len() as u64 + 24).sum::<u64>()
    );
    assert_eq!(payloads(&rig), expected);
    commit(&rig, (1..=6).map(|seq| finish(Q, seq)));
    rig.until("all are removed", |_| entries() == 0);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_redis_that_stops_answering_holds_up_one_commit_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one")]);
    server(|server| server.signal(nix::sys::signal::Signal::SIGSTOP));
    let started = Instant::now();
    commit(&rig, (2..=200).map(|seq| append(Q, seq, "in doubt")));
    let first = started.elapsed();
    commit(&rig, [append(Q, 201, "here")]);
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert!(started.elapsed() - first < Duration::from_millis(400), "{:?}", started.elapsed());
    server(|server| server.signal(nix::sys::signal::Signal::SIGCONT));
    rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
    commit(&rig, [append(Q, 202, "last")]);
    rig.until("what was in doubt is gone", |_| entries() == 2);
    assert_eq!(places(&rig, Q).len(), 202);
    assert!(rig.news.lock().unwrap().iter().all(|n| !matches!(n, RedisNews::Arrived { .. })));
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_was_added_but_never_committed_is_taken_in_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one")]);
    add_without_commit(&rig, 2, "two");
    drop(rig);
    let rig = open(folder.path());
    rig.recover().unwrap();
    assert_eq!(take_in(&rig, 2), 3);
    assert_eq!(payloads(&rig), ["one", "two"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn what_a_run_has_left_over_is_taken_in_although_the_next_one_added_more_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one")]);
    add_without_commit(&rig, 2, "left over");
    drop(rig);
    let rig = open(folder.path());
    rig.recover().unwrap();
    rig.until("Redis is reached", |rig| rig.streams.check_reach().is_ok());
    commit(&rig, [append(Q, 2, "two")]);
    // What was told before is told again, a second later: from then on as the mark says.
    rig.news.lock().unwrap().clear();
    assert_eq!(take_in(&rig, 3), 4);
    assert_eq!(payloads(&rig), ["one", "two", "left over"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn finished_messages_that_redis_refuses_to_remove_are_removed_later() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one"), append(Q, 2, "two")]);
    let _: String = redis(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    commit(&rig, [finish(Q, 1)]);
    rig.until("it is noticed", |rig| rig.streams.state().reach != Reach::Up);
    assert_eq!(entries(), 2);
    let _: String = redis(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    rig.until("it is removed", |_| entries() == 1);
    assert_eq!(payloads(&rig), ["two"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_batch_that_redis_refuses_is_kept_here_whole() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let key: String =
        redis(&["ACL", "SETUSER", "default", "resetkeys", "~mubroker:queue-1", "~mubroker:/*"]);
    assert_eq!(key, "OK");
    commit(&rig, [put_queue(QueueId(2), 10)]);
    commit(&rig, [append(Q, 1, "one"), append(QueueId(2), 1, "refused"), append(Q, 2, "two")]);
    assert_eq!((entries(), payloads(&rig)), (0, vec!["one".into(), "two".into()]));
    let _: String = redis(&["ACL", "SETUSER", "default", "allkeys"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_user_who_may_have_no_transaction_adds_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let _: String = redis(&["ACL", "SETUSER", "default", "-multi"]);
    commit(&rig, (1..=3).map(|seq| append(Q, seq, format!("payload {seq}"))));
    assert_eq!(entries(), 3);
    assert_eq!(payloads(&rig), ["payload 1", "payload 2", "payload 3"]);
    assert_eq!(rig.streams.state().reach, Reach::Up);
}

/// As by a process that ended between Redis and the local commit.
fn add_without_commit(rig: &Rig, seq: u64, payload: &str) {
    let by = {
        let state = rig.streams.state();
        let key = state.queues[&Q].mark.key;
        let generation = state.generation;
        super::super::entry::By { key, generation, seq: Seq(seq) }.to_text()
    };
    let header = format!(r#"{{"id":"m-{seq}"}}"#);
    let _: String = redis(&["XADD", STREAM, "*", "payload", payload, "header", &header, "by", &by]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn an_entry_that_redis_has_lost_makes_its_message_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one"), append(Q, 2, "two")]);
    server(Server::restart_empty);
    rig.until("Redis is reached again", |rig| rig.read(Q, Seq(1), 1, 1).is_ok());
    let read = rig.read(Q, Seq(1), 9, usize::MAX).unwrap();
    let codes: Vec<&str> = read
        .iter()
        .map(|m| m.unreadable.as_ref().map_or("", |error| error.code.as_str()))
        .collect();
    assert_eq!(codes, ["lost", "lost"]);
    assert_eq!(read[0].content.id().as_str(), "q1-1");
    let content = rig.content(Q, Seq(2), Revision(0));
    assert!(matches!(content, Err(MailboxError::Unreadable { .. })), "{content:?}");
    commit(&rig, [revise(Q, 1, 1, "mended"), put_record(Q, 1, blocked(1)), append(Q, 3, "three")]);
    let read = rig.read(Q, Seq(1), 1, usize::MAX).unwrap();
    assert_eq!((read[0].content.payload.as_ref(), &read[0].unreadable), (&b"mended"[..], &None));
    commit(&rig, [finish(Q, 1), finish(Q, 2)]);
    assert_eq!(payloads(&rig), ["three"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn entries_that_a_crash_left_behind_are_removed_after_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    commit(&rig, [append(Q, 1, "one"), append(Q, 2, "two")]);
    server(|server| server.signal(nix::sys::signal::Signal::SIGSTOP));
    commit(&rig, [finish(Q, 1)]);
    drop(rig);
    server(|server| server.signal(nix::sys::signal::Signal::SIGCONT));
    let rig = open(folder.path());
    rig.recover().unwrap();
    rig.until("the finished one is removed", |_| entries() == 1);
    assert_eq!(payloads(&rig), ["two"]);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_refused_entry_is_read_with_its_reason_and_gone_when_it_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let _: String = redis(&["XADD", STREAM, "*", "payload", "p", "header", "{"]);
    take_in(&rig, 1);
    let read = rig.read(Q, Seq(1), 9, usize::MAX).unwrap();
    let error = read[0].unreadable.as_ref().expect("it is refused");
    assert_eq!((error.code.as_str(), &read[0].content.payload[..]), ("malformed", &b"p"[..]));
    commit(&rig, [finish(Q, 1)]);
    rig.until("it is removed", |_| entries() == 0);
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_key_of_another_kind_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let _: String = redis(&["SET", STREAM, "x"]);
    let rig = open(folder.path());
    rig.recover().unwrap();
    commit(&rig, [put_queue(Q, 10)]);
    commit(&rig, [append(Q, 1, "one")]);
    assert_eq!(payloads(&rig), ["one"]);
    rig.until("the reason is told", |rig| {
        let state = rig.streams.state();
        matches!(&state.reach, Reach::Down(reason) if reason.contains("is a string, not a stream"))
    });
    let _: i64 = redis(&["DEL", STREAM]);
    rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
    commit(&rig, [append(Q, 2, "two")]);
    assert_eq!((payloads(&rig).len(), entries()), (2, 1));
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn a_long_stream_of_others_comes_in_order_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let rig = fresh(folder.path());
    let script = "for i = 1, 5000 do redis.call('XADD', KEYS[1], '*', 'payload', i) end";
    let _: () = redis(&["EVAL", script, "1", STREAM]);
    let mut seq = 1;
    while seq <= 5_000 {
        seq = take_in(&rig, seq);
    }
    let read: Vec<Bytes> = (1..=5)
        .flat_map(|page| rig.read(Q, Seq((page - 1) * 1_000 + 1), 1_000, usize::MAX).unwrap())
        .map(|message| message.content.payload.clone())
        .collect();
    assert_eq!(read, (1..=5_000).map(|n| n.to_string()).collect::<Vec<_>>());
    commit(&rig, (1..=5_000).map(|seq| finish(Q, seq)));
    rig.until("all are removed", |_| entries() == 0);
    rig.until("nothing is noted", |rig| rig.streams.state().queues[&Q].mark.removals.is_empty());
}
