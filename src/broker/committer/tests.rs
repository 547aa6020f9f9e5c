//! Both threads over a store that fails as it is told.

use std::sync::{Mutex, RwLock, Weak};
use std::time::Duration;

use super::*;
use crate::mailbox::MemoryMailbox;
use crate::mailbox::fault::FaultMailbox;

type Fault = FaultMailbox<MemoryMailbox>;

/// Both threads at work, and the store that is open.
struct Rig {
    jobs: SyncSender<StoreJob>,
    replies: mpsc::Receiver<StoreReply>,
    store: Arc<Mutex<Weak<Fault>>>,
}

fn rig() -> Rig {
    let store: Arc<Mutex<Weak<Fault>>> = Arc::default();
    let newest = Arc::clone(&store);
    let open: OpenStore = Box::new(move || {
        let mut newest = newest.lock().unwrap();
        assert!(newest.upgrade().is_none(), "opened while somebody still holds the old one");
        let fault = Arc::new(FaultMailbox::new(MemoryMailbox::new()));
        *newest = Arc::downgrade(&fault);
        Ok(fault)
    });
    let mailbox = open().unwrap();
    let slot: Slot = Arc::new(RwLock::new(Some(Arc::clone(&mailbox))));
    let (reply, replies) = mpsc::channel(16);
    let (jobs, job_queue) = sync_channel(64);
    let (committer, syncer) = pair(open, slot, mailbox, reply, None, &Arc::default());
    std::thread::spawn(move || syncer.run());
    std::thread::spawn(move || committer.run(&job_queue));
    Rig { jobs, replies, store }
}

impl Rig {
    fn fault(&self) -> Arc<Fault> {
        self.store.lock().unwrap().upgrade().expect("the store is open")
    }

    fn commit(&self, bytes: u64) {
        self.jobs.send(StoreJob::Commit { batch: Batch::default(), bytes }).unwrap();
    }

    /// The replies until the store is open again, or the threads have ended.
    fn replies_to_the_end(&mut self) -> Vec<&'static str> {
        let mut replies = Vec::new();
        while let Some(reply) = self.replies.blocking_recv() {
            let (reply, is_last) = match reply {
                StoreReply::Committed { batches: 1 } => ("committed 1", false),
                StoreReply::Committed { .. } => ("committed more", false),
                StoreReply::Failed(_) => ("failed", false),
                StoreReply::Closed => ("closed", false),
                StoreReply::Reopened(_) => ("reopened", true),
                StoreReply::NotReopened(_) | StoreReply::Read(..) => ("wrong", true),
                StoreReply::ReadFailed(..) | StoreReply::Room(_) | StoreReply::Died(_) => {
                    ("wrong", true)
                }
            };
            replies.push(reply);
            if is_last {
                break;
            }
        }
        replies
    }

    fn stop(mut self) -> Vec<&'static str> {
        self.jobs.send(StoreJob::Stop).unwrap();
        self.replies_to_the_end()
    }
}

const REOPEN: StoreJob = StoreJob::Reopen { after: Duration::ZERO, is_full: false };

#[test]
fn the_store_is_tidied_up_although_a_job_always_waits() {
    let mailbox = Arc::new(FaultMailbox::new(MemoryMailbox::new()));
    let open: OpenStore = Box::new(|| unreachable!("nothing breaks"));
    let commits = 4 * MAINTAIN_EVERY as usize;
    let (reply, replies) = mpsc::channel(commits);
    let (committer, syncer) =
        pair(open, Arc::default(), Arc::clone(&mailbox) as _, reply, None, &Arc::default());
    std::thread::spawn(move || syncer.run());
    let (jobs, job_queue) = sync_channel(commits + 1);
    for _ in 0..commits {
        jobs.send(StoreJob::Commit { batch: Batch::default(), bytes: 0 }).unwrap();
    }
    jobs.send(StoreJob::Stop).unwrap();
    committer.run(&job_queue);
    assert_eq!(replies.len(), commits);
    assert_eq!(mailbox.maintenance(), 4);
}

#[test]
fn a_large_batch_is_appended_while_the_one_before_is_synced() {
    let rig = rig();
    let fault = rig.fault();
    fault.hold_syncs();
    rig.commit(OVERLAP_BYTES);
    fault.wait_for_held_sync();
    rig.commit(OVERLAP_BYTES);
    fault.wait_for_appends(2);
    // A small one behind it keeps its place.
    rig.commit(1);
    fault.wait_for_appends(3);
    assert!(rig.replies.is_empty(), "told before its sync");
    fault.release_syncs();
    let committed = rig.stop();
    assert_eq!(committed[0], "committed 1");
    assert!(matches!(committed[1..], ["committed more"] | ["committed 1", "committed 1"]));
}

#[test]
fn small_batches_are_synced_one_by_one() {
    let rig = rig();
    rig.commit(1);
    rig.commit(1);
    assert_eq!(rig.stop(), ["committed 1", "committed 1"]);
}

#[test]
fn a_sync_that_fails_while_the_next_is_appended_is_told_once_and_takes_both() {
    let mut rig = rig();
    let fault = rig.fault();
    fault.hold_syncs();
    fault.fail_sync(0);
    rig.commit(OVERLAP_BYTES);
    fault.wait_for_held_sync();
    rig.commit(OVERLAP_BYTES);
    fault.wait_for_appends(2);
    fault.release_syncs();
    assert!(matches!(rig.replies.blocking_recv(), Some(StoreReply::Failed(_))));
    // What the loop had sent before it heard of it is not touched any more, nor synced again.
    rig.commit(OVERLAP_BYTES);
    let weak = Arc::downgrade(&fault);
    let counts = fault.counts();
    drop(fault);
    rig.jobs.send(REOPEN).unwrap();
    assert_eq!(rig.replies_to_the_end(), ["closed", "reopened"]);
    assert!(weak.upgrade().is_none());
    assert_eq!(counts, (2, 1));
    rig.commit(OVERLAP_BYTES);
    assert_eq!(rig.stop(), ["committed 1"]);
}

#[test]
fn an_append_that_fails_during_a_sync_is_told_once_and_the_store_opened_after_that_sync() {
    let mut rig = rig();
    let fault = rig.fault();
    fault.hold_syncs();
    fault.fail_append(1);
    rig.commit(OVERLAP_BYTES);
    fault.wait_for_held_sync();
    rig.commit(OVERLAP_BYTES);
    assert!(matches!(rig.replies.blocking_recv(), Some(StoreReply::Failed(_))));
    fault.release_syncs();
    drop(fault);
    // The sync under way still holds the store, or has just given it back; opening waits for it.
    rig.jobs.send(REOPEN).unwrap();
    assert_eq!(rig.replies_to_the_end(), ["closed", "reopened"]);
}
