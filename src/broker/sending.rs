//! Messages that come through the handle rather than by a door: the same events, answered after the same commit.

use tokio::sync::oneshot;

use super::commands::Command;
use super::event_loop::EventLoop;
use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use super::peers::Waiting;
use crate::engine::Event;
use crate::model::{
    Accepted, Content, Origin, Published, QueueName, RejectCode, Rejection, TopicName,
};

/// When too many wait for answers, in milliseconds.
const BUSY_RETRY_MS: u64 = 250;

/// What is to be sent.
#[derive(Debug)]
pub(super) enum Sending {
    /// To a queue.
    Send {
        queue: QueueName,
        content: Content,
        /// Why the queue's schema refuses it, if it does: only what was accepted before is taken then.
        unfit: Option<Rejection>,
    },
    /// To a topic.
    Publish { topic: TopicName, content: Content, mandatory: bool },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Sent {
    Accepted(Accepted),
    Published(Published),
    Rejected(Rejection),
}

impl BrokerHandle {
    /// Sends a message to a queue, as SEND does. Its id makes it safe to repeat: inside the de-duplication window it is there
    /// once.
    pub async fn send_message(
        &self,
        queue: QueueName,
        content: Content,
    ) -> Result<Accepted, OperatorError> {
        let unfit = self.checks.admit(&queue, &content).await.err();
        match self.sent(Sending::Send { queue, content, unfit }).await? {
            Sent::Accepted(accepted) => Ok(accepted),
            Sent::Rejected(rejection) => Err(OperatorError::Rejected(rejection)),
            Sent::Published(_) => Err(OperatorError::StoreBroke),
        }
    }

    /// Publishes an event, as PUBLISH does; `mandatory`: refused if no subscription takes it.
    pub async fn publish(
        &self,
        topic: TopicName,
        content: Content,
        mandatory: bool,
    ) -> Result<Published, OperatorError> {
        match self.sent(Sending::Publish { topic, content, mandatory }).await? {
            Sent::Published(published) => Ok(published),
            Sent::Rejected(rejection) => Err(OperatorError::Rejected(rejection)),
            Sent::Accepted(_) => Err(OperatorError::StoreBroke),
        }
    }

    async fn sent(&self, sending: Sending) -> Result<Sent, OperatorError> {
        let (answer, sent) = oneshot::channel();
        self.send(Command::Send(Box::new(sending), answer)).await?;
        sent.await.map_err(|_| self.unanswered())
    }
}

impl EventLoop {
    pub(super) fn on_sending(&mut self, sending: Sending, answer: oneshot::Sender<Sent>) {
        // Whoever asked may have gone away, here and below.
        if let Some(rejection) = self.down_rejection() {
            let _gone = answer.send(Sent::Rejected(rejection));
            return;
        }
        if let Sending::Send { queue, content, unfit: Some(rejection) } = &sending
            && !self.knows(queue, content)
        {
            let _gone = answer.send(Sent::Rejected(rejection.clone()));
            return;
        }
        match self.origins.add(Waiting::Sender(answer)) {
            Ok(origin) => self.feed(match sending {
                Sending::Send { queue, content, unfit: _ } => {
                    Event::Send { origin, messages: vec![(queue, content)], call: None }
                }
                Sending::Publish { topic, content, mandatory } => {
                    Event::Publish { origin, topic, content, mandatory }
                }
            }),
            Err(Waiting::Sender(answer)) => {
                let reason = "too many answers are outstanding; wait for some of them";
                let rejection = Rejection::new(RejectCode::Busy, reason).retry_after(BUSY_RETRY_MS);
                let _gone = answer.send(Sent::Rejected(rejection));
            }
            Err(Waiting::Client { .. } | Waiting::Operator(_) | Waiting::Nobody(_)) => {}
        }
    }

    pub(super) fn published(&mut self, origin: Origin, published: Published) {
        match self.origins.take(origin) {
            Some(Waiting::Client { peer, form, .. }) => {
                self.reply(peer, form, crate::wire::ClientReply::Published(published));
            }
            Some(Waiting::Sender(answer)) => drop(answer.send(Sent::Published(published))),
            Some(Waiting::Operator(_) | Waiting::Nobody(_)) | None => {}
        }
    }
}
