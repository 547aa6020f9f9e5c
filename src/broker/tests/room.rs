//! A disk without room, and one that has room again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::watch::Watch;
use super::*;
use crate::model::StoreHealth;

const GIB: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_publishing_and_delivers_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(GIB));
    let reserve = DiskReserve::believing(folder.path(), Arc::clone(&free));
    let mut broker = start_over(EngineOptions::default(), Some(reserve));
    assert_eq!(broker.send_until_accepted("m1").await, Seq(1));
    let mut watch = broker.handle.watch().await.unwrap();

    free.store(GIB / 16, Ordering::SeqCst);
    notice(&mut watch, |notice| matches!(notice, Notice::StoreFull { .. })).await;
    broker.send("m2").await;
    let ClientReply::Rejected(rejection) = broker.reply().await else { panic!("not rejected") };
    assert_eq!(rejection.code, RejectCode::Full);
    assert!(rejection.reason.contains("64 MiB left"), "{}", rejection.reason);
    let overview = broker.handle.overview().await.unwrap();
    assert_eq!(overview.store, StoreHealth::Full { reason: rejection.reason });

    // What is there is worked off, also after the store broke and was opened again.
    broker.fault().fail_sync(0);
    broker.worker_ready().await;
    let delivery = broker.delivery().await;
    broker.nack(delivery.delivery).await;
    notice(&mut watch, |notice| matches!(notice, Notice::StoreUp)).await;
    let BrokerMessage::Bye { .. } = broker.told().await else { panic!("not told BYE") };
    broker.send("m2").await;
    let ClientReply::Rejected(rejection) = broker.reply().await else { panic!("not rejected") };
    assert_eq!(rejection.code, RejectCode::Full);

    free.store(GIB, Ordering::SeqCst);
    notice(&mut watch, |notice| matches!(notice, Notice::StoreHasRoom)).await;
    assert_eq!(broker.send_until_accepted("m2").await, Seq(2));
    drop(watch);
    assert_eq!(broker.stop().await, Ended::Clean);
}

async fn notice(watch: &mut Watch, is_awaited: impl Fn(&Notice) -> bool) {
    loop {
        let sight = timeout(LIMIT, watch.next.recv()).await.unwrap().unwrap();
        if let Sight::Happened(event) = sight.sight()
            && is_awaited(&event.what)
        {
            return;
        }
    }
}
