//! Who waits for more than an acceptance (callers, gathers, sagas, STATUS), and whether what they are told is so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::oracle::{Cause, Oracle};
use super::script::Wish;
use super::setup::{FILTERED, GATHER_MS, GATHERS, REPLIES, SUBSCRIBED, filtered, topic, trip};
use super::sim::Sim;
use crate::engine::tests::rig::{content_with, operator, queue};
use crate::engine::{Effect, Effects, Event};
use crate::model::{
    CallReply, CallStatus, Finish, GatherName, GatherReply, GatherRequest, GatherStatus, MessageId,
    MessageState, Op, Origin, ProcessKind, QueueId, QueueName, RejectCode, Rejection, SagaAct,
    SagaOrder, SagaState, Seq, Timestamp, limits,
};

/// Who waits, and what is known of what was asked.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Callers, by their origin.
    pub(super) calls: BTreeMap<u64, (QueueName, MessageId)>,
    /// Who waits for a gather's answer: which one.
    pub(super) gathers: BTreeMap<u64, usize>,
    gone: BTreeSet<u64>,
    /// When a gather began.
    asked: BTreeMap<String, Timestamp>,
    /// Gathers whose answer goes into a queue, and which one of them.
    queued: BTreeMap<String, usize>,
    /// Replies that callers were told.
    kept: BTreeMap<(QueueId, Seq), Timestamp>,
    /// Sagas in which an operator interfered.
    meddled: BTreeSet<String>,
    /// Cancelled messages that somebody put back.
    pub(super) restored: BTreeSet<(QueueId, Seq)>,
    is_full: bool,
}

impl Requests {
    /// The broker died: nobody waits any more.
    pub(super) fn forget_waiting(&mut self) {
        self.calls.clear();
        self.gathers.clear();
        self.is_full = false;
    }

    /// Whether an operator has skipped a step of a saga, or put back what was cancelled.
    pub(super) fn is_interfered(&self, saga: &str, place: (QueueId, Seq)) -> bool {
        self.meddled.contains(saga) || self.restored.contains(&place)
    }

    pub(super) fn are_over(&self) -> bool {
        self.calls.is_empty() && self.gathers.is_empty()
    }
}

/// What a worker answers of a message.
pub(super) fn reply_of(id: &MessageId) -> String {
    format!("reply to {id}")
}

impl Sim {
    pub(super) fn gather(&mut self, which: u8, id: u8, wish: Wish) {
        let which = usize::from(which) % GATHERS.len();
        let fields = if wish == Wish::Reply {
            json!({ "reply_to": REPLIES })
        } else {
            Value::Object(Default::default())
        };
        let name = GatherName::new(GATHERS[which].0).expect("a gather");
        let content = content_with(&format!("g{which}-{id}"), fields);
        let request = Box::new(GatherRequest::named(name, content));
        self.wire.push(Event::Gather { origin: Origin(0), request });
    }

    pub(super) fn start(&mut self, id: u8, wish: Wish) {
        let fields = if wish == Wish::Reply {
            json!({ "reply_to": REPLIES })
        } else {
            json!({ "key": "k1" })
        };
        let (origin, input) = (self.origin(), content_with(&format!("s{id}"), fields));
        self.wire.push(Event::Start { origin, saga: trip(), input });
    }

    /// An operator does something to one of the sagas, the parked ones first.
    pub(super) fn operate(&mut self, pick: u8, act: SagaAct) {
        let page = |state| self.engine.saga_page(0, 100, state).sagas;
        let mut sagas = page(Some(SagaState::Parked));
        sagas.extend(page(None));
        let nth = usize::from(pick) % sagas.len().max(1);
        if let Some(saga) = sagas.get(nth) {
            self.saga_act(saga.id.as_str(), act);
        }
    }

    fn saga_act(&mut self, id: &str, act: SagaAct) {
        if act != SagaAct::Retry {
            self.requests.meddled.insert(id.to_owned());
        }
        let id = MessageId::new(id).expect("an id");
        let (origin, actor, reason) = (Origin(0), operator("ann"), String::new());
        let order = SagaOrder { act, expect_state: None };
        self.handle(Event::SagaAct { origin, actor, id, order, reason }, Cause::default());
    }

    /// Of something that was sent, or that somebody has a reply of.
    pub(super) fn status(&mut self, at: u8, pick: u8) {
        let nth = usize::from(pick >> 1) % self.requests.kept.len().max(1);
        let kept = self.requests.kept.keys().copied().nth(nth).filter(|_| pick & 1 > 0);
        let replied = kept.map(|(queue, seq)| {
            let line = &self.ahead.lines[&queue];
            (line, line.message(seq.0).expect("it was there").content.id().clone())
        });
        let (line, id) = replied.unwrap_or_else(|| {
            let id = MessageId::new(&format!("m{}", pick >> 1)).expect("an id");
            (self.line(at).1, id)
        });
        let queue = Some(line.name.clone());
        let origin = self.origin();
        self.handle(Event::Status { origin, id, queue }, Cause::default());
    }

    pub(super) fn caller_gone(&mut self, pick: u8) {
        let requests = &mut self.requests;
        let nth = usize::from(pick) % (requests.calls.len() + requests.gathers.len()).max(1);
        let origins = requests.calls.keys().chain(requests.gathers.keys());
        let Some(origin) = origins.copied().nth(nth) else { return };
        requests.calls.remove(&origin);
        requests.gathers.remove(&origin);
        requests.gone.insert(origin);
        self.handle(Event::OriginGone { origin: Origin(origin) }, Cause::default());
    }

    pub(super) fn bury(&mut self, id: u8) {
        let content = content_with(&format!("m{id}"), json!({}));
        let rejection = Rejection::new(RejectCode::Malformed, "no such thing");
        let (origin, to, from) = (self.origin(), queue("push.dead"), None);
        let bury = Event::Bury { origin, to, content, queue: from, rejection };
        self.handle(bury, Cause::default());
    }

    pub(super) fn subscribe(&mut self, comes: bool) {
        let (origin, actor, topic) = (Origin(0), operator("ann"), topic());
        let event = if comes {
            Event::Subscribe { origin, actor, topic, subscription: filtered() }
        } else {
            Event::Unsubscribe { origin, actor, topic, queue: queue(FILTERED) }
        };
        self.handle(event, Cause::default());
    }

    pub(super) fn fill(&mut self, is_full: bool) {
        self.requests.is_full = is_full;
        let reason = is_full.then(|| "the disk is full".to_owned());
        self.handle(Event::StoreFull { reason }, Cause::default());
    }

    /// What the engine has just decided to tell, by what is known ahead.
    pub(super) fn check_answers(&mut self, out: &Effects) {
        let began = out.ops.iter().filter_map(|op| match op {
            Op::PutProcess(record)
                if record.key.kind == ProcessKind::Gather && record.part == 0 =>
            {
                record.key.id.as_str().split_once(' ').map(|(_, id)| id.to_owned())
            }
            _ => None,
        });
        for id in began {
            self.requests.asked.entry(id).or_insert(self.now);
        }
        for effect in &out.effects {
            match effect {
                Effect::Accepted { accepted, .. } => {
                    let is_old = accepted.iter().all(|one| one.duplicate);
                    assert!(is_old || !self.requests.is_full, "the disk is full: {accepted:?}");
                }
                Effect::Published { published, .. } => {
                    self.check_published(published.id.as_str(), published.queues);
                }
                Effect::CallEnded { reply, .. } => check_reply(reply),
                Effect::Gathered { origin, reply } => {
                    // Of one that went away it isn't known any more which one it was.
                    if let Some(&which) = self.requests.gathers.get(&origin.0) {
                        self.check_gathered(which, reply);
                    }
                }
                Effect::Status { report, reply, .. } => {
                    reply.iter().for_each(|reply| check_reply(reply));
                    let queue = self.ahead.named(report.queue.as_str()).expect("put").0;
                    let told = self.requests.kept.get(&(queue, report.seq));
                    let is_kept =
                        told.is_some_and(|at| self.now.since_ms(*at) < limits::KEPT_REPLY_MS);
                    if is_kept && report.state == MessageState::Done {
                        assert!(reply.is_some(), "its reply is kept: {report:?}");
                        self.tally.saw("kept");
                    }
                }
                _ => {}
            }
        }
    }

    /// All that subscribe to it have it, in one commit or before.
    fn check_published(&mut self, id: &str, queues: u64) {
        let newest = |name: &str| {
            let (_, line) = self.ahead.named(name).expect("put");
            line.messages.iter().rfind(|it| it.content.id().as_str() == id)
        };
        let event = newest(SUBSCRIBED[0]).expect("the first has it");
        assert!(newest(SUBSCRIBED[1]).is_some(), "{id}: both have it");
        let is_for_more = self.ahead.is_subscribed && event.content.header.key() == Some("k1");
        if is_for_more && queues == 3 {
            assert!(newest(FILTERED).is_some(), "{id}: the third has it");
            self.tally.saw("filtered");
        }
        assert!(queues == 2 || queues == 3 && self.ahead.is_subscribed, "{id} went to {queues}");
    }

    fn check_gathered(&mut self, which: usize, reply: &GatherReply) {
        let (_, recipients, enough) = GATHERS[which];
        let what = || format!("{reply:?}");
        let names = reply.parts.iter().chain(reply.missing.iter().map(|it| &it.queue));
        let mut names: Vec<_> = names.map(|name| name.as_str()).collect();
        names.sort_unstable();
        let mut all = recipients;
        all.sort_unstable();
        assert_eq!(names, all, "each is told once: {}", what());
        for (name, payload) in reply.parts.iter().zip(&reply.payloads) {
            assert_eq!(*payload, reply_of(&reply.id), "{name}: {}", what());
            assert!(self.ahead.has_done(name, &reply.id), "{name} has not done it: {}", what());
        }
        match reply.status {
            GatherStatus::Complete => assert!(reply.missing.is_empty(), "{}", what()),
            GatherStatus::Quorum => {
                assert!(reply.parts.len() >= enough && !reply.missing.is_empty(), "{}", what());
            }
            GatherStatus::Partial => {
                assert!(reply.parts.len() < enough, "{}", what());
                let may_come = |code: &str| matches!(code, "no-reply" | "blocked");
                let is_over = reply.missing.iter().all(|it| !may_come(&it.code));
                let began = self.requests.asked[reply.id.as_str()];
                assert!(is_over || self.now.since_ms(began) >= GATHER_MS, "too early: {}", what());
            }
        }
        self.tally.saw(reply.status.as_str());
    }

    /// What is told now to who waits. What it says must be so in the store.
    pub(super) fn tell_request(&mut self, effect: Effect) {
        let requests = &mut self.requests;
        match effect {
            Effect::CallEnded { origin, reply } if !requests.gone.contains(&origin.0) => {
                let (name, id) = requests.calls.remove(&origin.0).expect("a call ends once");
                assert_eq!(id, reply.id);
                self.tally.saw("call");
                if reply.status == CallStatus::Ok {
                    assert!(self.durable.has_done(&name, &id), "durable first: {name} {id}");
                    let (queue, line) = self.durable.named(name.as_str()).expect("put");
                    let places = (1..).zip(&line.messages);
                    let mut places = places.filter(|(_, it)| *it.content.id() == id);
                    if let (Some((seq, _)), None) = (places.next(), places.next()) {
                        self.requests.kept.insert((queue, Seq(seq)), self.now);
                    }
                }
            }
            Effect::CallPart { origin, part } if !requests.gone.contains(&origin.0) => {
                let (_, id) = requests.calls.get(&origin.0).expect("parts come before the end");
                assert_eq!(*id, part.id);
                self.tally.saw("part");
            }
            Effect::Gathered { origin, .. } if !requests.gone.contains(&origin.0) => {
                assert!(requests.gathers.remove(&origin.0).is_some(), "a gather ends once");
            }
            Effect::GatherAccepted { origin, accepted } => {
                let id = accepted.id.to_string();
                if let Some(which) = requests.gathers.remove(&origin.0) {
                    requests.queued.insert(id, which);
                }
            }
            Effect::Started { started, .. } => {
                let mut kept = self.store.processes.keys();
                assert!(kept.any(|key| key.id.as_str() == started.id.as_str()), "durable first");
                self.tally.saw("saga");
            }
            Effect::Rejected { origin, .. } => {
                requests.calls.remove(&origin.0);
                requests.gathers.remove(&origin.0);
            }
            _ => {}
        }
    }

    /// Parked sagas are tried again. Whether all are at their end.
    pub(super) fn end_sagas(&mut self) -> bool {
        let parked = self.engine.saga_page(0, 100, Some(SagaState::Parked));
        for saga in &parked.sagas {
            self.saga_act(saga.id.as_str(), SagaAct::Retry);
            self.tally.saw("parked");
        }
        self.engine.saga_page(0, 100, None).sagas.iter().all(|saga| saga.state.is_end())
    }

    /// All is over: what went over several messages has come to the end that it should.
    pub(super) fn check_processes(&mut self) {
        for saga in self.engine.saga_page(0, 100, None).sagas {
            assert!(saga.state.is_end(), "{saga:?}");
            let is_meddled = self.requests.meddled.contains(saga.id.as_str());
            let is_completed = saga.state == SagaState::Completed;
            self.ahead.check_saga(saga.id.as_str(), is_completed, is_meddled);
            self.tally.saw(saga.state.as_str());
        }
        let (_, replies) = self.ahead.named(REPLIES).expect("put");
        for (id, &which) in &self.requests.queued {
            let first = GATHERS[which].1[0];
            let (_, line) = self.ahead.named(first).expect("put");
            let places = (1u64..).zip(&line.messages);
            let mut places = places.filter(|(_, it)| it.content.id().as_str() == id);
            let has_answer = places.any(|(seq, _)| {
                let answer = format!("{first}-{seq}-gather");
                replies.messages.iter().any(|it| it.content.id().as_str() == answer)
            });
            assert!(has_answer, "the gather {id} has an answer in {REPLIES}");
        }
    }
}

impl Oracle {
    /// Whether a message of this id was done in a queue.
    fn has_done(&self, name: &QueueName, id: &MessageId) -> bool {
        let (_, line) = self.named(name.as_str()).expect("put");
        let mut known = line.messages.iter().filter(|it| it.content.id() == id);
        known.any(|it| it.ended == Some(Finish::Done))
    }
}

fn check_reply(reply: &CallReply) {
    match reply.status {
        CallStatus::Ok => assert_eq!(reply.payload, reply_of(&reply.id), "{reply:?}"),
        CallStatus::Failed | CallStatus::Timeout | CallStatus::Blocked => {
            assert!(reply.payload.is_empty(), "{reply:?}");
        }
    }
}
