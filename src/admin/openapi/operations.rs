//! What each route takes and answers.

use utoipa::openapi::OpenApi;

use super::builder::Api;
use crate::admin::dto::*;
use crate::admin::health::Healthy;
use crate::model::limits::MAX_PAGE;

const LIMIT: &str = "How many, 100 if absent.";

/// The whole specification.
pub(super) fn document() -> OpenApi {
    let mut api = Api::default();
    broker(&mut api);
    queues(&mut api);
    messages(&mut api);
    bulk(&mut api);
    workers(&mut api);
    topics(&mut api);
    processes(&mut api);
    happenings(&mut api);
    api.finish()
}

fn broker(api: &mut Api) {
    api.get("/v1/overview", "The broker at a glance").gives::<Overview>();
    api.get("/v1/doors", "The broker's sockets, with their counts").gives_all::<DoorView>();
    api.get("/v1/config", "What the broker runs with, without secrets").gives::<ConfigView>();
    api.get("/v1/store", "The store and its disk").gives::<StoreView>();
    api.post("/v1/store/backup", "Copies the store into a folder of the broker's machine")
        .takes::<BackupRequest>()
        .gives_nothing();
    api.get("/livez", "Whether the broker's loop turns").gives::<Healthy>();
    api.get("/readyz", "Whether messages are accepted").gives::<Healthy>();
    api.get("/metrics", "The broker for Prometheus").gives_text("text/plain");
    api.get("/v1/tokens", "The tokens that there are").gives_all::<TokenView>();
    api.post("/v1/tokens/{name}/revoke", "Lets a token count no more").gives::<Revoked>();
    api.get("/v1/openapi.json", "This specification").gives_json();
    api.get("/v1/problems", "The kinds of problems").gives_all::<ProblemKind>();
    api.get("/v1/problems/{code}", "One kind of problem").gives::<ProblemKind>();
}

fn queues(api: &mut Api) {
    api.get(
        "/v1/queues",
        "All queues, in the order in which they were made, or a page of those asked for",
    )
    .text("prefix", "Only those whose names begin with this; a page of them.")
    .number("after", 0, Some(u32::MAX.into()), "After the one with this `number`.")
    .number(
        "limit",
        1,
        Some(MAX_PAGE as u64),
        "At most so many; all without it, `after` and `prefix`.",
    )
    .gives_all::<QueueView>();
    api.get("/v1/queues/{queue}", "One queue").gives::<QueueView>();
    api.post(
        "/v1/queues/{queue}/create",
        "Makes a queue, with settings beside the configured ones",
    )
    .may_take::<SettingsRequest>()
    .gives_nothing();
    api.post("/v1/queues/{queue}/purge", "Takes out what waits in it, a page of it")
        .takes::<PurgeRequest>()
        .gives::<PurgePage>();
    api.post("/v1/queues/{queue}/delete", "Deletes a queue; with `purge` one with messages, too")
        .may_take::<DeleteRequest>()
        .gives_nothing();
    api.post("/v1/queues/{queue}/pause", "Stops its delivery; publishing goes on")
        .may_take::<PauseRequest>()
        .gives_nothing();
    api.post("/v1/queues/{queue}/drain", "Closes it to new messages; what waits is delivered")
        .may_take::<PauseRequest>()
        .gives_nothing();
    api.post("/v1/queues/{queue}/resume", "Lets it deliver, and accept, again")
        .may_take::<PauseRequest>()
        .gives_nothing();
    api.post("/v1/queues/{queue}/settings", "Changes its settings; `null` is as configured")
        .takes::<SettingsRequest>()
        .gives_nothing();
    api.post("/v1/queues/{queue}/publish", "Sends a message to it; answered when it is durable")
        .takes::<MessageRequest>()
        .gives::<Accepted>();
    api.get("/v1/queues/{queue}/schema", "The JSON Schema of its payloads").gives::<SchemaView>();
    api.get("/v1/queues/{queue}/keys", "Its order keys that stand")
        .number("from", 0, None, "From the message at this place on.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .gives::<KeyPage>();
    api.post("/v1/queues/{queue}/redrive", "Brings dead letters back, a page of them")
        .takes::<RedriveRequest>()
        .gives::<RedrivePage>();
}

fn messages(api: &mut Api) {
    api.get("/v1/queues/{queue}/messages", "Its unfinished messages, by place")
        .number("from", 0, None, "From this place on.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .query::<MessageState>("state", "In this state only.")
        .query::<HeaderTest>("header", "With this header field.")
        .query::<PathTest>("path", "With this place in the JSON body.")
        .text("filter", "For which this expression in CEL is true.")
        .query::<ErrorGroupId>("group", "That failed last with an error of this group.")
        .number("older_ms", 0, None, "Accepted at least so many milliseconds ago.")
        .number("newer_ms", 0, None, "Accepted less than so many milliseconds ago.")
        .gives::<MessagePage>();
    api.get(
        "/v1/queues/{queue}/errors",
        "The errors that its messages failed last with, in groups",
    )
    .number("from", 0, None, "From the message at this place on.")
    .gives::<ErrorGroupPage>();
    api.get("/v1/queues/{queue}/messages/{seq}", "A message with all that is known of it")
        .gives::<MessageView>();
    api.get("/v1/queues/{queue}/messages/{seq}/payload", "Its payload's bytes, as they are")
        .number("revision", 0, Some(u32::MAX.into()), "As of this edit; the newest if absent.")
        .gives_text("application/octet-stream");
    api.post("/v1/queues/{queue}/messages/{seq}/repair", "Repairs it")
        .takes::<RepairRequest>()
        .gives::<RepairOutcome>();
    api.post("/v1/queues/{queue}/messages/{seq}/hold", "Keeps it from being tried, for an edit")
        .takes::<HoldRequest>()
        .gives_or_nothing::<HoldView>();
    api.get("/v1/repairs/{key}", "What came of a repair").gives::<RepairOutcome>();
    api.get("/v1/messages/{id}", "Where a message is").gives::<Located>();
}

fn bulk(api: &mut Api) {
    api.post("/v1/queues/{queue}/bulk", "Begins the same repair of many messages")
        .takes::<BulkRequest>()
        .begins::<BulkView>();
    api.get("/v1/bulk", "Repairs of many messages, the newest first").gives_all::<BulkView>();
    api.get("/v1/bulk/{key}", "How far a repair of many messages is").gives::<BulkView>();
    api.get("/v1/bulk/{key}/results", "What came of each of its messages")
        .number("from", 0, None, "From the message with this number on, from 0.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .flag("refused", "Only those that were refused, or only those that were not.")
        .gives::<BulkResultPage>();
    api.post("/v1/bulk/{key}/stop", "Stops it").gives::<BulkView>();
}

fn workers(api: &mut Api) {
    api.get("/v1/workers", "Connected workers").gives_all::<WorkerView>();
    for (path, summary) in [
        ("/v1/workers/{name}/restart", "Tells workers of a name to end, and begin anew"),
        ("/v1/workers/{name}/drain", "Tells workers of a name to end"),
    ] {
        api.post(path, summary).may_take::<DrainRequest>().gives::<Drained>();
    }
    api.get("/v1/pools", "Supervised workers").gives_all::<PoolView>();
    api.get("/v1/pools/{name}", "A supervised worker").gives::<PoolView>();
    api.post("/v1/pools/{name}/restart", "Starts its processes anew").gives::<PoolView>();
    api.post("/v1/pools/{name}/drain", "Ends its processes").gives::<PoolView>();
    api.post("/v1/pools/{name}/scale", "Changes how many there are")
        .takes::<ScaleRequest>()
        .gives::<PoolView>();
}

fn topics(api: &mut Api) {
    api.get("/v1/topics", "Topics, by name")
        .query::<TopicName>("after", "After this one.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .gives::<TopicPage>();
    api.get("/v1/topics/{topic}", "A topic with its subscriptions")
        .number("from", 0, None, "From this one on.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .gives::<TopicDetail>();
    api.post("/v1/topics/{topic}/publish", "Publishes an event; answered when it is durable")
        .takes::<EventRequest>()
        .gives::<Published>();
    let path = "/v1/topics/{topic}/subscriptions/{queue}";
    api.put(path, "Gives a topic's events to a queue from now on")
        .may_take::<SubscriptionRequest>()
        .gives::<SubscriptionChange>();
    api.delete(path, "And does so no more").gives::<SubscriptionChange>();
}

fn processes(api: &mut Api) {
    api.get("/v1/sagas", "Sagas, the oldest first")
        .number("after", 0, None, "What `next` of the page before said.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .query::<SagaState>("state", "In this state only.")
        .gives::<SagaPage>();
    api.get("/v1/sagas/{id}", "A saga with its results").gives::<SagaDetail>();
    api.post("/v1/sagas/{id}/act", "Lets a saga try again, go on, or end")
        .takes::<SagaActRequest>()
        .gives::<SagaDetail>();
    api.get("/v1/gathers", "Gathers, the oldest first")
        .number("after", 0, None, "What `next` of the page before said.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .query::<GatherState>("state", "In this state only.")
        .gives::<GatherPage>();
    api.get("/v1/gathers/{id}", "A gather with its replies")
        .query::<GatherName>("gather", "Which one, if several have this id.")
        .gives::<GatherDetail>();
}

fn happenings(api: &mut Api) {
    api.get("/v1/journal", "Who did what, the newest first")
        .number("before", 0, None, "Before this entry.")
        .number("limit", 1, Some(MAX_PAGE as u64), LIMIT)
        .query::<QueueName>("queue", "Of this queue only.")
        .number("seq", 0, None, "Of this message only; needs `queue`.")
        .gives::<JournalPage>();
    api.get("/v1/events", "What happens, as server-sent events that can be resumed")
        .text("after", "After this event.")
        .text("type", "Of these types only, with commas between them.")
        .query::<QueueName>("queue", "Of this queue only.")
        .gives_text("text/event-stream");
    api.get("/v1/stream", "Everything as it is and then changes, as server-sent events")
        .gives_text("text/event-stream");
}
