//! What the engine should do, written down without windows, timers, tickets or loads.

use std::collections::BTreeMap;

use crate::model::{
    AckMode, AttemptEnd, DeliveryId, Finish, MessageRecord, MessageState, NackAction,
    QueueSettings, RepairAction, RepairOutcome, Timestamp,
};

/// A broker of a few queues, as of one moment. Cheap to copy, so that a failed commit can go back.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) queues: Vec<ModelQueue>,
    /// Repairs done, by key.
    pub(super) repairs: BTreeMap<String, RepairOutcome>,
}

#[derive(Debug, Clone)]
pub(super) struct ModelQueue {
    pub(super) settings: QueueSettings,
    pub(super) paused: bool,
    /// Every message ever accepted; the place is the index and 1.
    pub(super) messages: Vec<ModelMessage>,
    /// By place: who, until when.
    pub(super) holds: BTreeMap<u64, (String, Timestamp)>,
    pub(super) lease: Option<ModelLease>,
    /// Of its stream, the newest entry taken in or passed.
    pub(super) newest_entry: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ModelMessage {
    pub(super) id: String,
    /// By revision.
    pub(super) payloads: Vec<String>,
    pub(super) header_bytes: u64,
    /// Done and cancelled are final once `over`; leases are in the queue.
    pub(super) state: MessageState,
    pub(super) over: bool,
    pub(super) due: Option<Timestamp>,
    /// As it was last stored: a clock that steps back moves it in RAM only.
    stored_due: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) round: u32,
    pub(super) lost: u32,
    pub(super) cancelled_from: Option<MessageState>,
    pub(super) undone: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelLease {
    pub(super) delivery: DeliveryId,
    pub(super) worker: u64,
    pub(super) seq: u64,
    pub(super) attempt: u32,
    pub(super) deadline: Timestamp,
}

impl ModelMessage {
    pub(super) fn new(id: &str, payload: &str, header_bytes: u64) -> Self {
        Self {
            id: id.to_owned(),
            payloads: vec![payload.to_owned()],
            header_bytes,
            state: MessageState::Ready,
            over: false,
            due: None,
            stored_due: None,
            attempts: 0,
            round: 0,
            lost: 0,
            cancelled_from: None,
            undone: false,
        }
    }

    pub(super) fn payload(&self) -> &str {
        self.payloads.last().expect("one at least")
    }

    fn bytes(&self) -> u64 {
        self.header_bytes + self.payload().len() as u64
    }
}

impl Model {
    /// What is left after a restart: no leases, no holds.
    pub(super) fn restarted(mut self) -> Self {
        for queue in &mut self.queues {
            queue.lease = None;
            queue.holds.clear();
            for message in &mut queue.messages {
                message.due = message.stored_due;
            }
        }
        self
    }

    /// The clock shows `now`: a small step back doesn't count, a larger one moves what waits.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        let back = self.now.since_ms(now);
        if back == 0 {
            self.now = now;
        } else if back > 1_000 {
            self.now = now;
            let shift = |at: &mut Timestamp| at.0 -= back;
            for queue in &mut self.queues {
                queue.holds.values_mut().for_each(|(_, until)| shift(until));
                queue.lease.iter_mut().for_each(|lease| shift(&mut lease.deadline));
                queue.messages.iter_mut().filter_map(|m| m.due.as_mut()).for_each(shift);
            }
        }
    }

    /// Holds that are over by now.
    pub(super) fn drop_holds(&mut self) {
        let now = self.now;
        for queue in &mut self.queues {
            queue.holds.retain(|_, (_, until)| *until > now);
        }
    }
}

impl ModelQueue {
    pub(super) fn new(settings: QueueSettings) -> Self {
        let (messages, holds) = Default::default();
        Self { settings, paused: false, messages, holds, lease: None, newest_entry: 0 }
    }

    pub(super) fn message(&mut self, seq: u64) -> &mut ModelMessage {
        &mut self.messages[seq as usize - 1]
    }

    /// The place of an id in the de-duplication window.
    pub(super) fn duplicate_of(&self, id: &str) -> Option<u64> {
        let window = self.settings.dedup.last() as usize;
        let last = self.messages.iter().enumerate().rev().take(window);
        last.filter(|(_, message)| message.id == id).map(|(at, _)| at as u64 + 1).next()
    }

    /// The first message that is neither done nor cancelled.
    pub(super) fn head(&self) -> Option<u64> {
        let at = self.messages.iter().position(|message| {
            !matches!(message.state, MessageState::Done | MessageState::Cancelled)
        });
        at.map(|at| at as u64 + 1)
    }

    pub(super) fn state(&self, seq: u64, now: Timestamp) -> MessageState {
        let message = &self.messages[seq as usize - 1];
        if self.lease.as_ref().is_some_and(|lease| lease.seq == seq) && !message.over {
            return MessageState::Leased;
        }
        let due = message.due.is_none_or(|due| due <= now) && !self.holds.contains_key(&seq);
        match message.state {
            MessageState::Waiting if due => MessageState::Ready,
            state => state,
        }
    }

    /// Whether the head may be handed out now.
    pub(super) fn deliverable(&self, now: Timestamp) -> Option<u64> {
        let head = self.head()?;
        let free = self.lease.is_none() && !self.paused && !self.holds.contains_key(&head);
        (free && self.state(head, now) == MessageState::Ready).then_some(head)
    }

    /// Hands out; panics if the order doesn't allow it.
    pub(super) fn deliver(&mut self, lease: ModelLease, now: Timestamp, payload: &str) {
        assert_eq!(self.deliverable(now), Some(lease.seq), "{lease:?} of {self:#?}");
        let once = self.settings.ack == AckMode::OnDelivery;
        for before in 1..lease.seq {
            self.message(before).over = true;
        }
        let message = self.message(lease.seq);
        assert_eq!(message.payload(), payload, "the newest revision is delivered");
        assert_eq!(lease.attempt, message.attempts + 1);
        if once {
            message.state = MessageState::Done;
            message.over = true;
        }
        self.lease = Some(lease);
    }

    /// An attempt failed: what becomes of the message.
    pub(super) fn fail(
        &mut self,
        now: Timestamp,
        end: AttemptEnd,
        action: NackAction,
        delay_ms: Option<u64>,
    ) {
        let lease = self.lease.take().expect("only what is leased fails");
        let retry = self.settings.retry;
        let message = self.message(lease.seq);
        if message.over {
            return;
        }
        message.attempts = lease.attempt;
        message.due = None;
        if end == AttemptEnd::WorkerLost {
            message.lost += 1;
            let poison = message.lost >= 5;
            message.state = if poison { MessageState::Blocked } else { MessageState::Ready };
            return;
        }
        message.lost = 0;
        message.round += 1;
        if action == NackAction::DeadLetter {
            message.state = MessageState::Done;
            message.over = true;
            self.holds.remove(&lease.seq);
            return;
        }
        if action == NackAction::Block || message.round >= retry.attempts {
            message.state = MessageState::Blocked;
            return;
        }
        let doubled = retry.initial_ms << (message.round - 1);
        let pause = delay_ms.unwrap_or(doubled.min(retry.max_ms));
        message.state = MessageState::Waiting;
        message.due = Some(now.plus_ms(pause));
    }

    /// Whether the repair is allowed in this state; if so, does it.
    pub(super) fn repair(&mut self, seq: u64, action: &RepairAction, now: Timestamp) -> bool {
        use MessageState::{Blocked, Cancelled, Ready, Waiting};
        let state = self.state(seq, now);
        let message = self.message(seq);
        let open = matches!(state, Ready | Waiting | Blocked);
        let allowed = match action {
            RepairAction::Save(_) | RepairAction::SaveAndRetry(_) | RepairAction::Cancel => open,
            RepairAction::UndoSave(_) => open && message.payloads.len() > 1 && !message.undone,
            RepairAction::Retry => matches!(state, Waiting | Blocked),
            RepairAction::Restore => state == Cancelled && !message.over,
            RepairAction::DeadLetter | RepairAction::Move(_) => open,
        };
        if !allowed {
            return false;
        }
        if let RepairAction::Save(edit)
        | RepairAction::SaveAndRetry(edit)
        | RepairAction::UndoSave(edit) = action
        {
            message.payloads.push(String::from_utf8_lossy(&edit.payload).into_owned());
            message.undone = matches!(action, RepairAction::UndoSave(_));
        }
        match action {
            RepairAction::Retry | RepairAction::SaveAndRetry(_) => {
                message.state = Ready;
                (message.due, message.round, message.lost) = (None, 0, 0);
            }
            RepairAction::Cancel => {
                message.cancelled_from = Some(message.state);
                message.state = Cancelled;
            }
            RepairAction::Restore => {
                message.state = message.cancelled_from.take().unwrap_or(Ready);
            }
            RepairAction::DeadLetter | RepairAction::Move(_) => {
                message.state = MessageState::Done;
                message.over = true;
            }
            RepairAction::Save(_) | RepairAction::UndoSave(_) => {}
        }
        self.holds.remove(&seq);
        true
    }

    /// A message left its queue.
    pub(super) fn finish(&mut self, seq: u64, how: Finish) {
        let leased = self.lease.as_ref().is_some_and(|lease| lease.seq == seq);
        let message = self.message(seq);
        match how {
            Finish::Done => {
                assert!(leased, "only what is delivered is done");
                message.state = MessageState::Done;
            }
            Finish::DeadLettered | Finish::Moved | Finish::Dropped => {
                panic!("told by the failure or the repair")
            }
            Finish::Cancelled => assert_eq!(message.state, MessageState::Cancelled),
        }
        message.over = true;
        self.holds.remove(&seq);
    }

    /// Compares a stored record with what it should be.
    pub(super) fn check_record(&mut self, seq: u64, record: &MessageRecord) {
        let message = self.message(seq);
        assert_eq!(record.state, message.state);
        assert_eq!(record.due, message.due);
        message.stored_due = record.due;
        assert_eq!((record.attempts, record.round), (message.attempts, message.round));
        assert_eq!(record.lost_in_a_row, message.lost);
        assert_eq!(record.revision.0 as usize + 1, message.payloads.len());
        assert_eq!(record.cancelled_from, message.cancelled_from);
        assert_eq!(record.undone, message.undone);
    }

    pub(super) fn depth(&self) -> u64 {
        let open =
            |m: &&ModelMessage| !matches!(m.state, MessageState::Done | MessageState::Cancelled);
        self.messages.iter().filter(open).count() as u64
    }

    /// Bytes of what is not over.
    pub(super) fn bytes(&self) -> u64 {
        self.messages.iter().filter(|message| !message.over).map(ModelMessage::bytes).sum()
    }

    pub(super) fn count(&self, state: MessageState, now: Timestamp) -> u64 {
        let places = 1..=self.messages.len() as u64;
        places.filter(|&seq| self.state(seq, now) == state).count() as u64
    }
}
