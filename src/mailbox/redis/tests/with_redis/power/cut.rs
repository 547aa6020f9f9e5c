//! One cut, and what is there after it.

use super::traffic::QUEUES;
use super::*;
use crate::mailbox::redis::tests::server::{AOF, WRITTEN_SINCE};

/// The next place of each queue.
type Next = BTreeMap<QueueId, Seq>;

/// Copies a folder with its folders; of the file that grows only so much.
pub(super) fn copy(from: &Path, to: &Path, written: Option<u64>) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target, written);
            continue;
        }
        std::fs::copy(item.path(), &target).unwrap();
        if let Some(len) = written.filter(|_| item.file_name() == WRITTEN_SINCE) {
            std::fs::OpenOptions::new().write(true).open(&target).unwrap().set_len(len).unwrap();
        }
    }
}

/// What is left is sound, has what it must have, and is worked on.
pub(super) fn check(moment: &Moment, aof: &Path, len: u64, what: &str) {
    let redis = tempfile::tempdir().unwrap();
    copy(aof, &redis.path().join(AOF), Some(len));
    let server = Server::over(redis);
    let folder = tempfile::tempdir().unwrap();
    copy(moment.store.path(), folder.path(), None);
    let rig = Rig::open(folder.path(), &server.url());
    let recovered = rig.recover().unwrap();
    let mut next: Next =
        recovered.queues.iter().map(|backlog| (backlog.record.id, backlog.next_seq)).collect();
    settle(&rig, &server, &mut next, what);
    let found: Contents = next.keys().map(|&queue| (queue, held(&rig, queue))).collect();
    if !moment.outcomes.contains(&found) {
        let expected = moment.outcomes.last().expect("there is one at least");
        panic!("{what}: {}", difference(expected, &found));
    }
    work_on(&rig, &server, &next, what);
}

/// Takes in what others have added, and what of the broker's own was not committed, until all has been looked at.
fn settle(rig: &Rig, server: &Server, next: &mut Next, what: &str) {
    rig.until(&format!("{what}: all is taken in"), |rig| {
        let news: Vec<RedisNews> = rig.news.lock().unwrap().drain(..).collect();
        for news in news {
            if let RedisNews::Arrived { queue, arrivals, .. } = news {
                take(rig, queue, next, arrivals);
            }
        }
        next.keys().all(|&queue| looked_at(rig, queue).is_none_or(|at| at >= newest(server, queue)))
    });
}

/// Up to where nothing is to be done; `None` if the queue isn't fed, so that it has nothing of others. Zero: there is something.
fn looked_at(rig: &Rig, queue: QueueId) -> Option<StreamId> {
    let state = rig.streams.state();
    let stream = state.queues.get(&queue).filter(|stream| stream.is_fed)?;
    let is_done = stream.told.is_none() && stream.mark.removals.is_empty();
    Some(if is_done { stream.position } else { StreamId::ZERO })
}

/// As the engine does: behind what is there; what is committed already was told twice.
fn take(rig: &Rig, queue: QueueId, next: &mut Next, arrivals: Vec<crate::model::Arrival>) {
    let taken = rig.streams.state().queues[&queue].taken;
    let (next, ids) = (next.get_mut(&queue).expect("it is known"), held(rig, queue));
    let mut ops = Vec::new();
    for arrival in arrivals.into_iter().filter(|arrival| arrival.entry.id > taken) {
        let id = arrival.content.id().as_str();
        assert!(ids.iter().all(|(known, _)| known != id), "{id} is told although it is there");
        let (content, entry) = (Arc::new(arrival.content), Some(Box::new(arrival.entry)));
        let at = crate::model::Timestamp(1);
        ops.push(Op::Append { queue, seq: *next, at, content, entry });
        *next = Seq(next.0 + 1);
    }
    commit(rig, ops);
}

fn key(queue: QueueId) -> String {
    format!("mubroker:{}", name(queue))
}

fn newest(server: &Server, queue: QueueId) -> StreamId {
    let newest: Vec<(String, Vec<String>)> =
        server.ask(&["XREVRANGE", &key(queue), "+", "-", "COUNT", "1"]);
    newest.first().map_or(StreamId::ZERO, |(id, _)| id.parse().unwrap())
}

fn held(rig: &Rig, queue: QueueId) -> Vec<Held> {
    let messages = rig.read(queue, Seq(1), 100_000, usize::MAX).unwrap();
    let held = messages.into_iter().map(|message| {
        assert!(message.unreadable.is_none(), "{:?}", message.unreadable);
        (message.content.id().as_str().to_owned(), message.content.payload.clone())
    });
    held.collect()
}

/// More comes and goes, and in the end nothing is left in Redis.
fn work_on(rig: &Rig, server: &Server, next: &Next, what: &str) {
    for queue in QUEUES {
        let before = held(rig, queue);
        let next = next[&queue].0;
        commit(rig, (next..next + 3).map(|seq| append(queue, seq, "later")));
        assert_eq!(held(rig, queue).len(), before.len() + 3, "{what}");
        let all = places(rig, queue);
        commit(rig, all.into_iter().map(|seq| finish(queue, seq)));
        let mut left: Vec<(String, Vec<(String, String)>)> = Vec::new();
        let started = Instant::now();
        rig.until("all is removed", |_| {
            left = server.ask(&["XRANGE", &key(queue), "-", "+"]);
            left.is_empty() || started.elapsed() > LIMIT / 2
        });
        let by = |fields: &[(String, String)]| fields.iter().rev().find(|f| f.0 == "by").cloned();
        let left: Vec<_> = left.iter().map(|(id, fields)| (id, by(fields))).collect();
        assert!(left.is_empty(), "{what}: queue {queue} leaves {left:?}");
    }
}

fn difference(expected: &Contents, found: &Contents) -> String {
    let ids = |all: &[Held]| all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let queues: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let of = |contents: &Contents, queue| contents.get(queue).map(|held| ids(held));
    let differing = queues.into_iter().filter(|&queue| expected.get(queue) != found.get(queue));
    let lines = differing.map(|queue| {
        format!("queue {queue}: expected {:?}, found {:?}", of(expected, queue), of(found, queue))
    });
    lines.collect::<Vec<_>>().join("\n")
}
