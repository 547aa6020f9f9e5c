//! Doors that answer nobody, when the store can't keep what comes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::net::{Door, Inbound, Pushed};

const GIB: u64 = 1 << 30;

async fn push(broker: &Broker, id: &str) {
    let pushed = Pushed::Send(vec![send_request(id)]);
    broker.inbound.send(Inbound::Pushed { door: Door::Push, pushed }).await.unwrap();
}

/// Waits until the queue holds these, in this order.
async fn kept(broker: &Broker, ids: &[&str]) {
    let found = async {
        loop {
            if let Ok(page) =
                broker.handle.messages(&queue(), Seq(1), 10, &MessageFilter::default()).await
                && page.messages.iter().map(|row| row.id.as_str()).eq(ids.iter().copied())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, found).await.expect("kept in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_while_the_store_breaks_is_there_once_when_it_is_back() {
    let mut broker = start();
    assert_eq!(broker.send_until_accepted("m0").await, Seq(1));
    broker.fault().fail_sync(0);
    for id in ["m1", "m2", "m3"] {
        push(&broker, id).await;
    }
    kept(&broker, &["m0", "m1", "m2", "m3"]).await;
    assert!(broker.doors.takes());
    assert_eq!(broker.stop().await, Ended::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_to_a_full_disk_waits_and_the_door_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(GIB));
    let reserve = DiskReserve::believing(folder.path(), Arc::clone(&free));
    let mut broker = start_over(EngineOptions::default(), Some(reserve));
    assert_eq!(broker.send_until_accepted("m0").await, Seq(1));
    let mut events = broker.handle.events(None).await.unwrap();
    free.store(GIB / 16, Ordering::SeqCst);
    while !matches!(events.next().await.unwrap().what, Notice::StoreFull { .. }) {}
    // It was on its way.
    push(&broker, "m1").await;
    broker.taken_in().await;
    assert!(!broker.doors.takes());
    assert_eq!(broker.handle.queue(&queue()).await.unwrap().depth, 1);
    free.store(GIB, Ordering::SeqCst);
    kept(&broker, &["m0", "m1"]).await;
    assert!(broker.doors.takes());
    assert_eq!(broker.stop().await, Ended::Clean);
}
