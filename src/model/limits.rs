//! Every bound of the system that a peer or an operator can meet, with its reason.

/// A queue's name in bytes: fits a table column and a metric label.
pub const MAX_QUEUE_NAME_BYTES: usize = 128;
/// A topic's name in bytes: `{topic}.dead` must be a queue's name.
pub const MAX_TOPIC_NAME_BYTES: usize = 120;
/// A message id in bytes: four UUIDs; ids are kept in RAM for the de-duplication window.
pub const MAX_MESSAGE_ID_BYTES: usize = 256;
/// A process' id in bytes: a queue's name and a message's id, or two, fit.
pub const MAX_PROCESS_ID_BYTES: usize = 512;
/// One part of what is kept of a process, in bytes: a worker's reply fits, with some bytes about it.
pub const MAX_PROCESS_PART_BYTES: usize = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES;
/// Processes (gathers, sagas, kept replies) at once: each has its records in RAM, and is copied when the store begins a
/// new generation.
pub const MAX_PROCESSES: usize = 50_000;
/// The id of a saga in bytes: with a step's name it is that step's message's.
pub const MAX_SAGA_ID_BYTES: usize = 160;
/// The name of a saga's step in bytes.
pub const MAX_STEP_NAME_BYTES: usize = 64;
/// Steps of a saga: each has a record, and a part of the context.
pub const MAX_SAGA_STEPS: usize = 100;
/// A saga's input and results in bytes: each step's message holds them.
pub const MAX_SAGA_CONTEXT_BYTES: usize = 1024 * 1024;
/// Sagas that have ended and can still be seen.
pub const MAX_ENDED_SAGAS: usize = 1_000;
/// Their inputs and results in bytes: an eighth of what all processes may keep.
pub const MAX_ENDED_SAGAS_BYTES: u64 = MAX_PROCESSES_BYTES / 8;
/// What is kept of all processes, in bytes: it is in RAM, and copied with each new generation of the store.
pub const MAX_PROCESSES_BYTES: u64 = 64 * 1024 * 1024;
/// Beyond this none is started, in bytes: those that run need the rest to come to their ends.
pub const MAX_PROCESSES_BYTES_AT_START: u64 = MAX_PROCESSES_BYTES / 4 * 3;
/// How long the reply to a CALL is kept for a caller that comes back, in milliseconds: a restart of the caller, or of the
/// network between.
pub const KEPT_REPLY_MS: u64 = 600_000;
/// Replies kept so at once; the oldest go beyond. Each is a record in the store too.
pub const MAX_KEPT_REPLIES: usize = 10_000;
/// Their payloads together, in bytes: they are in RAM, and copied with each new generation of the store.
pub const MAX_KEPT_REPLIES_BYTES: u64 = 8 * 1024 * 1024;
/// A payload that is longer is not kept, in bytes: it would drive out many others.
pub const MAX_KEPT_REPLY_BYTES: usize = 1024 * 1024;
/// A header's JSON in bytes: it is parsed on the sockets' thread, so it must stay quick.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// What a verb's own fields (`queue`, `delivery`, …) may add to a message's header on the wire, in bytes:
/// a queue's name and a few numbers. So the longest header that was accepted can be delivered.
pub const MAX_VERB_FIELDS_BYTES: usize = 512;
/// A payload in bytes: the editor's limit too.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
/// Messages in one SENDMANY.
pub const MAX_SENDMANY_MESSAGES: usize = 1024;
/// Frames of one wire message: SENDMANY's header and payload pairs and the envelope.
pub const MAX_FRAMES: usize = 2 * MAX_SENDMANY_MESSAGES + 8;
/// A whole wire message in bytes: one commit must be able to hold it.
pub const MAX_WIRE_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// Queues in one store: each costs some hundred bytes of RAM even when idle.
pub const MAX_QUEUES: usize = 200_000;
/// Header and payload bytes that wait in a `memory` queue whose settings name no bound: RAM must have one. Also
/// what a `mixed` queue keeps in RAM at most, whatever its number of messages.
pub const DEFAULT_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// When a producer of a `redis` queue whose Redis is away may try again, in milliseconds: about as often as the
/// broker itself tries.
pub const REDIS_RETRY_MS: u64 = 1_000;
/// Connections that each door takes at once, unless the configuration says something else: an idle one takes some 12 kB
/// of memory and three descriptors.
pub const DEFAULT_CONNECTIONS: usize = 16_384;
/// Connections that it may be told to take.
pub const MAX_CONNECTIONS: usize = 65_536;
/// A worker's credit: bounds what is in flight to one connection.
pub const MAX_CREDIT: u32 = 1024;
/// Queues that one worker may serve.
pub const MAX_WORKER_QUEUES: usize = 1024;
/// Attempts kept in full for one message: the first and the newest of them.
pub const MAX_ATTEMPTS_KEPT: usize = 16;
/// An error's code: a short, stable word, in bytes.
pub const MAX_ERROR_CODE_BYTES: usize = 64;
/// An error's text kept with a message, in bytes; the tail of stderr fits.
pub const MAX_ERROR_BYTES: usize = 8 * 1024;
/// A queue's JSON Schema in bytes: in JSON, where each quote takes two, and with the rest of its queue's record, it fits into one
/// value of the store. Schemas of a few hundred fields are half as long.
pub const MAX_SCHEMA_BYTES: usize = 32 * 1024;
/// The longest payload in bytes that is held against a schema: as a value it takes up to fifty times as much RAM, and some
/// ten milliseconds.
pub const MAX_CHECKED_BYTES: usize = 1024 * 1024;
/// A reason or note by an operator or a worker, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;
/// Entries on one page of the journal or of a queue's messages.
pub const MAX_PAGE: usize = 500;
/// The newest entries of the journal that are kept, unless the configuration says something else: some 6 MB on disk,
/// and months of an operator's work.
pub const JOURNAL_ENTRIES: u64 = 20_000;
/// Entries of one message that waits which stay when they are not among the journal's newest: twice as many as are shown
/// with it, so that one sees that there were more. Who retries a message every minute must not fill the disk.
pub const MAX_HISTORY: usize = 2 * MAX_PAGE;
/// Repairs' idempotency keys kept: the oldest are forgotten beyond.
pub const MAX_REPAIR_KEYS: usize = 10_000;
/// Messages of one bulk repair: the keys of all of them are kept until as many newer repairs were made: until then one that is sent again repairs none twice. Its list fits
/// a small body, and what came of each some megabytes.
pub const MAX_BULK_ITEMS: usize = MAX_REPAIR_KEYS;
/// The key of a bulk repair in bytes: with a place it is one message's.
pub const MAX_BULK_KEY_BYTES: usize = 100;
/// Callers that may wait for a reply at once, over all queues.
pub const MAX_WAITING_CALLS: usize = 100_000;
/// Parts of one delivery's reply: a worker that goes round in a circle is told.
pub const MAX_REPLY_PARTS: u32 = 65_536;
/// How long a CALL waits when it names no `timeout_ms`, in milliseconds.
pub const DEFAULT_CALL_TIMEOUT_MS: u64 = 30_000;
/// The longest wait a CALL may ask for, in milliseconds: one day.
pub const MAX_CALL_TIMEOUT_MS: u64 = 86_400_000;
/// Processes of a supervised worker: more than a machine's cores by far.
pub const MAX_POOL_COUNT: u32 = 256;
/// Between two heartbeats, in milliseconds; a peer is gone after `HEARTBEAT_MISSES` silent ones.
pub const HEARTBEAT_MS: u64 = 2_500;
/// Silence, in milliseconds, after which a worker gets nothing more and what it holds is delivered again: one heartbeat is missing and
/// the next one nearly so. A message is with somebody else within two heartbeats, whatever happened to its worker.
pub const SUSPECT_MS: u64 = 4_500;
/// Silent heartbeat intervals after which a peer is gone.
pub const HEARTBEAT_MISSES: u64 = 3;
/// A repair hold in milliseconds; the console renews it while the editor is open.
pub const MAX_HOLD_MS: u64 = 120_000;
/// A filter's text in bytes: parsing and compiling it takes time and stack by its length.
pub const MAX_FILTER_BYTES: usize = 4 * 1024;
/// Steps that one evaluation of a filter may take: a millisecond or two.
pub const MAX_FILTER_COST: u64 = 50_000;
/// Steps that all filters of one publish may take together: the loop stands still meanwhile. 10,000 plain
/// comparisons need about a tenth of it.
pub const MAX_PUBLISH_COST: u64 = 1_000_000;
/// A payload that filters look into, in bytes: it is parsed on the broker's loop.
pub const MAX_FILTER_BODY_BYTES: usize = 1024 * 1024;
/// Recipients of one gather: each is a message of its commit, and a part that is kept until its end.
pub const MAX_GATHER_RECIPIENTS: usize = 256;
/// All parts of one gather, in bytes: its answer is one wire message.
pub const MAX_GATHER_BYTES: usize = 16 * 1024 * 1024;
/// How long a gather waits when nothing is said of it, in milliseconds.
pub const DEFAULT_GATHER_TIMEOUT_MS: u64 = 30_000;
/// Gathers at their end that are kept for a caller who comes back; the oldest go beyond.
pub const MAX_KEPT_GATHERS: usize = 1_000;
/// What is kept of them, in bytes; beyond, the oldest go.
pub const MAX_KEPT_GATHERS_BYTES: u64 = 16 * 1024 * 1024;
/// Callers that wait for one gather: who asks again while it runs waits with the first.
pub const MAX_GATHER_CALLERS: usize = 64;
/// Subscriptions of one topic: each matching one is a message of the publish's commit.
pub const MAX_TOPIC_SUBSCRIPTIONS: usize = 10_000;
/// Subscriptions made at run time, over all topics: each is kept in RAM with its compiled filter.
pub const MAX_SUBSCRIPTIONS: usize = 100_000;
/// The texts of their filters together, in bytes: compiled, each takes some ten times that in RAM.
pub const MAX_FILTERS_BYTES: usize = 8 * 1024 * 1024;
/// How much of a payload a list row shows, in bytes.
pub const PREVIEW_BYTES: usize = 160;

/// The longest execution that can be asked for, in milliseconds: one day.
pub const MAX_EXECUTION_MS: u64 = 86_400_000;

/// Cuts `text` to at most `max_bytes` at a character's boundary.
pub fn clip(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.shrink_to_fit();
    }
}
