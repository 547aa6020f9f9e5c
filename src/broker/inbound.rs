//! What comes from the sockets, as events for the engine.

use super::closing::Closing;
use super::event_loop::EventLoop;
use super::failure::Health;
use super::peers::{DrainOrder, Verb, Waiting, Workers};
use crate::engine::{CallSpec, Event};
use crate::model::{Actor, Content, MessageId, Origin, QueueName, RejectCode, Rejection, WorkerId};
use crate::net::{Inbound, Outbound, PeerId, ReplyForm};
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, WorkerMessage};

/// When a client whose answers pile up should try again, in milliseconds.
const BUSY_RETRY_MS: u64 = 250;
/// What a worker that must say READY again is told.
const SAY_READY: &str = "not known here: say READY again";

impl EventLoop {
    pub(super) fn on_inbound(&mut self, input: Inbound) {
        match input {
            Inbound::Client { peer, reply_form, request } => {
                self.on_client(peer, reply_form, request);
            }
            Inbound::Unfit { peer, reply_form, request, rejection } => {
                if self.is_known(&request) {
                    self.on_client(peer, reply_form, request);
                } else {
                    self.reply(peer, reply_form, ClientReply::Rejected(rejection));
                }
            }
            Inbound::Service { peer, form, queue } => {
                let is_served = self.engine.is_served(&queue);
                (self.sockets)(Outbound::Served { peer, form, is_served });
            }
            Inbound::Close { peer, form, id } => self.begin_closing(Closing { peer, form, id }),
            Inbound::Worker { peer, message } => match self.store_state.health() {
                Health::Up => self.on_worker(peer, message),
                Health::Down => self.on_worker_while_down(peer, message),
            },
            Inbound::Pushed { door, pushed } => self.on_pushed(door, pushed),
            Inbound::ClientGone { peer } => {
                for origin in self.origins.forget_peer(peer) {
                    self.feed(Event::OriginGone { origin });
                }
            }
            Inbound::WorkerGone { peer } => {
                if self.workers.gone(peer)
                    && let Health::Up = self.store_state.health()
                {
                    let worker = Workers::id(peer);
                    self.feed(Event::WorkerGone { worker, reason: "disconnected" });
                }
            }
        }
    }

    fn on_client(&mut self, peer: PeerId, form: ReplyForm, request: ClientRequest) {
        match request {
            // The door has answered it.
            ClientRequest::Hello { .. } => {}
            ClientRequest::Ping => self.reply(peer, form, ClientReply::Pong),
            ClientRequest::Send(send) => {
                self.send(peer, form, Verb::Send, vec![(send.queue, send.content)], None);
            }
            ClientRequest::SendMany(sends) => {
                let messages = sends.into_iter().map(|send| (send.queue, send.content)).collect();
                self.send(peer, form, Verb::SendMany, messages, None);
            }
            ClientRequest::Call { send, timeout_ms, parts } => {
                let messages = vec![(send.queue, send.content)];
                self.send(peer, form, Verb::Call, messages, Some(CallSpec { timeout_ms, parts }));
            }
            ClientRequest::Publish { topic, content, mandatory } => {
                if let Some(origin) = self.origin(peer, form, Verb::Publish, Some(content.id())) {
                    self.feed(Event::Publish { origin, topic, content, mandatory });
                }
            }
            ClientRequest::Start { saga, input } => {
                if let Some(origin) = self.origin(peer, form, Verb::Start, Some(input.id())) {
                    self.feed(Event::Start { origin, saga, input });
                }
            }
            ClientRequest::Gather(request) => {
                let id = request.content.id();
                if let Some(origin) = self.origin(peer, form, Verb::Gather, Some(id)) {
                    self.feed(Event::Gather { origin, request });
                }
            }
            ClientRequest::Subscribe { topic, subscription } => {
                if let Some(origin) = self.origin(peer, form, Verb::Subscribe, None) {
                    let actor = client();
                    self.feed(Event::Subscribe { origin, actor, topic, subscription });
                }
            }
            ClientRequest::Unsubscribe { topic, queue } => {
                if let Some(origin) = self.origin(peer, form, Verb::Unsubscribe, None) {
                    let actor = client();
                    self.feed(Event::Unsubscribe { origin, actor, topic, queue });
                }
            }
            ClientRequest::Status { id, queue, reply } => {
                let verb = if reply { Verb::StatusReply } else { Verb::Status };
                if let Some(origin) = self.origin(peer, form, verb, Some(&id)) {
                    self.feed(Event::Status { origin, id, queue });
                }
            }
        }
    }

    /// Whether all of it was accepted before: answered as a duplicate, it brings nothing new.
    fn is_known(&self, request: &ClientRequest) -> bool {
        match request {
            ClientRequest::Send(send) | ClientRequest::Call { send, .. } => {
                self.knows(&send.queue, &send.content)
            }
            ClientRequest::SendMany(sends) => {
                sends.iter().all(|send| self.knows(&send.queue, &send.content))
            }
            ClientRequest::Gather(request) => self.engine.knows_gather(request),
            ClientRequest::Hello { .. }
            | ClientRequest::Ping
            | ClientRequest::Publish { .. }
            | ClientRequest::Start { .. }
            | ClientRequest::Subscribe { .. }
            | ClientRequest::Unsubscribe { .. }
            | ClientRequest::Status { .. } => false,
        }
    }

    /// Whether a queue has accepted this message before, at the time of the next event.
    pub(super) fn knows(&self, queue: &QueueName, content: &Content) -> bool {
        self.engine.knows(queue, content.id(), self.deaf_since.unwrap_or(self.now))
    }

    fn send(
        &mut self,
        peer: PeerId,
        form: ReplyForm,
        verb: Verb,
        messages: Vec<(QueueName, Content)>,
        call: Option<CallSpec>,
    ) {
        let id = messages.first().map(|(_, content)| content.id());
        if let Some(origin) = self.origin(peer, form, verb, id) {
            self.feed(Event::Send { origin, messages, call });
        }
    }

    /// Who will be answered; refused here if the store is broken or too much is outstanding.
    fn origin(
        &mut self,
        peer: PeerId,
        form: ReplyForm,
        verb: Verb,
        id: Option<&MessageId>,
    ) -> Option<Origin> {
        if let Some(rejection) = self.down_rejection() {
            self.refuse(peer, form, rejection, id.cloned());
            return None;
        }
        let waiting = Waiting::Client { peer, form: form.clone(), verb, id: id.cloned() };
        match self.origins.add(waiting) {
            Ok(origin) => Some(origin),
            Err(_) => {
                let reason = "too many answers are outstanding; wait for some of them";
                let rejection = Rejection::new(RejectCode::Busy, reason).retry_after(BUSY_RETRY_MS);
                self.refuse(peer, form, rejection, id.cloned());
                None
            }
        }
    }

    fn on_worker(&mut self, peer: PeerId, message: WorkerMessage) {
        let worker = Workers::id(peer);
        if let WorkerMessage::Ready { queues, credit, info } = message {
            self.workers.ready(peer);
            self.feed(Event::WorkerReady { worker, queues, credit, info });
            return;
        }
        if !self.workers.is_known(peer) {
            self.say_ready(peer, &message);
            return;
        }
        let event = match message {
            WorkerMessage::Ready { queues, credit, info } => {
                Event::WorkerReady { worker, queues, credit, info }
            }
            WorkerMessage::Ack { delivery, reply } => Event::Ack { worker, delivery, reply },
            WorkerMessage::Nack { delivery, error, action, delay_ms } => {
                Event::Nack { worker, delivery, error, action, delay_ms }
            }
            WorkerMessage::Partial { delivery, payload } => {
                Event::Partial { worker, delivery, payload }
            }
            WorkerMessage::Progress { delivery, extend_ms, note } => {
                Event::Progress { worker, delivery, extend_ms, note }
            }
            WorkerMessage::Alert { kind, message, delivery: _ } => {
                Event::Alert { worker, kind, message }
            }
            WorkerMessage::Heartbeat | WorkerMessage::Hello { .. } => Event::WorkerHeard { worker },
            WorkerMessage::Bye => Event::WorkerBye { worker },
        };
        self.feed(event);
    }

    /// A connection that isn't known, because the broker or the store started anew or because it was
    /// silent for too long, must say READY; what it had is over.
    fn say_ready(&mut self, peer: PeerId, message: &WorkerMessage) {
        match message {
            WorkerMessage::Bye | WorkerMessage::Hello { .. } => {}
            WorkerMessage::Ack { delivery, .. } | WorkerMessage::Nack { delivery, .. } => {
                self.tell_worker(peer, BrokerMessage::Stale { delivery: *delivery });
                self.bye_unknown(peer);
            }
            WorkerMessage::Ready { .. }
            | WorkerMessage::Progress { .. }
            | WorkerMessage::Partial { .. }
            | WorkerMessage::Alert { .. }
            | WorkerMessage::Heartbeat => self.bye_unknown(peer),
        }
    }

    fn bye_unknown(&mut self, peer: PeerId) {
        if self.workers.must_tell(peer, self.now) {
            self.workers.dropped(peer, self.now);
            self.tell_worker(peer, BrokerMessage::Bye { reason: SAY_READY.to_owned() });
        }
    }

    /// Without a store nothing can be written down: what a worker did is over, and it is kept alive by
    /// heartbeats until it is told to say READY again.
    fn on_worker_while_down(&mut self, peer: PeerId, message: WorkerMessage) {
        match message {
            WorkerMessage::Ready { .. } => self.workers.ready(peer),
            WorkerMessage::Ack { delivery, .. } | WorkerMessage::Nack { delivery, .. } => {
                self.tell_worker(peer, BrokerMessage::Stale { delivery });
            }
            WorkerMessage::Bye => drop(self.workers.gone(peer)),
            WorkerMessage::Hello { .. }
            | WorkerMessage::Progress { .. }
            | WorkerMessage::Partial { .. }
            | WorkerMessage::Alert { .. }
            | WorkerMessage::Heartbeat => {}
        }
    }

    /// Refuses a request. The answer names a message even where the refusal is not about it, as of a store that is
    /// down: a client with several requests under way learns by nothing else which of them it is for.
    pub(super) fn refuse(
        &mut self,
        peer: PeerId,
        form: ReplyForm,
        mut rejection: Rejection,
        id: Option<MessageId>,
    ) {
        rejection.id = rejection.id.or(id);
        self.reply(peer, form, ClientReply::Rejected(rejection));
    }

    pub(super) fn reply(&mut self, peer: PeerId, reply_form: ReplyForm, reply: ClientReply) {
        (self.sockets)(Outbound::Client { peer, reply_form, reply });
    }

    /// Tells workers of a name to end what they hold, say BYE, and end or begin anew; how many there are.
    pub(super) fn drain_workers(&mut self, name: &str, order: &DrainOrder) -> usize {
        let views = self.engine.worker_views();
        let ids: Vec<u64> = views.iter().filter(|it| it.name == name).map(|it| it.id).collect();
        for &id in &ids {
            let reason = order.reason.clone();
            let message = match order.anew {
                true => BrokerMessage::Restart { reason },
                false => BrokerMessage::Drain { reason },
            };
            self.tell_worker(Workers::peer(WorkerId(id)), message);
        }
        ids.len()
    }

    pub(super) fn tell_worker(&mut self, peer: PeerId, message: BrokerMessage) {
        (self.sockets)(Outbound::Worker { peer, message });
    }
}

/// Who subscribes by the clients' door: there are no names yet.
fn client() -> Actor {
    Actor { name: "client".to_owned(), via: "mub1".to_owned() }
}
