//! What can be seen of the engine without changing it.

use crate::model::{HoldView, InFlightView, MessageRecord, MessageState};

/// How many there are of what, for the overview.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queues in all.
    pub queues: u64,
    /// Of these, with a head that failed for good.
    pub blocked: u64,
    /// Workers connected.
    pub workers: u64,
    /// Late answers to leases that were over, since the engine was made.
    pub stale: u64,
    /// Replies to calls whose caller no longer waited, since the engine was made.
    pub late_replies: u64,
}

/// What the engine knows of an unfinished message beyond its content.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageOverlay {
    /// Its state.
    pub state: MessageState,
    /// Deliveries so far, the one under way included.
    pub attempt: u32,
    /// Its record; a message without one is ready, at attempt 0, revision 0.
    pub record: Option<MessageRecord>,
    /// Who has it now.
    pub lease: Option<InFlightView>,
    /// Who edits it now.
    pub hold: Option<HoldView>,
    /// How many unfinished messages stand behind it.
    pub behind: u64,
    /// What `undo` would do now; absent if nothing can be undone.
    pub undo: Option<String>,
}
