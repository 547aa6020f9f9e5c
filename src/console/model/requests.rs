//! What was asked for and has no answer yet.

use super::super::effect::{Effect, Request, RequestId};
use super::{MessageRef, Model, PatternAct, PatternRead};
use crate::admin::dto::{IdempotencyKey, MessageId, QueueName, Revision, Seq};

/// What an answer is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// A page of the queue screen's list, from this place on.
    Page(QueueName, Option<Seq>),
    /// A page of the queue screen's order keys.
    Keys(QueueName, Option<Seq>),
    /// The supervised workers.
    Pools,
    /// Where a message is that was asked for by its id.
    Locate(MessageId),
    /// The message screen.
    Show(MessageRef),
    /// What stands around the message screen's message: what waits behind it, who holds it.
    Beside(MessageRef),
    /// A message for which `u` was pressed.
    Undo(MessageRef),
    /// A message that an act was done to, or may have been: how it is now.
    Follow(MessageRef),
    /// A blocked head that `r` was pressed on, on the queues' screen.
    RetryHead(MessageRef),
    /// A revision's bytes for the difference.
    Compare(MessageRef, Revision),
    /// The journal, from its newest or further back.
    Journal(Option<u64>),
    /// Topics, gathers or sagas.
    Patterns(PatternRead),
    /// The schema of what is edited.
    Schema(QueueName),
    /// A hold for the editor.
    Hold(MessageRef),
    /// A hold given back; whatever the answer.
    Release(MessageRef),
    /// A repair.
    Repair(MessageRef),
    /// What came of a repair that had no answer.
    Outcome(MessageRef),
    /// A pause (true) or a resume.
    SetPaused(QueueName, bool),
    /// Something done to a saga or a subscription.
    PatternAct(PatternAct),
}

/// Requests without an answer kept: each has a time limit of its own at the runner, so that this many
/// are never open at once; beyond it the oldest was lost.
const MAX_WAITING: usize = 256;

impl Model {
    /// Sends a request and remembers what its answer is for.
    pub(in crate::console) fn ask(
        &mut self,
        fx: &mut Vec<Effect>,
        purpose: Purpose,
        request: Request,
    ) {
        let id = self.next_request();
        self.waiting.insert(id, purpose);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_first();
        }
        fx.push(Effect::Ask(id, request));
    }

    /// A name for a request.
    pub(in crate::console) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// What `request` was for; `None` for an answer that came twice or that nobody waits for.
    pub(in crate::console) fn answered(&mut self, request: RequestId) -> Option<Purpose> {
        self.waiting.remove(&request)
    }

    /// Whether an answer for `purpose` is awaited.
    pub fn awaits(&self, purpose: &Purpose) -> bool {
        self.waiting.values().any(|waiting| waiting == purpose)
    }

    /// A key for a new repair.
    pub(in crate::console) fn next_key(&mut self) -> IdempotencyKey {
        self.last_key += 1;
        IdempotencyKey::new(&format!("{}-{}", self.setup.session, self.last_key))
            .expect("a session is a UUID")
    }

    /// Whether an answer for something of a kind is awaited.
    pub(in crate::console) fn awaits_any(&self, kind: impl Fn(&Purpose) -> bool) -> bool {
        self.waiting.values().any(kind)
    }

    /// Waits no longer for heads that were to be retried once they are read; tells which.
    pub(in crate::console) fn forget_heads(&mut self) -> Vec<MessageRef> {
        let mut heads = Vec::new();
        self.waiting.retain(|_, purpose| match purpose {
            Purpose::RetryHead(message) => {
                heads.push(message.clone());
                false
            }
            _ => true,
        });
        heads
    }

    /// Waits no longer for answers to reads: a new connection asks anew.
    pub(in crate::console) fn forget_reads(&mut self) {
        self.waiting.retain(|_, purpose| !crate::console::update::is_read(purpose));
    }
}
