//! Requests under way, and which of them an answer is for.
//!
//! Answers don't come in the order of the requests: a CALL's comes when its worker is done. They carry
//! the message's id; two requests of one kind and id are answered in their order.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
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

/// A request under way.
#[derive(Debug)]
struct Request {
    key: Key,
    /// For a further connection, if it isn't answered on this one.
    frames: Vec<Bytes>,
    waiter: Waiter,
    /// Whether a part of its reply was passed on.
    has_begun: bool,
}

/// All requests under way; their number is the window's.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// In the order in which they were asked.
    requests: BTreeMap<u64, Request>,
    asked: u64,
    of_key: HashMap<Key, VecDeque<u64>>,
    /// The first message's id of each SENDMANY under way, by each further one's.
    first_of: HashMap<MessageId, MessageId>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn add(&mut self, request: &ClientRequest, frames: Vec<Bytes>, waiter: Waiter) {
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
        self.asked += 1;
        self.of_key.entry(key.clone()).or_default().push_back(self.asked);
        self.requests.insert(self.asked, Request { key, frames, waiter, has_begun: false });
    }

    /// What is to be said again on a new connection, in the order of the first time.
    pub(super) fn frames(&self) -> impl Iterator<Item = &Vec<Bytes>> {
        self.requests.values().map(|request| &request.frames)
    }

    /// Forgets those for whose answer nobody waits any more: they are not sent again.
    pub(super) fn forget_unheard(&mut self) {
        drop(self.take_all(|request| request.waiter.to_caller.is_closed()));
    }

    /// Ends calls of whose reply some parts were passed on: asked again, it would begin anew, and nobody could tell.
    pub(super) fn fail_begun(&mut self, error: impl Fn() -> ClientError) {
        for waiter in self.take_all(|request| request.has_begun) {
            // Who no longer waits doesn't need to know.
            let _gone = waiter.to_caller.send(Err(error()));
        }
    }

    fn take_all(&mut self, is_wanted: impl Fn(&Request) -> bool) -> Vec<Waiter> {
        let wanted = self.requests.iter().filter(|(_, request)| is_wanted(request));
        let numbers: Vec<u64> = wanted.map(|(&number, _)| number).collect();
        let mut waiters = Vec::new();
        for number in numbers {
            let Some(Request { key, waiter, .. }) = self.requests.remove(&number) else { continue };
            waiters.push(waiter);
            let Some(same) = self.of_key.get_mut(&key) else { continue };
            same.retain(|&other| other != number);
            if same.is_empty() {
                self.of_key.remove(&key);
                if let Key::SendMany(gone) = &key {
                    self.first_of.retain(|_, first| first != gone);
                }
            }
        }
        waiters
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

    /// Where a part of a call's reply goes, which has begun with it.
    pub(super) fn begin_parts(&mut self, id: &MessageId) -> Option<mpsc::Sender<CallPart>> {
        for number in self.of_key.get(&Key::Call(id.clone()))? {
            if let Some(request) = self.requests.get_mut(number)
                && let Some(parts) = &request.waiter.parts
            {
                request.has_begun = true;
                return Some(parts.clone());
            }
        }
        None
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
        let is_only = self.requests.len() == 1;
        let mut without_id = self.of_key.iter().filter(|(key, _)| !key.has_id());
        let key = match (without_id.next(), without_id.next()) {
            (Some((key, same)), None) if same.len() == 1 => key.clone(),
            _ if is_only => self.of_key.keys().next()?.clone(),
            _ => return None,
        };
        if is_only {
            self.first_of.clear();
        }
        self.pop(&key)
    }

    fn pop(&mut self, key: &Key) -> Option<Waiter> {
        let same = self.of_key.get_mut(key)?;
        let oldest = same.pop_front()?;
        if same.is_empty() {
            self.of_key.remove(key);
        }
        self.requests.remove(&oldest).map(|request| request.waiter)
    }

    /// Ends them all.
    pub(super) fn fail(&mut self, error: impl Fn() -> ClientError) {
        for Request { waiter: Waiter { to_caller, parts: _, room }, .. } in
            std::mem::take(&mut self.requests).into_values()
        {
            // Who no longer waits doesn't need to know.
            let _gone = to_caller.send(Err(error()));
            drop(room);
        }
        self.of_key.clear();
        self.first_of.clear();
    }
}
