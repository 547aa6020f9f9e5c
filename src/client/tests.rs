//! The client against a broker of a few lines.

use std::collections::VecDeque;

use bytes::Bytes;
use tempfile::TempDir;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::*;
use uuid::Uuid;

use crate::model::{
    CallStatus, GatherAccepted, GatherReply, GatherRequest, GatherStatus, MessageState, RejectCode,
    Rejection, Seq,
};
use crate::wire::Limits;

/// Nothing here takes long; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Broker {
    router: Option<RouterSocket>,
    peer: Bytes,
    endpoint: String,
    _folder: TempDir,
}

impl Broker {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let endpoint = format!("ipc://{}/clients", folder.path().display());
        let mut broker = Self { router: None, peer: Bytes::new(), endpoint, _folder: folder };
        broker.begin().await;
        broker
    }

    async fn begin(&mut self) {
        let mut router = RouterSocket::new();
        router.bind(&self.endpoint).await.expect("the folder is ours");
        self.router = Some(router);
    }

    /// As a kill would: connections end, and nothing is told.
    async fn end(&mut self) {
        self.router.take().expect("it runs").close().await;
    }

    fn router(&mut self) -> &mut RouterSocket {
        self.router.as_mut().expect("it runs")
    }

    async fn client(&self, options: ClientOptions) -> Client {
        Client::connect_with(&self.endpoint, options).await.expect("the broker is there")
    }

    async fn recv(&mut self) -> ClientRequest {
        let message = timeout(LIMIT, self.router().recv()).await.expect("in time");
        let mut frames: VecDeque<Bytes> = message.expect("a message").into_vecdeque();
        self.peer = frames.pop_front().expect("the identity");
        ClientRequest::decode(frames.into(), || id("made")).expect("readable")
    }

    async fn send(&mut self, reply: ClientReply) {
        let mut out = ZmqMessage::from(self.peer.clone());
        reply.encode().into_iter().for_each(|frame| out.push_back(frame));
        self.router().send(out).await.expect("the client is there");
    }
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).expect("a valid id")
}

fn queue() -> QueueName {
    QueueName::new("q").expect("a valid name")
}

fn message(id: &str) -> Content {
    NewMessage::new("{}").id(id).header("tenant", "fr").build().expect("valid")
}

fn accepted(name: &str, seq: u64) -> Accepted {
    Accepted { id: id(name), queue: queue(), seq: Seq(seq), duplicate: false }
}

/// SEND of `message(id)`.
fn sent(id: &str) -> ClientRequest {
    ClientRequest::Send(SendRequest { queue: queue(), content: message(id) })
}

/// Connects again soon.
fn quick() -> ClientOptions {
    let [min_pause, max_pause] = [5, 20].map(Duration::from_millis);
    ClientOptions { min_pause, max_pause, ..ClientOptions::default() }
}

async fn client_says_hello(broker: &mut Broker, client: &Client) {
    let client = client.clone();
    let hello = tokio::spawn(async move { client.hello("tests", None).await });
    assert!(matches!(broker.recv().await, ClientRequest::Hello { .. }));
    broker.send(ClientReply::Welcome(welcome())).await;
    assert_eq!(hello.await.expect("no panic").expect("welcome"), welcome());
}

fn welcome() -> Welcome {
    let limits = Limits {
        max_header_bytes: 1,
        max_payload_bytes: 1,
        max_message_bytes: 1,
        max_sendmany: 1,
        heartbeat_ms: 1,
    };
    Welcome { server: "mubroker".to_owned(), version: String::new(), limits, may: Vec::new() }
}

fn rejected(rejection: &ClientError) -> &Rejection {
    match rejection {
        ClientError::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_find_their_request_whatever_their_order() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let one = client.submit(&queue(), message("1")).await.expect("sent");
    let two = client.submit(&queue(), message("2")).await.expect("sent");
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(&queue(), message("1"), LIMIT).await });
    for _ in 0..3 {
        broker.recv().await;
    }
    let reply = CallReply {
        id: id("1"),
        status: CallStatus::Ok,
        error: None,
        payload: Bytes::from_static(b"done"),
    };
    broker.send(ClientReply::Reply(reply.clone())).await;
    broker.send(ClientReply::Accepted(accepted("2", 6))).await;
    let full = Rejection::new(RejectCode::Full, "q is full").of(id("1"));
    broker.send(ClientReply::Rejected(full.clone())).await;
    assert_eq!(call.await.expect("no panic").expect("answered"), reply);
    assert_eq!(two.accepted().await.expect("accepted"), accepted("2", 6));
    let error = one.accepted().await.expect_err("refused");
    assert_eq!(rejected(&error), &full);
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn many_messages_are_accepted_or_refused_as_one() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let sends = |ids: [&str; 2]| {
        ids.map(|id| SendRequest { queue: queue(), content: message(id) }).to_vec()
    };
    let (sender, first, second) = (client.clone(), sends(["a", "b"]), sends(["c", "d"]));
    let results =
        tokio::spawn(
            async move { (sender.send_many(first).await, sender.send_many(second).await) },
        );
    broker.recv().await;
    let list = vec![accepted("a", 1), accepted("b", 2)];
    broker.send(ClientReply::AcceptedMany(list.clone())).await;
    broker.recv().await;
    let refusal = Rejection::new(RejectCode::TooLarge, "d is too large").of(id("d"));
    broker.send(ClientReply::Rejected(refusal.clone())).await;
    let (first, second) = results.await.expect("no panic");
    assert_eq!(first.expect("accepted"), list);
    assert_eq!(rejected(&second.expect_err("refused")), &refusal);
}

#[tokio::test]
async fn what_has_no_answer_is_sent_again_in_order_over_a_new_connection() {
    let mut broker = Broker::new().await;
    let client = broker.client(quick()).await;
    client_says_hello(&mut broker, &client).await;
    let mut confirms = Vec::new();
    for id in ["1", "2", "3"] {
        confirms.push(client.submit(&queue(), message(id)).await.expect("sent"));
        broker.recv().await;
    }
    broker.send(ClientReply::Accepted(accepted("2", 2))).await;
    assert_eq!(confirms.remove(1).accepted().await.expect("accepted"), accepted("2", 2));
    broker.end().await;
    // Asked while there is no connection: it waits for one.
    confirms.push(client.submit(&queue(), message("4")).await.expect("there is room"));
    broker.begin().await;
    assert!(matches!(broker.recv().await, ClientRequest::Hello { .. }), "who it is comes first");
    for (id, confirm) in ["1", "3", "4"].into_iter().zip(confirms) {
        assert_eq!(broker.recv().await, sent(id));
        broker.send(ClientReply::Accepted(accepted(id, 7))).await;
        assert_eq!(confirm.accepted().await.expect("accepted"), accepted(id, 7));
    }
}

#[tokio::test]
async fn what_is_given_up_while_the_broker_is_away_is_lost_and_never_sent_again() {
    let mut broker = Broker::new().await;
    let options = ClientOptions { window: 1, answer_limit: Duration::from_secs(2), ..quick() };
    let client = broker.client(options).await;
    let first = client.submit(&queue(), message("1")).await.expect("sent");
    broker.recv().await;
    broker.end().await;
    let error = client.send(&queue(), message("2")).await.expect_err("the window is full");
    assert!(matches!(error, ClientError::Away { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
    let error = first.accepted().await.expect_err("the broker is away");
    assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
    assert!(error.outcome_unknown());
    broker.begin().await;
    let third = tokio::spawn(async move { client.send(&queue(), message("3")).await });
    assert_eq!(broker.recv().await, sent("3"), "and not what was given up");
    broker.send(ClientReply::Accepted(accepted("3", 3))).await;
    third.await.expect("no panic").expect("accepted");
}

#[tokio::test]
async fn a_call_whose_reply_has_begun_is_lost_with_its_connection() {
    let mut broker = Broker::new().await;
    let client = broker.client(quick()).await;
    let (calling, (came, mut begun)) = (client.clone(), tokio::sync::mpsc::channel(1));
    let call = tokio::spawn(async move {
        let on_part = |part: CallPart| came.try_send(part.part).expect("it is waited for");
        calling.call_in_parts(&queue(), message("1"), LIMIT, on_part).await
    });
    broker.recv().await;
    let part = CallPart { id: id("1"), attempt: 1, part: 1, payload: Bytes::new() };
    broker.send(ClientReply::Part(part)).await;
    assert_eq!(begun.recv().await, Some(1));
    broker.end().await;
    broker.begin().await;
    let error = call.await.expect("no panic").expect_err("asked again, it would begin anew");
    assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
    let next = tokio::spawn(async move { client.send(&queue(), message("2")).await });
    assert_eq!(broker.recv().await, sent("2"), "and not the call");
    broker.send(ClientReply::Accepted(accepted("2", 2))).await;
    next.await.expect("no panic").expect("accepted");
}

#[tokio::test]
async fn what_the_broker_would_close_the_connection_for_is_never_sent() {
    let broker = Broker::new().await;
    let client = broker.client(quick()).await;
    let most = crate::model::limits::MAX_PAYLOAD_BYTES;
    let many: Vec<_> = ["1", "2"]
        .map(|name| {
            let payload = vec![b'x'; most];
            let content = NewMessage::new(payload).id(name).build().expect("valid");
            SendRequest { queue: queue(), content }
        })
        .into();
    let error = client.send_many(many).await.expect_err("header and verb count too");
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_connection_is_asked_and_then_made_anew() {
    let mut broker = Broker::new().await;
    let options = ClientOptions { silence: Duration::from_secs(2), ..quick() };
    let client = broker.client(options).await;
    let confirm = client.submit(&queue(), message("1")).await.expect("sent");
    assert_eq!(broker.recv().await, sent("1"));
    let first = broker.peer.clone();
    assert_eq!(broker.recv().await, ClientRequest::Ping);
    while broker.peer == first {
        let said = broker.recv().await;
        assert!(said == sent("1") || said == ClientRequest::Ping, "{said:?}");
    }
    broker.send(ClientReply::Accepted(accepted("1", 1))).await;
    assert_eq!(confirm.accepted().await.expect("accepted"), accepted("1", 1));
}

#[tokio::test]
async fn a_client_that_is_dropped_while_the_broker_is_away_gives_its_confirms_up_in_the_end() {
    let mut broker = Broker::new().await;
    let options = ClientOptions { answer_limit: Duration::from_millis(200), ..quick() };
    let client = broker.client(options).await;
    let confirm = client.submit(&queue(), message("1")).await.expect("sent");
    broker.recv().await;
    broker.end().await;
    drop(client);
    let told = timeout(LIMIT, confirm.answer).await.expect("the task ends by itself");
    let told = told.expect("it says why");
    assert!(matches!(told, Err(ClientError::Lost { .. })), "{told:?}");
}

#[tokio::test]
async fn a_full_window_makes_the_next_wait_and_no_answer_is_a_timeout() {
    let mut broker = Broker::new().await;
    let options =
        ClientOptions { window: 1, answer_limit: Duration::from_millis(50), ..Default::default() };
    let client = broker.client(options).await;
    let first = client.submit(&queue(), message("1")).await.expect("sent");
    let error = client.submit(&queue(), message("2")).await.expect_err("no room");
    assert!(matches!(error, ClientError::Busy { .. }), "{error:?}");
    let error = first.accepted().await.expect_err("no answer");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(error.outcome_unknown());
    // The late answer gives the room back, though nobody waits for it.
    broker.recv().await;
    broker.send(ClientReply::Accepted(accepted("1", 1))).await;
    let room = timeout(LIMIT, client.window.acquire()).await;
    assert!(room.is_ok(), "the late answer gives the room back");
}

#[tokio::test]
async fn a_refusal_of_nobody_knows_what_is_told_to_nobody_as_its_own() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let one = client.submit(&queue(), message("1")).await.expect("sent");
    let two = client.submit(&queue(), message("2")).await.expect("sent");
    broker.recv().await;
    broker.recv().await;
    broker.send(ClientReply::Rejected(Rejection::new(RejectCode::Busy, "slow down"))).await;
    for confirm in [one, two] {
        let error = confirm.accepted().await.expect_err("unknown");
        assert!(error.outcome_unknown(), "{error:?}");
        assert!(error.to_string().contains("slow down"), "{error}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let options = ClientOptions { connect_limit: Duration::from_millis(50), ..Default::default() };
    let nowhere = Client::connect_with("ipc:///nonexistent/clients", options).await;
    let error = nowhere.expect_err("nobody there");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    let error = Client::connect("localhost").await.expect_err("no address");
    assert!(matches!(error, ClientError::Endpoint { .. }), "{error:?}");
}

#[test]
fn a_message_without_an_id_gets_one_and_a_wrong_header_is_refused() {
    let content = NewMessage::new("x").kind("order.created").key("k").build().expect("valid");
    assert!(Uuid::parse_str(content.id().as_str()).is_ok());
    assert_eq!(content.header.key(), Some("k"));
    let error = NewMessage::new("x").field("delay_ms", "3").build().expect_err("a text");
    let told = "header field `delay_ms`: is a string; a whole number of at least 0 is needed";
    assert_eq!(error.to_string(), told);
}

#[tokio::test]
async fn parts_of_a_reply_come_before_its_end() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let call = tokio::spawn(async move {
        let mut parts = Vec::new();
        let on_part = |part: CallPart| parts.push((part.part, part.payload));
        let reply = client.call_in_parts(&queue(), message("1"), LIMIT, on_part).await;
        (parts, reply)
    });
    match broker.recv().await {
        ClientRequest::Call { parts, .. } => assert!(parts, "they are asked for"),
        other => panic!("{other:?}"),
    }
    for part in 1..=3 {
        let payload = Bytes::from(format!("part {part}"));
        broker.send(ClientReply::Part(CallPart { id: id("1"), attempt: 1, part, payload })).await;
    }
    let (status, payload) = (CallStatus::Ok, Bytes::from_static(b"end"));
    let end = CallReply { id: id("1"), status, error: None, payload };
    broker.send(ClientReply::Reply(end.clone())).await;
    let (parts, reply) = call.await.expect("no panic");
    let expected = (1..=3).map(|part| (part, Bytes::from(format!("part {part}"))));
    assert_eq!(parts, expected.collect::<Vec<_>>());
    assert_eq!(reply.expect("answered"), end);
}

#[tokio::test]
async fn a_reply_is_asked_for_by_id_without_sending_anything() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let asking = tokio::spawn(async move { client.reply_of(&id("1"), Some(&queue())).await });
    let asked = broker.recv().await;
    assert_eq!(asked, ClientRequest::Status { id: id("1"), queue: Some(queue()), reply: true });
    let report = StatusReport {
        id: id("1"),
        state: MessageState::Done,
        queue: queue(),
        seq: Seq(1),
        attempt: 1,
        error: None,
    };
    let (status, payload) = (CallStatus::Ok, Bytes::from_static(b"kept"));
    let reply = CallReply { id: id("1"), status, error: None, payload };
    broker.send(ClientReply::StatusReply { report: report.clone(), reply: reply.clone() }).await;
    let told = asking.await.expect("no panic").expect("answered");
    assert_eq!(told, (report, Some(reply)));
}

#[tokio::test]
async fn a_gather_is_answered_by_its_parts_or_accepted_for_a_queue() {
    let mut broker = Broker::new().await;
    let client = broker.client(ClientOptions::default()).await;
    let request = |id: &str| GatherRequest::over(vec![queue()], message(id));
    let (first, second) = (request("1"), request("2"));
    let asking = tokio::spawn(async move {
        (client.gather(first, Some(LIMIT)).await, client.gather_later(second).await)
    });
    assert!(matches!(broker.recv().await, ClientRequest::Gather(asked) if *asked == request("1")));
    let reply = GatherReply {
        id: id("1"),
        status: GatherStatus::Complete,
        parts: vec![queue()],
        missing: Vec::new(),
        condition_error: None,
        payloads: vec![Bytes::from_static(b"part")],
    };
    broker.send(ClientReply::Gathered(Box::new(reply.clone()))).await;
    broker.recv().await;
    let accepted = GatherAccepted { id: id("2"), recipients: 1, duplicate: false };
    broker.send(ClientReply::GatherAccepted(accepted.clone())).await;
    let (now, later) = asking.await.expect("no panic");
    assert_eq!(now.expect("answered"), reply);
    assert_eq!(later.expect("accepted"), accepted);
}
