//! Requests under way, and which of them an answer is for.
//!
//! Answers don't come in the order of the requests: a CALL's comes when its worker is done. They carry
//! the message's id; two requests of one kind and id are answered in their order.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::{ClientError, Room};
use crate::model::MessageId;
use crate::wire::{ClientReply, ClientRequest};

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) to_caller: oneshot::Sender<Result<ClientReply, ClientError>>,
    pub(super) room: Room,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Hello,
    Send(MessageId),
    /// By its first message.
    SendMany(MessageId),
    Call(MessageId),
    Status(MessageId),
    Ping,
}

/// All requests under way; their number is the window's.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiters: HashMap<Key, VecDeque<Waiter>>,
    /// The first message's id of each SENDMANY under way, by each further one's.
    first_of: HashMap<MessageId, MessageId>,
    count: usize,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, request: &ClientRequest, waiter: Waiter) {
        let key = match request {
            ClientRequest::Hello { .. } => Key::Hello,
            ClientRequest::Send(send) => Key::Send(send.content.id().clone()),
            ClientRequest::SendMany(sends) => {
                let first = sends.first().expect("an empty SENDMANY is never sent").content.id();
                for send in sends.iter().skip(1) {
                    self.first_of.insert(send.content.id().clone(), first.clone());
                }
                Key::SendMany(first.clone())
            }
            ClientRequest::Call { send, .. } => Key::Call(send.content.id().clone()),
            ClientRequest::Status { id, .. } => Key::Status(id.clone()),
            ClientRequest::Ping => Key::Ping,
        };
        self.waiters.entry(key).or_default().push_back(waiter);
        self.count += 1;
    }

    /// Takes out who waits for this answer; `None` if nobody does.
    pub(super) fn take(&mut self, reply: &ClientReply) -> Option<Waiter> {
        match reply {
            ClientReply::Welcome(_) => self.pop(&Key::Hello),
            ClientReply::Accepted(accepted) => self.pop(&Key::Send(accepted.id.clone())),
            ClientReply::AcceptedMany(accepted) => {
                let first = accepted.first()?.id.clone();
                for further in accepted.iter().skip(1) {
                    self.first_of.remove(&further.id);
                }
                self.pop(&Key::SendMany(first))
            }
            ClientReply::Reply(reply) => self.pop(&Key::Call(reply.id.clone())),
            ClientReply::Status(report) => self.pop(&Key::Status(report.id.clone())),
            ClientReply::Pong => self.pop(&Key::Ping),
            ClientReply::Rejected(rejection) => match &rejection.id {
                Some(id) => self.rejected(id),
                None => self.only(),
            },
        }
    }

    /// A refusal names a message, not a kind of request.
    fn rejected(&mut self, id: &MessageId) -> Option<Waiter> {
        let kinds = [Key::Send, Key::Call, Key::SendMany, Key::Status];
        if let Some(waiter) = kinds.into_iter().find_map(|kind| self.pop(&kind(id.clone()))) {
            return Some(waiter);
        }
        let first = self.first_of.remove(id)?;
        self.first_of.retain(|_, other| *other != first);
        self.pop(&Key::SendMany(first))
    }

    /// A refusal without an id can only be for the only request there is.
    fn only(&mut self) -> Option<Waiter> {
        if self.count != 1 {
            return None;
        }
        let key = self.waiters.keys().next()?.clone();
        self.first_of.clear();
        self.pop(&key)
    }

    fn pop(&mut self, key: &Key) -> Option<Waiter> {
        let waiters = self.waiters.get_mut(key)?;
        let waiter = waiters.pop_front();
        if waiters.is_empty() {
            self.waiters.remove(key);
        }
        self.count -= usize::from(waiter.is_some());
        waiter
    }

    /// Ends them all.
    pub(super) fn fail(&mut self, error: impl Fn() -> ClientError) {
        for Waiter { to_caller, room } in self.waiters.drain().flat_map(|(_, waiters)| waiters) {
            // Who no longer waits doesn't need to know.
            let _gone = to_caller.send(Err(error()));
            drop(room);
        }
        self.first_of.clear();
        self.count = 0;
    }
}
