//! What is told, once it is durable: the engine's effects to sockets, operators, watchers and the store.

use super::event_loop::EventLoop;
use super::peers::{OperatorAnswer, Verb, Waiting, Workers};
use super::pipeline::Release;
use super::sending::Sent;
use super::store::Load;
use crate::engine::Effect;
use crate::model::{Accepted, CallReply, Notice, Origin, StatusReport, SubscriptionChange};
use crate::wire::{BrokerMessage, ClientReply, Delivery};

impl EventLoop {
    pub(super) fn carry_out(&mut self, release: Release) {
        match release {
            Release::Effect(effect) => self.carry_out_effect(effect),
            Release::Answer(answer) => answer(),
            Release::Spans(begun) => self.end_spans(*begun),
        }
    }

    fn carry_out_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { origin, accepted } => self.accepted(origin, accepted),
            Effect::Published { origin, published } => self.published(origin, published),
            Effect::Live { topic, content } => self.doors.publish(&topic, &content),
            Effect::Started { origin, started } => {
                self.client(origin, ClientReply::Started(started));
            }
            Effect::Subscribed { origin, change } => self.subscribed(origin, change),
            Effect::Rejected { origin, rejection } => {
                self.trace_rejected(origin, rejection.code);
                self.reject(origin, rejection);
            }
            Effect::CallEnded { origin, reply } => self.client(origin, ClientReply::Reply(*reply)),
            Effect::Gathered { origin, reply } => {
                self.client(origin, ClientReply::Gathered(reply));
            }
            Effect::GatherAccepted { origin, accepted } => {
                self.client(origin, ClientReply::GatherAccepted(accepted));
            }
            Effect::CallPart { origin, part } => {
                if let Some((peer, form)) = self.origins.client(origin) {
                    self.reply(peer, form, ClientReply::Part(part));
                }
            }
            Effect::Status { origin, report, reply } => self.status(origin, *report, reply),
            Effect::FindMessage { origin, id, queue } => {
                self.load(Load::Find { origin, id, queue })
            }
            Effect::Load { queue, from, max_messages, max_bytes } => {
                self.load(Load::Messages { queue, from, max_messages, max_bytes });
            }
            Effect::Deliver { worker, delivery, queue, seq, attempt, deadline, content } => {
                self.trace_delivery(delivery, (&queue, seq, attempt), &content);
                let delivery = Delivery {
                    delivery,
                    queue,
                    seq,
                    attempt,
                    deadline_ms: deadline.since_ms(self.now),
                    content,
                };
                self.tell_worker(Workers::peer(worker), BrokerMessage::Deliver(delivery));
            }
            Effect::Stale { worker, delivery } => {
                self.trace_stale(delivery);
                self.tell_worker(Workers::peer(worker), BrokerMessage::Stale { delivery });
            }
            Effect::WorkerRejected { worker, rejection } => {
                self.tell_worker(Workers::peer(worker), BrokerMessage::Rejected(rejection));
            }
            Effect::Pause { worker, reason } => {
                self.tell_worker(Workers::peer(worker), BrokerMessage::Pause { reason });
            }
            Effect::Resume { worker, reason } => {
                let reason = reason.to_owned();
                self.tell_worker(Workers::peer(worker), BrokerMessage::Resume { reason });
            }
            Effect::DropWorker { worker, reason } => {
                let peer = Workers::peer(worker);
                self.workers.dropped(peer, self.now);
                self.tell_worker(peer, BrokerMessage::Bye { reason: reason.to_owned() });
            }
            Effect::Purged { origin, purged } => {
                self.operator(origin, OperatorAnswer::Purged(purged));
            }
            Effect::Done { origin } => self.operator(origin, OperatorAnswer::Done),
            Effect::Repaired { origin, outcome } => {
                self.operator(origin, OperatorAnswer::Repaired(*outcome));
            }
            Effect::Held { origin, answer } => self.operator(origin, OperatorAnswer::Held(answer)),
            Effect::Refused { origin, refusal } => {
                self.operator(origin, OperatorAnswer::Refused(refusal));
            }
            Effect::SchemaSet { queue, schema } => self.checks.schemas().set(&queue, &schema),
            Effect::Notice(notice) => self.notice(*notice),
        }
    }

    fn accepted(&mut self, origin: Origin, accepted: Vec<Accepted>) {
        let (peer, form, verb) = match self.origins.take(origin) {
            Some(Waiting::Client { peer, form, verb, .. }) => (peer, form, verb),
            Some(Waiting::Nobody(unanswered)) => return self.kept(*unanswered),
            Some(Waiting::Sender(answer)) => {
                if let Some(one) = accepted.into_iter().next() {
                    // Whoever asked may have gone away.
                    let _gone = answer.send(Sent::Accepted(one));
                }
                return;
            }
            Some(Waiting::Operator(_)) | None => return,
        };
        let reply = match verb {
            Verb::SendMany => ClientReply::AcceptedMany(accepted),
            Verb::Send
            | Verb::Call
            | Verb::Publish
            | Verb::Start
            | Verb::Gather
            | Verb::Subscribe
            | Verb::Unsubscribe
            | Verb::Status
            | Verb::StatusReply => match <[Accepted; 1]>::try_from(accepted) {
                Ok([one]) => ClientReply::Accepted(one),
                Err(accepted) => ClientReply::AcceptedMany(accepted),
            },
        };
        self.reply(peer, form, reply);
    }

    fn status(&mut self, origin: Origin, report: StatusReport, reply: Option<Box<CallReply>>) {
        let Some(Waiting::Client { peer, form, verb, .. }) = self.origins.take(origin) else {
            return;
        };
        let reply = match reply.filter(|_| verb == Verb::StatusReply) {
            Some(reply) => ClientReply::StatusReply { report, reply: *reply },
            None => ClientReply::Status(report),
        };
        self.reply(peer, form, reply);
    }

    fn subscribed(&mut self, origin: Origin, change: SubscriptionChange) {
        match self.origins.take(origin) {
            Some(Waiting::Client { peer, form, verb: Verb::Unsubscribe, .. }) => {
                self.reply(peer, form, ClientReply::Unsubscribed(change));
            }
            Some(Waiting::Client { peer, form, .. }) => {
                self.reply(peer, form, ClientReply::Subscribed(change));
            }
            // An operator who went away meanwhile looks at the topic.
            Some(Waiting::Operator(waiting)) => {
                drop(waiting.send(OperatorAnswer::Subscribed(change)));
            }
            Some(Waiting::Sender(_) | Waiting::Nobody(_)) | None => {}
        }
    }

    fn client(&mut self, origin: Origin, reply: ClientReply) {
        if let Some(Waiting::Client { peer, form, .. }) = self.origins.take(origin) {
            self.reply(peer, form, reply);
        }
    }

    fn operator(&mut self, origin: Origin, answer: OperatorAnswer) {
        if let Some(Waiting::Operator(waiting)) = self.origins.take(origin) {
            // An operator who went away meanwhile finds the outcome by its key.
            let _ = waiting.send(answer);
        }
    }

    /// Tells those who watch, and the log.
    pub(super) fn notice(&mut self, notice: Notice) {
        log(&notice);
        let event = self.watchers.notice(self.now, notice);
        self.doors.tell(&event);
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Journal { entry } => tracing::info!(
            kind = entry.kind.as_str(),
            queue = %entry.queue,
            seq = entry.seq.map(|seq| seq.0),
            id = entry.id.as_ref().map(|id| id.as_str()),
            by = entry.actor.name,
            via = entry.actor.via,
            reason = entry.reason,
            "journal"
        ),
        Notice::AttemptFailed { queue, seq, id, attempt, error, retry_in_ms } => tracing::info!(
            %queue, seq = seq.0, %id, attempt, code = error.code, error = error.message, retry_in_ms,
            "an attempt failed"
        ),
        Notice::Recovered { queue, seq, id } => {
            tracing::info!(%queue, seq = seq.0, %id, "a repaired message is done");
        }
        Notice::Unblocked { queue } => tracing::info!(%queue, "nothing is blocked any more"),
        // A queue that overflows may tell thousands in a second.
        Notice::DeadLettered { queue, seq, topic, id, reason, to, .. } => {
            let topic = topic.as_ref().map(tracing::field::display);
            let seq = seq.map(|seq| seq.0);
            tracing::debug!(%queue, seq, topic, %id, reason, %to, "a message is a dead letter");
        }
        Notice::TakenOver { queue, name } => {
            tracing::info!(%queue, worker = name, "a worker took over an exclusive queue");
        }
        Notice::WorkerReady { name, queues } => {
            tracing::info!(worker = name, queues = queues.len(), "a worker is ready");
        }
        Notice::WorkerGone { name, reason, lost } => {
            tracing::info!(worker = name, reason, lost, "a worker is gone");
        }
        Notice::WorkerSilent { name, silent_ms, lost } => {
            tracing::warn!(
                worker = name,
                silent_ms,
                lost,
                "a worker isn't heard, and gets nothing more"
            );
        }
        Notice::WorkerExited { name, how, again_in_ms } => {
            tracing::warn!(worker = name, how, again_in_ms, "a supervised worker's process ended");
        }
        Notice::RestartLimit { name, restarts, within_ms, how } => tracing::error!(
            worker = name,
            restarts,
            within_ms,
            how,
            "a supervised worker ended too often; its queues are paused"
        ),
        Notice::WorkerAlert { name, alert, message } => {
            tracing::warn!(worker = name, alert, message, "a worker raises an alert");
        }
        Notice::FilterFailed { topic, id, failed, queue, error, on_error } => tracing::warn!(
            %topic, %id, failed, %queue, error, on_error = on_error.as_str(),
            "filters of subscriptions fail on an event; this is the first of them"
        ),
        Notice::SagaStarted { id, saga } => tracing::debug!(%saga, %id, "a saga has begun"),
        Notice::SagaCompensating { id, saga, error } => {
            tracing::warn!(%saga, %id, code = error.code, error = error.message, "a saga compensates");
        }
        Notice::SagaParked { id, saga, step, error } => tracing::error!(
            %saga, %id, step, code = error.code, error = error.message,
            "a saga is parked: a compensation has failed"
        ),
        Notice::SagaEnded { id, saga, state } => {
            tracing::debug!(%saga, %id, state = state.as_str(), "a saga has ended");
        }
        Notice::GatherStarted { id, gather: _, recipients } => {
            tracing::debug!(%id, recipients, "a gather has begun");
        }
        Notice::GatherEnded { id, gather: _, status, replied, missing } => {
            tracing::debug!(%id, status = status.as_str(), replied, missing, "a gather has ended");
        }
        // Whoever raised it has logged it.
        Notice::Alert { .. } => {}
        Notice::Stale { name } => tracing::debug!(worker = name, "a late answer"),
        Notice::Refused { door, queue, id, code, reason, to, count } => tracing::warn!(
            door, queue = queue.as_ref().map(|queue| queue.as_str()), %id, ?code, reason,
            to = to.as_ref().map(|to| to.as_str()), count,
            "refused at a door that answers nobody"
        ),
        Notice::StoreDown { reason } => {
            tracing::error!(reason, "the store can't be written; publishing is refused");
        }
        Notice::StoreFull { reason } => {
            tracing::error!(reason, "the disk is full; publishing is refused, all else goes on");
        }
        Notice::StoreHasRoom => tracing::info!("the disk has room again; publishing goes on"),
        // Those who missed something are told by themselves.
        Notice::Missed { .. } => {}
        Notice::StoreUp => tracing::info!("the store is open again"),
    }
}
