//! The way to the broker: the event stream with its reconnection, and one request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};

use super::action::{Action, Failure, Reply};
use super::effect::Request;
use super::model::{PAGE, PatternAct, PatternPage, PatternRead, ProcessList, TopicRead};
use crate::admin::client::{AdminClient, AdminError, JournalQuery, MessageQuery};
use crate::admin::dto::{GatherView, SagaView};

/// The first pause before another attempt to connect; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause: an operator who restarts a broker doesn't wait longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Holds an event stream for as long as the console runs; `waits`: once `now` says that there is a broker. Ends when
/// nobody takes its actions.
pub(super) async fn watch(
    client: AdminClient,
    actions: mpsc::Sender<Action>,
    now: Arc<Notify>,
    waits: bool,
) {
    if waits {
        now.notified().await;
    }
    let mut failures = 0;
    loop {
        let error = match follow(&client, &actions, &mut failures).await {
            Ok(()) => return,
            Err(error) => error,
        };
        failures += 1;
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE);
        let lost = Action::Lost {
            reason: with_cause(&error),
            failures,
            retry_in_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            refused: is_refusal(&error),
        };
        if actions.send(lost).await.is_err() {
            return;
        }
        // A key can ask for an attempt before its time.
        let _ = tokio::time::timeout(pause, now.notified()).await;
    }
}

/// One connection, until it fails; `Ok` when the console is gone.
async fn follow(
    client: &AdminClient,
    actions: &mpsc::Sender<Action>,
    failures: &mut u32,
) -> Result<(), AdminError> {
    let mut stream = client.stream().await?;
    if actions.send(Action::Connected).await.is_err() {
        return Ok(());
    }
    while let Some(event) = stream.next().await {
        let event = event?;
        *failures = 0;
        if actions.send(Action::Stream(Box::new(event))).await.is_err() {
            return Ok(());
        }
    }
    Err(AdminError::StreamEnded { endpoint: client.endpoint().clone() })
}

/// The broker, or the system, says no to this user: another attempt is of little use.
fn is_refusal(error: &AdminError) -> bool {
    match error {
        AdminError::Unreachable { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        AdminError::Problem(problem) => matches!(problem.status, 401 | 403),
        AdminError::Protocol { .. } => true,
        AdminError::Timeout { .. }
        | AdminError::Lost { .. }
        | AdminError::StreamEnded { .. }
        | AdminError::Request { .. } => false,
    }
}

fn with_cause(error: &AdminError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Asks the broker. Each request has the client's time limit, so that an answer of some kind always comes.
pub(super) async fn ask(client: &AdminClient, request: Request) -> Result<Reply, Failure> {
    let changes = request.changes();
    send(client, request).await.map_err(|error| failure(error, changes))
}

async fn send(client: &AdminClient, request: Request) -> Result<Reply, AdminError> {
    Ok(match request {
        Request::Page { queue, from } => {
            let query = MessageQuery { from, limit: Some(PAGE), ..MessageQuery::default() };
            Reply::Page(client.messages(&queue, &query).await?)
        }
        Request::Keys { queue, from } => Reply::Keys(client.keys(&queue, from, Some(PAGE)).await?),
        Request::Pools => Reply::Pools(client.pools().await?),
        Request::Locate(id) => Reply::Located(client.locate(&id).await?),
        Request::Message(message) => {
            Reply::Message(Box::new(client.message(&message.queue, message.seq).await?))
        }
        Request::Payload(message, revision) => {
            Reply::Payload(client.payload(&message.queue, message.seq, Some(revision)).await?)
        }
        Request::Journal { before } => {
            let query = JournalQuery { before, limit: Some(PAGE), ..JournalQuery::default() };
            Reply::Journal(client.journal(&query).await?)
        }
        Request::Patterns(read) => Reply::Patterns(patterns(client, read).await?),
        Request::Schema(queue) => Reply::Schema(client.schema(&queue).await?.text),
        Request::Hold(message, for_ms) => {
            Reply::Held(client.hold(&message.queue, message.seq, for_ms).await?)
        }
        Request::Repair(message, request) => {
            Reply::Repaired(client.repair(&message.queue, message.seq, &request).await?)
        }
        Request::Outcome(key) => Reply::Outcome(client.repair_outcome(&key).await?),
        Request::SetPaused { queue, paused: true } => {
            client.pause(&queue, "").await?;
            Reply::Done
        }
        Request::SetPaused { queue, paused: false } => {
            client.resume(&queue, "").await?;
            Reply::Done
        }
        Request::PatternAct(PatternAct::Saga { id, request }) => {
            Reply::Saga(Box::new(client.saga_act(&id, &request).await?.saga))
        }
        Request::PatternAct(PatternAct::Subscribe { topic, queue, request }) => {
            Reply::Subscribed(client.subscribe(&topic, &queue, &request).await?)
        }
        Request::PatternAct(PatternAct::Unsubscribe { topic, queue }) => {
            Reply::Subscribed(client.unsubscribe(&topic, &queue).await?)
        }
    })
}

async fn patterns(client: &AdminClient, read: PatternRead) -> Result<PatternPage, AdminError> {
    Ok(match read {
        PatternRead::Topics(TopicRead::Page(after)) => {
            PatternPage::Topics(client.topics(after.as_ref()).await?)
        }
        PatternRead::Topics(TopicRead::Detail(topic)) => {
            PatternPage::Topic(Box::new(client.topic(&topic, 0).await?))
        }
        PatternRead::Gathers(from) => {
            let state = ProcessList::<GatherView>::state(from);
            PatternPage::Gathers(client.gathers(from.after, state).await?)
        }
        PatternRead::Sagas(from) => {
            let state = ProcessList::<SagaView>::state(from);
            PatternPage::Sagas(client.sagas(from.after, state).await?)
        }
    })
}

fn failure(error: AdminError, changes: bool) -> Failure {
    let unknown = error.outcome_unknown();
    match error {
        AdminError::Problem(problem) if !(changes && unknown) => Failure::Refused(problem),
        error if unknown => Failure::Unknown(with_cause(&error)),
        error => Failure::NotSent(with_cause(&error)),
    }
}
