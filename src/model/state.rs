//! States as design.md 3 draws them.

use serde::{Deserialize, Serialize};

/// Where a message is on its way.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// May not be delivered before its time. Never stored: header and clock say it.
    Scheduled,
    /// May be delivered as soon as it is its turn.
    Ready,
    /// A worker holds it.
    Leased,
    /// Failed; tried again when its back-off is over.
    Waiting,
    /// Failed for good; an operator decides.
    Blocked,
    /// Acknowledged. Final.
    Done,
    /// Taken out by an operator; can be restored until its successor is delivered.
    Cancelled,
}

/// What a queue does.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueState {
    /// Accepts and delivers.
    Running,
    /// Accepts; an operator stopped delivery.
    Paused,
    /// Accepts; its head failed for good.
    Blocked,
    /// Delivers; accepts nothing new.
    Draining,
}

/// What a worker does.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// Holds nothing.
    Idle,
    /// Holds at least one message.
    Busy,
    /// Holds a message whose lease is over.
    Stuck,
    /// Wasn't heard for so long that it is given nothing; what it held is with others.
    Silent,
    /// Said BYE or was told to drain: gets nothing new.
    Draining,
}

macro_rules! as_str {
    ($type:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl $type {
            /// The word used in JSON, on screens and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(super) use as_str;

as_str!(MessageState {
    Scheduled => "scheduled",
    Ready => "ready", Leased => "leased", Waiting => "waiting", Blocked => "blocked",
    Done => "done", Cancelled => "cancelled",
});
as_str!(QueueState {
    Running => "running", Paused => "paused", Blocked => "blocked", Draining => "draining",
});
as_str!(WorkerState { Idle => "idle", Busy => "busy", Stuck => "stuck", Silent => "silent", Draining => "draining" });
