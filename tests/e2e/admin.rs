//! The admin API over its unix socket, as a stranger's HTTP client sees it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on ends there")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use mubroker::admin::client::{AdminClient, AdminError, EventQuery, EventStream};
use mubroker::admin::dto::{BrokerEvent, EventId, Notice, Problem, StreamEvent};
use mubroker::client::{Client, NewMessage};
use mubroker::model::{JournalKind, QueueName, QueueState, Seq};
use mubroker::wire::SendRequest;

use crate::daemon::{Daemon, folder};

/// Longer than any answer here takes.
const LIMIT: Duration = Duration::from_secs(10);

/// One request, written by hand; status and body.
fn ask(socket: &Path, request_line: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split("\r\n\r\n").nth(1).unwrap().to_owned())
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_a_problem() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let socket = daemon.socket();
    for (line, body, status, code, detail) in [
        ("GET /v2/queues", "", 404, "not_found", "/v2/queues"),
        ("DELETE /v1/queues", "", 405, "invalid", "can't be asked with DELETE"),
        ("GET /v1/queues/nope", "", 404, "no_such_queue", "there is no queue nope"),
        ("GET /v1/queues/a%2Fb", "", 400, "invalid", "queue has '/' at byte 1"),
        ("GET /v1/queues/a/messages?form=1", "", 400, "invalid", "unknown field `form`"),
        ("GET /v1/queues/a/messages?limit=0", "", 400, "invalid", "from 1 to 500"),
        ("GET /v1/queues/a/messages/x", "", 400, "invalid", "\"x\" is not a message's place"),
        ("GET /v1/events?type=blockd", "", 400, "invalid", "there is no event type \"blockd\""),
        ("GET /v1/events?after=7", "", 400, "invalid", "RUN-NUMBER"),
        ("GET /v1/journal?seq=1", "", 400, "invalid", "`seq` needs `queue`"),
        ("GET /v1/repairs/none", "", 404, "not_found", "no repair with the key none"),
        ("GET /v1/messages/none", "", 404, "not_found", "no message \"none\""),
        ("POST /v1/queues/a/pause", "{\n \"why\": 1}", 400, "invalid", "at line 2 column 6"),
        ("POST /v1/queues/a/pause", "{}", 404, "no_such_queue", "there is no queue a"),
        (
            "POST /v1/queues/a/messages/1/repair",
            r#"{"key":"k","expect_revision":0,"action":"save"}"#,
            400,
            "invalid",
            "`payload` is missing",
        ),
    ] {
        let (got, text) = ask(&socket, line, body);
        assert_eq!(got, status, "{line}: {text}");
        let problem: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{line}");
        assert!(problem.detail.contains(detail), "{line}: {}", problem.detail);
        assert_eq!(problem.instance, line.split(' ').nth(1).unwrap(), "what was asked");
        let (status, kind) = ask(&socket, &format!("GET {}", problem.kind), "");
        assert!(status == 200 && kind.contains(&problem.title), "{} leads to {kind}", problem.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_many_pages_and_a_stream_name_every_queue_once() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let client = Client::connect(&daemon.clients).await.unwrap();
    let queues = 2 * mubroker::broker::QUEUES_PAGE;
    let mut names: Vec<_> =
        (0..queues).map(|n| QueueName::new(&format!("q{n}")).unwrap()).collect();
    for part in names.chunks(256) {
        let content = || NewMessage::new("{}").build().unwrap();
        let sends = part.iter().map(|name| SendRequest { queue: name.clone(), content: content() });
        client.send_many(sends.collect()).await.unwrap();
    }
    names.sort();

    let admin = daemon.admin();
    let listed: Vec<_> = admin.queues().await.unwrap().into_iter().map(|q| q.name).collect();
    assert_eq!(listed, names, "by name, although the pages are not");

    let mut stream = admin.stream().await.unwrap();
    let mut named = Vec::new();
    loop {
        let event = tokio::time::timeout(LIMIT, stream.next()).await.expect("in time");
        match event.expect("the stream goes on").unwrap() {
            StreamEvent::Queues(page) => named.extend(page.into_iter().map(|queue| queue.name)),
            StreamEvent::Listed => break,
            StreamEvent::Overview(_) | StreamEvent::Workers(_) => {}
            other => panic!("{other:?}"),
        }
    }
    named.sort();
    assert_eq!(named, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_begins_with_everything_and_tells_what_changes() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let queue = QueueName::new("orders").unwrap();
    let client = Client::connect(&daemon.clients).await.unwrap();
    let message = || NewMessage::new("{}").build().unwrap();
    client.send(&queue, message()).await.unwrap();

    let admin = daemon.admin();
    let mut stream = admin.stream().await.unwrap();
    let mut next = async || {
        let event = tokio::time::timeout(LIMIT, stream.next()).await.expect("in time");
        event.expect("the stream goes on").unwrap()
    };
    assert!(matches!(next().await, StreamEvent::Overview(overview) if overview.queue_count == 1));
    assert!(matches!(next().await, StreamEvent::Queues(queues) if queues[0].depth == 1));
    assert!(matches!(next().await, StreamEvent::Listed));
    assert!(matches!(next().await, StreamEvent::Workers(workers) if workers.is_empty()));

    client.send(&queue, message()).await.unwrap();
    admin.pause(&queue, "look first").await.unwrap();
    let (mut depth, mut paused) = (false, false);
    while !depth || !paused {
        match next().await {
            StreamEvent::Queues(queues) => depth |= queues[0].depth == 2,
            StreamEvent::Notice(event) => paused |= event.what.kind() == "paused",
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_by_type_and_queue_and_resumed_after_one() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let admin = daemon.admin();
    let client = Client::connect(&daemon.clients).await.unwrap();
    let queues = ["orders", "other"].map(|name| QueueName::new(name).unwrap());
    let query = EventQuery {
        types: vec!["paused".to_owned(), "resumed".to_owned()],
        queue: Some(queues[0].clone()),
        after: None,
    };
    let mut events = admin.events(&query).await.unwrap();
    for queue in &queues {
        client.send(queue, NewMessage::new("{}").build().unwrap()).await.unwrap();
        admin.pause(queue, "look first").await.unwrap();
        admin.resume(queue, "").await.unwrap();
    }
    let next = async |events: &mut EventStream<BrokerEvent>| {
        let event = tokio::time::timeout(LIMIT, events.next()).await.expect("in time");
        event.expect("the stream goes on").unwrap()
    };
    let paused = next(&mut events).await;
    assert_eq!((paused.what.kind(), paused.what.queue()), ("paused", Some(&queues[0])));
    let resumed = next(&mut events).await;
    assert_eq!((resumed.what.kind(), resumed.what.queue()), ("resumed", Some(&queues[0])));

    let query = EventQuery { after: Some(paused.event_id), ..EventQuery::default() };
    let mut events = admin.events(&query).await.unwrap();
    assert_eq!(next(&mut events).await, resumed, "what happened meanwhile comes first");

    let long_ago = EventId { run: 1, number: 99 };
    let query = EventQuery { after: Some(long_ago), ..EventQuery::default() };
    let mut events = admin.events(&query).await.unwrap();
    let missed = next(&mut events).await;
    assert_eq!(missed.what, Notice::Missed { events: None }, "of another run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_says_who_did_what_through_what() {
    let folder = folder();
    let daemon = Daemon::start(folder.path());
    let queue = QueueName::new("orders").unwrap();
    let client = Client::connect(&daemon.clients).await.unwrap();
    let content = NewMessage::new("{}").build().unwrap();
    client.send(&queue, content).await.unwrap();
    let admin: AdminClient = daemon.admin();
    admin.pause(&queue, "night shift").await.unwrap();
    assert_eq!(admin.queue(&queue).await.unwrap().state, QueueState::Paused);
    let page = admin.journal(&Default::default()).await.unwrap();
    let newest = &page.entries[0];
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap();
    assert_eq!(newest.kind, JournalKind::Paused);
    assert_eq!(
        (newest.actor.name.as_str(), newest.actor.via.as_str()),
        (user.name.as_str(), "cli")
    );
    assert_eq!(newest.reason, "night shift");

    let held = admin.hold(&queue, Seq(1), 5_000).await.unwrap();
    assert_eq!(held.expect("held").by.name, user.name);
    assert_eq!(admin.hold(&queue, Seq(1), 0).await.unwrap(), None);
    let gone = admin.message(&queue, Seq(9)).await;
    assert!(matches!(gone, Err(AdminError::Problem(problem)) if problem.code == "not_found"));
}
