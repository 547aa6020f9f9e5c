//! The worker against a broker of a few lines: a ROUTER that says what the test wants.

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::*;
use crate::model::{
    Content, Generation, Header, NackAction, QueueName, Seq, WorkError, WorkerInfo,
};
use crate::worker::Pace;

/// Nothing here takes long; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A handler that hands its work to the test.
struct ToTest(mpsc::Sender<Given>);

struct Given {
    delivery: Delivery,
    work: Work,
    end: oneshot::Sender<Result<Bytes, Failure>>,
}

impl Handler for ToTest {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
        let (end, ended) = oneshot::channel();
        self.0.send(Given { delivery, work, end }).await.expect("the test takes it");
        ended.await.expect("the test ends it")
    }
}

struct Setting {
    folder: TempDir,
    work: mpsc::Receiver<Given>,
    events: mpsc::Receiver<WorkerEvent>,
    stop: Option<oneshot::Sender<()>>,
    worker: JoinHandle<Result<(), WorkerError>>,
}

struct Broker {
    router: RouterSocket,
    peer: Bytes,
}

impl Setting {
    /// A worker of the queue `q` that looks for a broker in a folder of its own.
    fn new(credit: u32, heartbeat: Duration) -> Self {
        Self::with_stop_grace(credit, heartbeat, LIMIT)
    }

    fn with_stop_grace(credit: u32, heartbeat: Duration, stop_grace: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (to_test, work) = mpsc::channel(16);
        let (observe, events) = mpsc::channel(256);
        let (stop, stopped) = oneshot::channel();
        let options = WorkerOptions {
            endpoint: endpoint(&folder),
            token: None,
            queues: vec![QueueName::new("q").expect("a valid name")],
            credit,
            info: WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() },
            max_execution: Duration::from_secs(60),
            overrun_grace: Duration::ZERO,
            stop_grace,
            pace: Pace {
                heartbeat,
                min_pause: Duration::from_millis(5),
                max_pause: Duration::from_millis(20),
                connect_limit: Duration::from_millis(500),
                ..Pace::new(7)
            },
        };
        let worker = tokio::spawn(run(
            options,
            ToTest(to_test),
            async { stopped.await.unwrap_or(()) },
            move |event| drop(observe.try_send(event)),
        ));
        Self { folder, work, events, stop: Some(stop), worker }
    }

    /// Binds, and waits for the worker's READY.
    async fn broker(&self) -> (Broker, u32) {
        let _none = std::fs::remove_file(self.folder.path().join("workers"));
        let mut router = RouterSocket::new();
        router.bind(&endpoint(&self.folder)).await.expect("the folder is ours");
        let mut broker = Broker { router, peer: Bytes::new() };
        let credit = broker.ready().await;
        (broker, credit)
    }

    fn stop(&mut self) {
        self.stop.take().expect("once").send(()).expect("the worker runs");
    }

    /// A worker of one message that it holds, and that message's work.
    async fn at_work() -> (Self, Broker, Given) {
        let mut setting = Self::new(1, NEVER);
        let (mut broker, _) = setting.broker().await;
        broker.deliver(1, 1, json!({"id": "a"})).await;
        let work = setting.work().await;
        (setting, broker, work)
    }

    async fn work(&mut self) -> Given {
        in_time(self.work.recv()).await.expect("the worker runs")
    }

    async fn event(&mut self, wanted: impl Fn(&WorkerEvent) -> bool) {
        while !wanted(&in_time(self.events.recv()).await.expect("the worker runs")) {}
    }
}

impl Broker {
    /// The next message but heartbeats.
    async fn recv(&mut self) -> WorkerMessage {
        loop {
            let mut frames = in_time(self.router.recv()).await.expect("a message").into_vec();
            self.peer = frames.remove(0);
            match WorkerMessage::decode(frames).expect("readable") {
                WorkerMessage::Heartbeat => {}
                message => return message,
            }
        }
    }

    /// Goes away. Its listener first: a dropped one may still take a connection that nobody reads.
    async fn close(self) {
        in_time(self.router.close()).await;
    }

    async fn ready(&mut self) -> u32 {
        match self.recv().await {
            WorkerMessage::Ready { queues, credit, .. } => {
                assert_eq!(queues, [QueueName::new("q").expect("a valid name")]);
                credit
            }
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, message: BrokerMessage) {
        let mut out = ZmqMessage::from(self.peer.clone());
        message.encode().into_iter().for_each(|frame| out.push_back(frame));
        self.router.send(out).await.expect("the worker is there");
    }

    async fn deliver(&mut self, number: u64, seq: u64, header: serde_json::Value) {
        self.deliver_for(600_000, number, seq, header).await;
    }

    async fn deliver_for(
        &mut self,
        deadline_ms: u64,
        number: u64,
        seq: u64,
        header: serde_json::Value,
    ) {
        let delivery = Delivery {
            delivery: lease(number),
            queue: QueueName::new("q").expect("a valid name"),
            seq: Seq(seq),
            attempt: 1,
            deadline_ms,
            content: Arc::new(Content {
                header: Header::from_json(header.to_string().as_bytes()).expect("valid"),
                payload: Bytes::from_static(b"work"),
            }),
        };
        self.send(BrokerMessage::Deliver(delivery)).await;
    }
}

fn endpoint(folder: &TempDir) -> String {
    format!("ipc://{}/workers", folder.path().display())
}

fn lease(number: u64) -> DeliveryId {
    DeliveryId { generation: Generation(1), number }
}

fn ack(number: u64) -> WorkerMessage {
    WorkerMessage::Ack { delivery: lease(number), reply: Bytes::from_static(b"ok") }
}

fn ok() -> Result<Bytes, Failure> {
    Ok(Bytes::from_static(b"ok"))
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it takes no longer than the limit")
}

/// Longer than a test: no heartbeat, no silence.
const NEVER: Duration = Duration::from_secs(600);

#[tokio::test]
async fn work_is_done_up_to_the_credit_at_once_and_answered_as_it_ends() {
    let mut setting = Setting::new(2, NEVER);
    let (mut broker, credit) = setting.broker().await;
    assert_eq!(credit, 2);
    broker.deliver(1, 1, json!({"id": "a"})).await;
    broker.deliver(2, 2, json!({"id": "b", "max_execution_ms": 5})).await;
    broker.deliver(3, 3, json!({"id": "c"})).await;
    let (first, second) = (setting.work().await, setting.work().await);
    assert_eq!(first.work.limit(), Duration::from_secs(60));
    assert_eq!(second.work.limit(), Duration::from_millis(5));
    assert!(setting.work.try_recv().is_err(), "the third has no place");
    second.end.send(ok()).expect("it waits");
    assert_eq!(broker.recv().await, ack(2));
    let third = setting.work().await;
    assert_eq!(third.delivery.seq, Seq(3));
    let error = WorkError { code: "bad".to_owned(), ..WorkError::default() };
    first.end.send(Err(Failure::new(error.clone()))).expect("it waits");
    let nack = WorkerMessage::Nack {
        delivery: lease(1),
        error,
        action: NackAction::Retry,
        delay_ms: None,
    };
    assert_eq!(broker.recv().await, nack);
}

#[tokio::test]
async fn a_broker_that_comes_back_gets_ready_again_and_the_late_answer() {
    let (mut setting, broker, work) = Setting::at_work().await;
    broker.close().await;
    setting.event(|event| matches!(event, WorkerEvent::Away { .. })).await;
    let (mut broker, _) = setting.broker().await;
    // The same message again, under a new lease: it must not run beside its own earlier run.
    broker.deliver(2, 1, json!({"id": "a"})).await;
    broker.send(BrokerMessage::Heartbeat).await;
    assert!(setting.work.try_recv().is_err());
    work.end.send(ok()).expect("it goes on");
    assert_eq!(broker.recv().await, ack(1));
    broker.send(BrokerMessage::Stale { delivery: lease(1) }).await;
    setting.event(|event| matches!(event, WorkerEvent::Stale { .. })).await;
    broker.send(BrokerMessage::Pause { reason: "slow".to_owned() }).await;
    setting
        .event(|event| matches!(event, WorkerEvent::Paused { reason } if reason == "slow"))
        .await;
    broker.send(BrokerMessage::Resume { reason: "heard".to_owned() }).await;
    setting.event(|event| matches!(event, WorkerEvent::Resumed { .. })).await;
    let again = setting.work().await;
    assert_eq!(again.delivery.delivery, lease(2));
    again.end.send(ok()).expect("it waits");
    assert_eq!(broker.recv().await, ack(2));
}

#[tokio::test]
async fn an_answer_of_work_that_ended_meanwhile_follows_the_next_ready() {
    let (mut setting, broker, work) = Setting::at_work().await;
    broker.close().await;
    setting.event(|event| matches!(event, WorkerEvent::Away { .. })).await;
    work.end.send(ok()).expect("it goes on");
    setting.event(|event| matches!(event, WorkerEvent::Finished { .. })).await;
    let (mut broker, _) = setting.broker().await;
    assert_eq!(broker.recv().await, ack(1));
}

#[tokio::test]
async fn a_silent_broker_is_left_and_greeted_again() {
    let setting = Setting::new(1, Duration::from_millis(30));
    let (mut broker, _) = setting.broker().await;
    let first = broker.peer.clone();
    broker.ready().await;
    assert_ne!(broker.peer, first, "it is a new connection");
}

#[tokio::test]
async fn a_bye_is_followed_by_ready_after_a_pause() {
    let mut setting = Setting::new(1, NEVER);
    let (mut broker, _) = setting.broker().await;
    broker.send(BrokerMessage::Bye { reason: "shutdown".to_owned() }).await;
    setting
        .event(|e| matches!(e, WorkerEvent::Away { reason, .. } if reason.ends_with("shutdown")))
        .await;
    broker.ready().await;
}

#[tokio::test]
async fn long_work_keeps_its_lease_by_progress_until_it_is_stale() {
    let mut setting = Setting::new(1, NEVER);
    let (mut broker, _) = setting.broker().await;
    broker.deliver_for(300, 1, 1, json!({"id": "a"})).await;
    let _work = setting.work().await;
    for _ in 0..2 {
        let progress = WorkerMessage::Progress {
            delivery: lease(1),
            extend_ms: Some(300),
            note: String::new(),
        };
        assert_eq!(broker.recv().await, progress);
    }
}

#[tokio::test]
async fn a_stop_says_bye_and_answers_what_is_held_or_was_on_its_way() {
    let mut setting = Setting::new(3, NEVER);
    let (mut broker, _) = setting.broker().await;
    broker.deliver(1, 1, json!({"id": "a"})).await;
    broker.deliver(2, 2, json!({"id": "b"})).await;
    let (first, second) = (setting.work().await, setting.work().await);
    setting.stop();
    setting.event(|event| *event == WorkerEvent::Stopping { running: 2 }).await;
    assert_eq!(broker.recv().await, WorkerMessage::Bye);
    broker.deliver(3, 3, json!({"id": "c"})).await;
    let third = setting.work().await;
    for (number, work) in [(1, first), (2, second), (3, third)] {
        work.end.send(ok()).expect("it waits");
        assert_eq!(broker.recv().await, ack(number));
    }
    broker.send(BrokerMessage::Bye { reason: "bye".to_owned() }).await;
    in_time(setting.worker).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_stop_lets_work_end_although_the_connection_is_lost() {
    let (mut setting, mut broker, work) = Setting::at_work().await;
    setting.stop();
    assert_eq!(broker.recv().await, WorkerMessage::Bye);
    broker.close().await;
    work.end.send(ok()).expect("it still runs");
    let ended = |event: &WorkerEvent| matches!(event, WorkerEvent::Finished { error: None, .. });
    setting.event(ended).await;
    in_time(setting.worker).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_stop_while_the_broker_is_away_lets_work_end() {
    let (mut setting, broker, work) = Setting::at_work().await;
    broker.close().await;
    setting.event(|event| matches!(event, WorkerEvent::Away { .. })).await;
    setting.stop();
    setting.event(|event| *event == WorkerEvent::Stopping { running: 1 }).await;
    work.end.send(ok()).expect("it still runs");
    in_time(setting.worker).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_panic_is_a_failure_that_blocks() {
    let work = AssertUnwindSafe(async { panic!("no such tenant") });
    let panic = work.catch_unwind().await.map(|()| "returned").expect_err("it panics");
    let failure = panicked(panic.as_ref());
    assert_eq!(failure.error.message, "the handler panicked: no such tenant");
    assert_eq!(failure.action, NackAction::Block);
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused_at_once() {
    let options = WorkerOptions {
        endpoint: "localhost".to_owned(),
        token: None,
        queues: Vec::new(),
        credit: 1,
        info: WorkerInfo::default(),
        max_execution: LIMIT,
        overrun_grace: Duration::ZERO,
        stop_grace: LIMIT,
        pace: Pace::new(1),
    };
    let handler = ToTest(mpsc::channel(1).0);
    let error = run(options, handler, std::future::pending(), drop).await.expect_err("refused");
    assert!(error.to_string().starts_with("\"localhost\" is not an address"), "{error}");
}

#[tokio::test]
async fn parts_and_progress_come_before_the_answer_in_their_order() {
    let (mut setting, mut broker, given) = Setting::at_work().await;
    for part in ["1", "2"] {
        given.work.partial(Bytes::from(part)).await;
    }
    given.work.progress("nearly").await;
    given.end.send(ok()).expect("it waits");
    for part in ["1", "2"] {
        let payload = Bytes::from(part);
        assert_eq!(broker.recv().await, WorkerMessage::Partial { delivery: lease(1), payload });
    }
    let (extend_ms, note) = (Some(600_000), "nearly".to_owned());
    let progress = WorkerMessage::Progress { delivery: lease(1), extend_ms, note };
    assert_eq!(broker.recv().await, progress);
    assert_eq!(broker.recv().await, ack(1));
    setting.event(|event| matches!(event, WorkerEvent::Progress { .. })).await;
}

#[tokio::test]
async fn work_over_its_limit_raises_an_alert_once_and_is_waited_for() {
    let mut setting = Setting::new(1, NEVER);
    let (mut broker, _) = setting.broker().await;
    broker.deliver(1, 4, json!({"id": "a", "max_execution_ms": 20})).await;
    let given = setting.work().await;
    setting.event(|event| matches!(event, WorkerEvent::Overrun(_))).await;
    let message = "q 4 runs longer than 20 ms and is ended".to_owned();
    let (kind, delivery) = ("overrun".to_owned(), Some(lease(1)));
    assert_eq!(broker.recv().await, WorkerMessage::Alert { kind, message, delivery });
    given.end.send(ok()).expect("it waits");
    assert_eq!(broker.recv().await, ack(1));
}

#[tokio::test]
async fn work_over_its_limit_while_the_broker_is_away_is_told_here_and_to_the_broker_that_is_back()
{
    let mut setting = Setting::new(1, NEVER);
    let (mut broker, _) = setting.broker().await;
    broker.deliver(1, 1, json!({"id": "a", "max_execution_ms": 300})).await;
    let _given = setting.work().await;
    broker.close().await;
    setting.event(|event| matches!(event, WorkerEvent::Away { .. })).await;
    setting.event(|event| matches!(event, WorkerEvent::Overrun(_))).await;
    let (mut broker, _) = setting.broker().await;
    let message = "q 1 runs longer than 300 ms and is ended".to_owned();
    let (kind, delivery) = ("overrun".to_owned(), Some(lease(1)));
    assert_eq!(broker.recv().await, WorkerMessage::Alert { kind, message, delivery });
}

#[tokio::test]
async fn a_restart_forgets_work_that_its_grace_has_ended() {
    let mut setting = Setting::with_stop_grace(1, NEVER, Duration::from_millis(20));
    let (mut broker, _) = setting.broker().await;
    broker.deliver(1, 1, json!({"id": "a"})).await;
    let _never_ends = setting.work().await;
    broker.send(BrokerMessage::Restart { reason: "new settings".to_owned() }).await;
    assert_eq!(broker.recv().await, WorkerMessage::Bye);
    broker.ready().await;
    broker.deliver(2, 1, json!({"id": "a"})).await;
    setting.work().await.end.send(ok()).expect("it waits");
    assert_eq!(broker.recv().await, ack(2));
}

#[tokio::test]
async fn a_worker_that_is_to_restart_answers_says_bye_and_is_ready_again() {
    let (setting, mut broker, given) = Setting::at_work().await;
    broker.send(BrokerMessage::Restart { reason: "new settings".to_owned() }).await;
    assert_eq!(broker.recv().await, WorkerMessage::Bye);
    given.end.send(ok()).expect("it waits");
    assert_eq!(broker.recv().await, ack(1));
    broker.send(BrokerMessage::Bye { reason: "bye".to_owned() }).await;
    broker.ready().await;
    broker.send(BrokerMessage::Drain { reason: String::new() }).await;
    assert_eq!(broker.recv().await, WorkerMessage::Bye);
    broker.send(BrokerMessage::Bye { reason: "bye".to_owned() }).await;
    in_time(setting.worker).await.expect("no panic").expect("it ends well");
}
