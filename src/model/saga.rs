//! Sagas: steps in their order, each a message to a queue; when one fails, those before are compensated.

use serde::{Deserialize, Serialize};

use super::ids::{MessageId, QueueName, SagaName, Seq};
use super::message::WorkError;
use super::time::Timestamp;

/// What a saga does, as `[sagas."name"]` in the configuration has it. A saga that runs keeps the one that it began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaDefinition {
    /// Its name.
    pub name: SagaName,
    /// Told with each step and in lists; the configuration's author counts it up.
    pub version: u32,
    /// At least one; their names are unique.
    pub steps: Vec<SagaStep>,
}

/// One step: a message to a queue, whose reply is its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaStep {
    /// What it is called in results and lists.
    pub name: String,
    /// Where its message goes.
    pub queue: QueueName,
    /// Where the message goes that takes its effect back; none: there is nothing to take back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<QueueName>,
    /// How long one attempt may take, from its message's acceptance to its end, in milliseconds.
    pub timeout_ms: u64,
    /// How often its message is sent: a further one after the queue has given the last one up, or after the timeout.
    pub attempts: u32,
    /// The pause before a further attempt, in milliseconds.
    pub retry_ms: u64,
}

impl SagaStep {
    /// [`SagaStep::timeout_ms`], if the configuration doesn't say: a minute.
    pub const TIMEOUT_MS: u64 = 60_000;
    /// [`SagaStep::retry_ms`], if the configuration doesn't say.
    pub const RETRY_MS: u64 = 1_000;
}

/// What a saga does.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SagaState {
    /// Its steps are done one after the other.
    Running,
    /// A step has failed, or an operator has aborted it: what was done is taken back, the newest first.
    Compensating,
    /// A compensation has failed: it waits for an operator.
    Parked,
    /// All steps are done.
    Completed,
    /// What was done is taken back.
    Compensated,
    /// An operator has given it up before all was taken back.
    Aborted,
}

impl SagaState {
    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Aborted => "aborted",
        }
    }

    /// Whether nothing comes after it.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Running | Self::Compensating | Self::Parked => false,
            Self::Completed | Self::Compensated | Self::Aborted => true,
        }
    }
}

/// What has become of a step.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Its turn has not come.
    Pending,
    /// Its message is sent, or waits for its next attempt.
    Running,
    /// Its worker has done it.
    Done,
    /// It was given up before a worker did it.
    Failed,
    /// It was given up while a worker had it, which may do it yet: it is compensated like one that is done.
    Unknown,
    /// The message that takes it back is sent, or waits for its next attempt.
    Compensating,
    /// It is taken back.
    Compensated,
    /// Its compensation has failed.
    Stuck,
    /// An operator has said that it needs no compensation any more.
    Skipped,
}

impl StepState {
    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
            Self::Skipped => "skipped",
        }
    }
}

/// What an operator does to a saga.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SagaAct {
    /// A parked one tries the compensation again that failed.
    Retry,
    /// A parked one goes on as if the compensation that failed had been done.
    Skip,
    /// One that runs is compensated; one that compensates or is parked ends as it is.
    Abort,
}

/// What an operator wants of a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SagaOrder {
    /// What to do.
    pub act: SagaAct,
    /// The state that the operator saw it in: in another one the same act does another thing, and nothing is done. None:
    /// whatever it is.
    pub expect_state: Option<SagaState>,
}

impl SagaAct {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Abort => "abort",
        }
    }
}

/// A saga has begun, or had begun before under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SagaStarted {
    /// Its id: the message's.
    pub id: MessageId,
    /// Which one.
    pub saga: SagaName,
    /// It had begun before; nothing was done now.
    pub duplicate: bool,
}

/// A saga as operators see it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaView {
    /// Its id.
    pub id: MessageId,
    /// Which one.
    pub saga: SagaName,
    /// The version of its definition.
    pub version: u32,
    /// What it does.
    pub state: SagaState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Why it is not simply running or completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WorkError>,
    /// Its steps.
    pub steps: Vec<StepView>,
}

/// A step as operators see it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// What it is called.
    pub name: String,
    /// What has become of it.
    pub state: StepState,
    /// How often its message was sent, or if it is being compensated, the one that takes it back.
    pub attempts: u32,
    /// The queue of its newest message.
    pub queue: QueueName,
    /// That message's place, while it is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// When it is given up, or tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Why its last attempt failed, or why it can't be sent now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WorkError>,
}

/// A saga with its input and what its steps have brought.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaDetail {
    /// The saga.
    pub saga: SagaView,
    /// `input` and `results` by step, as its workers get them.
    pub context: super::view::Payload,
}

/// A page of sagas, the oldest first.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SagaPage {
    /// The sagas.
    pub sagas: Vec<SagaView>,
    /// What to ask for with `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
