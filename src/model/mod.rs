//! The words of the system as types: ids, messages, states, settings, records, views. Imports nothing.

mod answer;
mod broker_event;
mod causes;
mod dead_letter_way;
mod error_group;
mod figures;
mod filter;
mod gather;
mod header;
mod header_fields;
mod hidden;
mod ids;
mod journal;
pub mod limits;
mod message;
mod message_filter;
mod notice;
mod numbered;
mod plain_words;
mod pool;
mod process;
mod proxy;
mod purge;
mod queue_patterns;
mod record;
mod repair;
mod saga;
mod schema_text;
#[cfg(test)]
mod schemas;
mod setting_change;
mod settings;
mod span;
mod state;
mod stream;
mod time;
mod timing;
mod topic;
mod view;

pub use answer::{Accepted, CallPart, CallReply, CallStatus, RejectCode, Rejection, StatusReport};
pub use broker_event::{BrokerEvent, EVENT_TYPES, EventId};
pub use causes::with_causes;
pub use dead_letter_way::dead_letter_circle;
pub use error_group::{ErrorGroupId, ErrorGroupPage, ErrorGroupView, NoErrorGroup, error_pattern};
pub use figures::{
    DiskFigures, Figures, HistogramView, Pulse, QueueFigures, StoreMeasures, Totals,
};
pub use filter::{
    Budget as FilterBudget, Filter, FilterError, HeaderTest, PathTest, PlainTestError,
    Subject as FilterSubject,
};
pub use gather::{
    Aggregate, Completion, CompletionError, ConfiguredGather, GatherAccepted, GatherDetail,
    GatherPage, GatherReply, GatherRequest, GatherSettings, GatherState, GatherStatus, GatherView,
    MissingPart, RecipientState, RecipientView, Recipients, ReplyView,
};
pub(crate) use header::parse_object;
pub use header::{Header, HeaderError, dead_letter_queue, reply_to};
pub use hidden::Hidden;
pub use ids::{
    DeliveryId, GatherName, Generation, IdError, IdempotencyKey, MessageId, Origin, ProcessId,
    QueueId, QueueName, Revision, SagaName, Seq, TopicName, WorkerId,
};
pub use journal::{Actor, JournalEntry, JournalKind};
pub use message::{Content, Message, NackAction, WorkError, WorkerInfo};
pub use message_filter::MessageFilter;
pub use notice::Notice;
pub use numbered::{Numbered, Numbers};
pub(crate) use plain_words::in_plain_words;
pub use pool::{
    PoolAct, PoolError, PoolProcess, PoolState, PoolView, ProcessState, RestartPolicy, WorkedBy,
    WorkerPool,
};
pub(crate) use process::process_records;
pub use process::{ProcessKey, ProcessKind, ProcessParts, ProcessRecord};
pub use proxy::{Proxy, ProxyKind};
pub use purge::{PurgePage, Purged, Staying};
pub use queue_patterns::QueuePatterns;
pub use record::{
    Attempt, AttemptEnd, Batch, DedupMarks, Finish, MessageRecord, Op, PauseRecord, QueueBacklog,
    QueueRecord, Recovered, RemovedQueues, RevisionRecord, StoredMessage,
};
pub use repair::{
    BulkNow, Edit, MovedTo, RedrivePage, Redriven, Repair, RepairAction, RepairOutcome,
    RepairRefusal, bulk_key,
};
pub use saga::{
    SagaAct, SagaDefinition, SagaDetail, SagaOrder, SagaPage, SagaStarted, SagaState, SagaStep,
    SagaView, StepState, StepView,
};
pub use schema_text::SchemaText;
pub use setting_change::{SCHEMA, SettingChange};
pub use settings::{
    AckMode, Backoff, Consumers, Dedup, Mailbox as MailboxKind, OnFailure, Ordering, Overflow,
    QueueSettings, QueueTemplate, Resend, Retry, SharedSettings, Spill,
};
pub use span::{Span, SpanCounts, SpanKind, SpanTotals, TraceContext};
pub use state::{MessageState, QueueState, WorkerState};
pub use stream::{Arrival, StreamEntry, StreamId};
pub use time::Timestamp;
pub use timing::{MAX_TIMING_MS, Timing};
pub use topic::{
    ConfiguredTopic, Match, OnError, Published, Subscription, SubscriptionChange,
    SubscriptionRecord, SubscriptionView, TopicDetail, TopicPage, TopicSettings, TopicView,
    Unroutable,
};
pub use view::{
    DeadLetterView, DoorView, HeadView, HoldView, InFlightView, JournalPage, KeyPage, KeyView,
    MessagePage, MessageSummary, MessageView, Overview, Payload, QueueView, RevisionView,
    StoreHealth, WorkerView,
};
