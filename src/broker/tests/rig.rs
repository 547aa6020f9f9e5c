//! A broker over a store that fails when told to, and what stands for its sockets.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::clock::Clock;
use super::super::committer::OVERLAP_BYTES;
use super::super::event_loop::{Ended, EventLoop, Inputs};
use super::super::handle::BrokerHandle;
use super::super::messages::{Act, RepairOrder};
use super::super::store::{OpenStore, Started, Store};
use super::super::view::Facts;
use crate::engine::{Engine, EngineOptions};
use crate::mailbox::fault::FaultMailbox;
use crate::mailbox::{DiskReserve, SledMailbox, SledOptions};
use crate::model::{
    Actor, Content, DeliveryId, Header, IdempotencyKey, MessageId, NackAction, QueueName,
    QueueSettings, QueueTemplate, RejectCode, Revision, Seq, WorkError, WorkerInfo,
};
use crate::net::{Doors, Inbound, Outbound, PeerId, ReplyForm};
use crate::schema::{Checks, Schemas};
use crate::wire::{
    BrokerMessage, ClientReply, ClientRequest, Delivery, SendRequest, WorkerMessage,
};

/// Longer than anything here takes; a test that hangs must fail.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// More than any test is told before it reads.
const OUTBOUND: usize = 16_384;
pub(super) const CLIENT: PeerId = PeerId(1);
pub(super) const WORKER: PeerId = PeerId(2);

type Fault = FaultMailbox<SledMailbox>;

pub(super) struct Broker {
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) outbound: mpsc::Receiver<Outbound>,
    pub(super) handle: BrokerHandle,
    pub(super) doors: Doors,
    /// The store that is open now; weak, so that the broker can close it.
    pub(super) store: Arc<Mutex<Weak<Fault>>>,
    pub(super) ended: JoinHandle<Ended>,
    _folder: TempDir,
}

pub(super) fn start() -> Broker {
    start_with(EngineOptions::default())
}

pub(super) fn start_with(options: EngineOptions) -> Broker {
    start_over(options, None)
}

pub(super) fn start_over(options: EngineOptions, reserve: Option<DiskReserve>) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store: Arc<Mutex<Weak<Fault>>> = Arc::default();
    let newest = Arc::clone(&store);
    let open: OpenStore = Box::new(move || {
        let mailbox = SledMailbox::open(&path, SledOptions::default())?;
        let fault = Arc::new(FaultMailbox::new(mailbox));
        *newest.lock().unwrap() = Arc::downgrade(&fault);
        Ok(fault)
    });
    let Started { store: threads, replies, reads, recovered } =
        Store::start(open, reserve).unwrap();
    let options = EngineOptions {
        templates: vec![QueueTemplate {
            prefix: String::new(),
            settings: Arc::new(QueueSettings::default()),
            max_queues: 0,
        }],
        ..options
    };
    let clock = Clock::start();
    let doors = Doors::default();
    let facts = Arc::new(Facts {
        started_at: clock.now(),
        data_dir: String::new(),
        store_dir: None,
        disk_look: crate::broker::figures::DiskLook::default(),
        clients: String::new(),
        workers: String::new(),
        doors: doors.clone(),
        spans: None,
    });
    let (inbound, inbound_receiver) = mpsc::channel(1024);
    let (outbound_sender, outbound) = mpsc::channel(OUTBOUND);
    let sockets = Box::new(move |message| match outbound_sender.try_send(message) {
        // A test that has ended hears no more.
        Ok(()) | Err(TrySendError::Closed(_)) => {}
        Err(TrySendError::Full(_)) => panic!("a test reads what it is told"),
    });
    let (commands_sender, commands) = mpsc::channel(16);
    let engine = Engine::new(options.clone(), recovered, clock.now());
    let checks = Arc::new(Checks::new(Arc::new(Schemas::new(&options.templates))));
    let event_loop = EventLoop::new(clock, engine, options, facts, threads, sockets, doors.clone());
    let event_loop = EventLoop { checks: Arc::clone(&checks), ..event_loop };
    let stop = Arc::new(Notify::new());
    let handle = BrokerHandle::new(commands_sender, reads, Arc::clone(&stop), checks);
    let redis = super::super::outside::start(None).unwrap();
    let inputs = Inputs { inbound: inbound_receiver, commands, store: replies, redis, stop };
    let ended = tokio::spawn(async move {
        let (ended, store) = event_loop.run(inputs).await;
        tokio::task::spawn_blocking(|| store.stop()).await.unwrap();
        ended
    });
    Broker { inbound, outbound, handle, doors, store, ended, _folder: folder }
}

pub(super) fn queue() -> QueueName {
    QueueName::new("orders").unwrap()
}

pub(super) fn send_request(id: &str) -> SendRequest {
    let map = serde_json::from_str(&format!(r#"{{"id":"{id}"}}"#)).unwrap();
    let header = Header::from_map(map, || unreachable!("the id is there")).unwrap();
    let payload = Bytes::from(format!(r#"{{"of":"{id}"}}"#));
    SendRequest { queue: queue(), content: Content { header, payload } }
}

/// A repair of the first message with the key `k1`.
pub(super) fn repair_order(revision: u32, act: Act) -> RepairOrder {
    RepairOrder {
        key: IdempotencyKey::new("k1").unwrap(),
        actor: Actor { name: "op".to_owned(), via: "cli".to_owned() },
        queue: queue(),
        seq: Seq(1),
        expect_revision: Revision(revision),
        act,
        reason: "typo".to_owned(),
    }
}

impl Broker {
    pub(super) fn fault(&self) -> Arc<Fault> {
        self.store.lock().unwrap().upgrade().expect("the store is open")
    }

    pub(super) async fn client(&self, request: ClientRequest) {
        let input = Inbound::Client { peer: CLIENT, reply_form: ReplyForm::Plain, request };
        self.inbound.send(input).await.unwrap();
    }

    pub(super) async fn send(&self, id: &str) {
        self.client(ClientRequest::Send(send_request(id))).await;
    }

    /// Large enough that the store gets it although it has a batch already.
    pub(super) async fn send_large(&self, id: &str) {
        let mut request = send_request(id);
        request.content.payload = Bytes::from(vec![b'x'; OVERLAP_BYTES as usize]);
        self.client(ClientRequest::Send(request)).await;
    }

    /// Fills the batches under way and the one behind them: no more inputs are taken.
    pub(super) async fn fill(&self) {
        for n in 1..=4 {
            let mut large = send_request(&format!("large{n}"));
            large.content.payload = Bytes::from(vec![b' '; 9 * 1024 * 1024]);
            self.client(ClientRequest::Send(large)).await;
            held_sync(self.fault()).await;
        }
    }

    pub(super) async fn worker(&self, message: WorkerMessage) {
        self.inbound.send(Inbound::Worker { peer: WORKER, message }).await.unwrap();
    }

    pub(super) async fn worker_ready(&self) {
        let info = WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() };
        self.worker(WorkerMessage::Ready { queues: vec![queue()], credit: 1, info }).await;
    }

    pub(super) async fn out(&mut self) -> Outbound {
        timeout(LIMIT, self.outbound.recv()).await.expect("in time").expect("the loop runs")
    }

    /// The next answer to the client.
    pub(super) async fn reply(&mut self) -> ClientReply {
        loop {
            match self.out().await {
                Outbound::Client { peer: CLIENT, reply, .. } => return reply,
                Outbound::Worker { message: BrokerMessage::Heartbeat, .. } => {}
                other => panic!("not an answer to the client: {other:?}"),
            }
        }
    }

    /// The next message to the worker.
    pub(super) async fn told(&mut self) -> BrokerMessage {
        loop {
            match self.out().await {
                Outbound::Worker { message: BrokerMessage::Heartbeat, .. } => {}
                Outbound::Worker { peer: WORKER, message } => return message,
                other => panic!("not for the worker: {other:?}"),
            }
        }
    }

    pub(super) async fn delivery(&mut self) -> Delivery {
        match self.told().await {
            BrokerMessage::Deliver(delivery) => delivery,
            other => panic!("not a delivery: {other:?}"),
        }
    }

    pub(super) async fn nack(&self, delivery: DeliveryId) {
        let error = WorkError { code: "boom".to_owned(), ..WorkError::default() };
        let action = NackAction::Retry;
        self.worker(WorkerMessage::Nack { delivery, error, action, delay_ms: None }).await;
    }

    /// Everything that was sent before this call has been through the engine.
    pub(super) async fn taken_in(&mut self) {
        self.client(ClientRequest::Ping).await;
        assert_eq!(self.reply().await, ClientReply::Pong);
    }

    /// Sends until it is accepted, as a client does that hears `store_unavailable`.
    pub(super) async fn send_until_accepted(&mut self, id: &str) -> Seq {
        loop {
            self.send(id).await;
            match self.reply().await {
                ClientReply::Accepted(accepted) => return accepted.seq,
                ClientReply::Rejected(rejection) => {
                    assert_eq!(rejection.code, RejectCode::StoreUnavailable);
                    assert_eq!(rejection.id, MessageId::new(id).ok());
                    let pause = rejection.retry_after_ms.expect("a hint");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                other => panic!("not an answer to SEND: {other:?}"),
            }
        }
    }

    pub(super) async fn stop(self) -> Ended {
        self.handle.shut_down();
        timeout(LIMIT, self.ended).await.expect("in time").unwrap()
    }
}

pub(super) async fn held_sync(fault: Arc<Fault>) {
    tokio::task::spawn_blocking(move || fault.wait_for_held_sync()).await.unwrap();
}
