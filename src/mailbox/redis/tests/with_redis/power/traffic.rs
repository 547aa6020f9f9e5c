//! Traffic through `redis` queues, and the moments that it leaves.

use nix::sys::signal::Signal;

use super::cut::copy;
use super::*;
use crate::mailbox::redis::tests::server::WRITTEN_SINCE;

/// Steps of a run: each leaves one to three moments.
const STEPS: usize = 40;
/// Messages of one batch to one queue. Some batches are larger than what a socket takes at once.
const MAX_MESSAGES: u64 = 24;
const MAX_PAYLOAD_BYTES: usize = 6_000;

pub(super) const QUEUES: [QueueId; 2] = [QueueId(1), QueueId(2)];
/// This one is deleted on the way.
const DELETED: QueueId = QueueId(3);

/// What a step finishes and appends.
#[derive(Default)]
struct Commit {
    ops: Vec<Op>,
    finished: Vec<(QueueId, String)>,
    appended: Vec<(QueueId, Held)>,
}

/// What was confirmed of a queue.
#[derive(Clone)]
struct Confirmed {
    messages: Vec<(u64, Held)>,
    /// What others have added and was answered, and that isn't taken in.
    waiting: Vec<Held>,
    next: u64,
}

struct Traffic<'a> {
    random: &'a mut Rng,
    server: Server,
    folder: tempfile::TempDir,
    rig: Option<Rig>,
    queues: BTreeMap<QueueId, Confirmed>,
    moments: Vec<Moment>,
}

/// A server that has had it all, and the moments.
pub(super) fn run(random: &mut Rng) -> (Server, Vec<Moment>) {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), &server.url());
    rig.recover().unwrap();
    let empty = Confirmed { messages: Vec::new(), waiting: Vec::new(), next: 1 };
    let ids = [QUEUES[0], QUEUES[1], DELETED];
    let puts = ids.map(|queue| Op::PutQueue(Box::new(queue_record(queue, MailboxKind::Redis, 10))));
    rig.mailbox.append(&batch(puts)).unwrap();
    rig.sync().unwrap();
    let queues = ids.into_iter().map(|queue| (queue, empty.clone())).collect();
    let mut traffic =
        Traffic { random, server, folder, rig: Some(rig), queues, moments: Vec::new() };
    for step in 0..STEPS {
        traffic.step(step);
    }
    let Traffic { server, moments, .. } = traffic;
    (server, moments)
}

impl Traffic<'_> {
    fn step(&mut self, step: usize) {
        match (step, self.random.u8(..10)) {
            (20, _) => self.delete(step),
            (_, 0..4) => {
                let mut commit = Commit::default();
                self.append_some(&mut commit);
                self.commit(step, "appends", commit);
            }
            (_, 4..6) => {
                let mut commit = Commit::default();
                self.finish_some(&mut commit);
                self.commit(step, "finishes", commit);
            }
            (_, 6) => {
                let mut commit = Commit::default();
                self.finish_some(&mut commit);
                self.append_some(&mut commit);
                self.commit(step, "finishes and appends", commit);
            }
            (_, 7) => self.add_as_others(step),
            (_, 8) => self.take_in(step),
            (_, _) if self.random.bool() => self.reopen(),
            (_, _) => self.stop(step),
        }
    }

    fn rig(&self) -> &Rig {
        self.rig.as_ref().expect("it is open between steps")
    }

    fn aof(&self) -> u64 {
        self.server.aof().join(WRITTEN_SINCE).metadata().unwrap().len()
    }

    fn contents(&self) -> Contents {
        let of = |confirmed: &Confirmed| {
            let messages = confirmed.messages.iter().map(|(_, held)| held);
            messages.chain(&confirmed.waiting).cloned().collect()
        };
        self.queues.iter().map(|(&queue, confirmed)| (queue, of(confirmed))).collect()
    }

    fn store(&self) -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        copy(self.folder.path(), store.path(), None);
        store
    }

    fn moment(
        &mut self,
        what: String,
        store: tempfile::TempDir,
        from: u64,
        outcomes: Vec<Contents>,
    ) {
        let aof = from..=self.aof();
        self.moments.push(Moment { what, store, aof, outcomes });
    }

    fn append_some(&mut self, commit: &mut Commit) {
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        for queue in ids {
            for _ in 0..self.random.u64(..MAX_MESSAGES) {
                let confirmed = self.queues.get_mut(&queue).expect("it is there");
                let seq = confirmed.next;
                confirmed.next += 1;
                let len = match self.random.u8(..8) {
                    0 => self.random.usize(..MAX_PAYLOAD_BYTES),
                    _ => self.random.usize(..200),
                };
                let payload = Bytes::from(format!("{seq}:{}", "x".repeat(len)));
                commit.ops.push(append(queue, seq, payload.clone()));
                commit.appended.push((queue, (format!("q{queue}-{seq}"), payload)));
            }
        }
    }

    /// The first ones mostly, some behind them.
    fn finish_some(&mut self, commit: &mut Commit) {
        for (&queue, confirmed) in &self.queues {
            let first = self.random.usize(..=confirmed.messages.len());
            for (at, (seq, (id, _))) in confirmed.messages.iter().enumerate() {
                if at < first || self.random.u8(..10) == 0 {
                    commit.ops.push(finish(queue, *seq));
                    commit.finished.push((queue, id.clone()));
                }
            }
        }
    }

    /// Commits it; what was there before, meanwhile and after are moments.
    fn commit(&mut self, step: usize, what: &str, commit: Commit) {
        let (before, from, store) = (self.contents(), self.aof(), self.store());
        let mut repeated = before.clone();
        for (queue, held) in &commit.appended {
            repeated.get_mut(queue).expect("it is there").push(held.clone());
        }
        self.rig().mailbox.append(&Batch { ops: commit.ops }).unwrap();
        self.note(&commit.finished, &commit.appended);
        let after = self.contents();
        let what = format!("step {step}, {what}");
        // Nothing that it finishes is removed from Redis before the sync.
        let outcomes = vec![before.clone(), repeated.clone()];
        self.moment(format!("{what}, nothing of it is stored"), store, from, outcomes);
        let (from, store) = (self.aof(), self.store());
        let outcomes = vec![before, repeated, after.clone()];
        self.moment(format!("{what}, before its sync"), store, from, outcomes);
        self.rig().sync().unwrap();
        let (from, store) = (self.aof(), self.store());
        self.moment(format!("{what}, confirmed"), store, from, vec![after]);
    }

    fn note(&mut self, finished: &[(QueueId, String)], appended: &[(QueueId, Held)]) {
        for (queue, id) in finished {
            let confirmed = self.queues.get_mut(queue).expect("it is there");
            confirmed.messages.retain(|(_, held)| held.0 != *id);
        }
        for (queue, held) in appended {
            let confirmed = self.queues.get_mut(queue).expect("it is there");
            let seq = held.1.split(|byte| *byte == b':').next().expect("a part at least");
            let seq = std::str::from_utf8(seq).unwrap().parse().unwrap();
            confirmed.messages.push((seq, held.clone()));
        }
    }

    /// Each is a command of its own: those that were answered are there, the others perhaps.
    fn add_as_others(&mut self, step: usize) {
        let mut outcomes = vec![self.contents()];
        let (from, store) = (self.aof(), self.store());
        for _ in 0..self.random.u32(1..6) {
            let queue = QUEUES[self.random.usize(..QUEUES.len())];
            let payload = format!("of others, {}", self.random.u32(..));
            let key = format!("mubroker:{}", name(queue));
            let id: String = self.server.ask(&["XADD", &key, "*", "payload", &payload]);
            let confirmed = self.queues.get_mut(&queue).expect("it is there");
            confirmed.waiting.push((id, payload.into()));
            outcomes.push(self.contents());
        }
        self.moment(format!("step {step}, others add"), store, from, outcomes);
    }

    /// All that others have added so far.
    fn take_in(&mut self, step: usize) {
        while self.queues.values().any(|confirmed| !confirmed.waiting.is_empty()) {
            let (queue, _, arrivals) = self.rig().arrivals();
            let taken = self.rig().streams.state().queues[&queue].taken;
            let (from, store, before) = (self.aof(), self.store(), self.contents());
            let confirmed = self.queues.get_mut(&queue).expect("only these are fed");
            let mut ops = Vec::new();
            for arrival in arrivals.into_iter().filter(|arrival| arrival.entry.id > taken) {
                let held =
                    (arrival.content.id().as_str().to_owned(), arrival.content.payload.clone());
                assert_eq!(confirmed.waiting.remove(0), held, "it was told in order, once");
                let seq = Seq(confirmed.next);
                confirmed.next += 1;
                confirmed.messages.push((seq.0, held));
                let (content, entry) = (Arc::new(arrival.content), Some(Box::new(arrival.entry)));
                let at = crate::model::Timestamp(1);
                ops.push(Op::Append { queue, seq, at, content, entry });
            }
            self.rig().mailbox.append(&Batch { ops }).unwrap();
            let after = self.contents();
            let outcomes = vec![before, after.clone()];
            self.moment(format!("step {step}, taking in"), store, from, outcomes);
            self.rig().sync().unwrap();
            let (from, store) = (self.aof(), self.store());
            self.moment(format!("step {step}, taken in"), store, from, vec![after]);
        }
    }

    /// The queue moves out of Redis and is deleted with what it has.
    fn delete(&mut self, step: usize) {
        let moved = Op::PutQueue(Box::new(queue_record(DELETED, MailboxKind::File, 10)));
        self.rig().mailbox.append(&batch([moved])).unwrap();
        self.rig().sync().unwrap();
        let (from, store, before) = (self.aof(), self.store(), self.contents());
        let next = Seq(self.queues[&DELETED].next);
        self.rig().mailbox.append(&batch([Op::RemoveQueue { queue: DELETED, next }])).unwrap();
        self.moment(format!("step {step}, deleting"), store, from, vec![before]);
        self.rig().sync().unwrap();
        self.queues.remove(&DELETED);
        let (from, store, after) = (self.aof(), self.store(), self.contents());
        self.rig().until("its leftovers are gone", |rig| {
            !rig.streams.state().queues.contains_key(&DELETED)
        });
        self.moment(format!("step {step}, deleted"), store, from, vec![after]);
    }

    /// The broker starts anew.
    fn reopen(&mut self) {
        // It lets go of the store first.
        self.rig = None;
        let rig = Rig::open(self.folder.path(), &self.server.url());
        rig.recover().unwrap();
        self.rig = Some(rig);
    }

    /// Redis stops answering for a while: what is sent is in doubt, and kept here.
    fn stop(&mut self, step: usize) {
        self.server.signal(Signal::SIGSTOP);
        let mut commit = Commit::default();
        self.append_some(&mut commit);
        self.commit(step, "appends without an answer", commit);
        let (from, store) = (self.aof(), self.store());
        self.server.signal(Signal::SIGCONT);
        self.rig().until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
        let outcomes = vec![self.contents()];
        self.moment(format!("step {step}, Redis is back"), store, from, outcomes);
    }
}
