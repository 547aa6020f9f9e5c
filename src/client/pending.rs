//! Requests under way, and which of them an answer is for.
//!
//! Answers don't come in the order of the requests: a CALL's comes when its worker is done. They carry
//! the message's id; two requests of one kind and id are answered in their order.

use std::collections::{HashMap, VecDeque};

use tokio::sync::{mpsc, oneshot};

use super::{ClientError, Room};
use crate::model::{CallPart, MessageId, QueueName, TopicName};
use crate::wire::{ClientReply, ClientRequest};

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) to_caller: oneshot::Sender<Result<ClientReply, ClientError>>,
    /// Where parts of the reply go, if they are wanted.
    pub(super) parts: Option<mpsc::Sender<CallPart>>,
    pub(super) room: Room,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Hello,
    Send(MessageId),
    /// By its first message.
    SendMany(MessageId),
    Call(MessageId),
    Publish(MessageId),
    Start(MessageId),
    Gather(MessageId),
    Subscribe(TopicName, QueueName),
    Unsubscribe(TopicName, QueueName),
    Status(MessageId),
    Ping,
}

impl Key {
    /// Whether answers to it, refusals too, name a message.
    fn has_id(&self) -> bool {
        match self {
            Self::Send(_)
            | Self::SendMany(_)
            | Self::Call(_)
            | Self::Publish(_)
            | Self::Start(_)
            | Self::Gather(_)
            | Self::Status(_) => true,
            Self::Hello | Self::Subscribe(..) | Self::Unsubscribe(..) | Self::Ping => false,
        }
    }
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
            ClientRequest::Gather(request) => Key::Gather(request.content.id().clone()),
            ClientRequest::Publish { content, .. } => Key::Publish(content.id().clone()),
            ClientRequest::Start { input, .. } => Key::Start(input.id().clone()),
            ClientRequest::Subscribe { topic, subscription } => {
                Key::Subscribe(topic.clone(), subscription.queue.clone())
            }
            ClientRequest::Unsubscribe { topic, queue } => {
                Key::Unsubscribe(topic.clone(), queue.clone())
            }
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
            ClientReply::Gathered(reply) => self.pop(&Key::Gather(reply.id.clone())),
            ClientReply::GatherAccepted(accepted) => self.pop(&Key::Gather(accepted.id.clone())),
            ClientReply::Published(published) => self.pop(&Key::Publish(published.id.clone())),
            ClientReply::Started(started) => self.pop(&Key::Start(started.id.clone())),
            ClientReply::Subscribed(change) => {
                self.pop(&Key::Subscribe(change.topic.clone(), change.queue.clone()))
            }
            ClientReply::Unsubscribed(change) => {
                self.pop(&Key::Unsubscribe(change.topic.clone(), change.queue.clone()))
            }
            ClientReply::Reply(reply) => self.pop(&Key::Call(reply.id.clone())),
            // Not an answer: the call goes on.
            ClientReply::Part(_) => None,
            ClientReply::Status(report) | ClientReply::StatusReply { report, .. } => {
                self.pop(&Key::Status(report.id.clone()))
            }
            ClientReply::Pong => self.pop(&Key::Ping),
            ClientReply::Rejected(rejection) => match &rejection.id {
                Some(id) => self.rejected(id),
                None => self.only(),
            },
        }
    }

    /// Where parts of a call's reply go.
    pub(super) fn parts(&self, id: &MessageId) -> Option<mpsc::Sender<CallPart>> {
        let waiters = self.waiters.get(&Key::Call(id.clone()))?;
        waiters.iter().find_map(|waiter| waiter.parts.clone())
    }

    /// A refusal names a message, not a kind of request.
    fn rejected(&mut self, id: &MessageId) -> Option<Waiter> {
        let kinds = [
            Key::Send,
            Key::Call,
            Key::Publish,
            Key::Gather,
            Key::Start,
            Key::SendMany,
            Key::Status,
        ];
        if let Some(waiter) = kinds.into_iter().find_map(|kind| self.pop(&kind(id.clone()))) {
            return Some(waiter);
        }
        let first = self.first_of.remove(id)?;
        self.first_of.retain(|_, other| *other != first);
        self.pop(&Key::SendMany(first))
    }

    /// A refusal without an id can only be for the only request there is, or the only one without an id.
    fn only(&mut self) -> Option<Waiter> {
        let mut without_id = self.waiters.iter().filter(|(key, _)| !key.has_id());
        let key = match (without_id.next(), without_id.next()) {
            (Some((key, waiters)), None) if waiters.len() == 1 => key.clone(),
            _ if self.count == 1 => self.waiters.keys().next()?.clone(),
            _ => return None,
        };
        if self.count == 1 {
            self.first_of.clear();
        }
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
        for Waiter { to_caller, parts: _, room } in
            self.waiters.drain().flat_map(|(_, waiters)| waiters)
        {
            // Who no longer waits doesn't need to know.
            let _gone = to_caller.send(Err(error()));
            drop(room);
        }
        self.first_of.clear();
        self.count = 0;
    }
}
