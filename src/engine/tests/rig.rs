//! An engine over a fake store, with every commit done at once and every load answered at once.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;

use crate::engine::{CallSpec, Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    Actor, Content, DeliveryId, Header, MessageId, NackAction, Notice, Origin, QueueName,
    QueueSettings, QueueView, Rejection, Repair, RepairAction, RepairRefusal, Revision, Seq,
    Timestamp, WorkError, WorkerId, WorkerInfo,
};

use super::store::FakeStore;

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// Engine, store and clock.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) store: FakeStore,
    pub(crate) now: Timestamp,
    options: EngineOptions,
}

/// A message in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) worker: u64,
    pub(crate) delivery: DeliveryId,
    pub(crate) queue: String,
    pub(crate) seq: u64,
    pub(crate) attempt: u32,
    pub(crate) payload: String,
}

impl Rig {
    /// One with a queue `q` of these settings. Its workers are waited for until they are gone, however silent.
    pub(crate) fn new(settings: QueueSettings) -> Self {
        let options = EngineOptions { suspect_ms: u64::MAX, ..EngineOptions::default() };
        Self::with_options(options, settings)
    }

    pub(crate) fn with_options(options: EngineOptions, settings: QueueSettings) -> Self {
        let mut store = FakeStore::default();
        let engine = Engine::new(options.clone(), store.recover(), START);
        let mut rig = Self { engine, store, now: START, options };
        rig.put_queue("q", settings);
        rig
    }

    /// The broker stops hard and starts again; workers are gone.
    pub(crate) fn restart(&mut self) {
        self.engine = Engine::new(self.options.clone(), self.store.recover(), self.now);
    }

    /// The same, with another configuration.
    pub(crate) fn restart_with(&mut self, options: EngineOptions) {
        self.options = options;
        self.restart();
    }

    /// Hands the engine an event and commits; loads are answered until there are none.
    pub(crate) fn run(&mut self, event: Event) -> Vec<Effect> {
        let mut told = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut out = Effects::default();
            let rehearsed = match &event {
                Event::Repair { repair, .. } => Some(self.engine.rehearse(repair)),
                _ => None,
            };
            self.engine.handle(self.now, event, &mut out);
            if let Some(rehearsed) = rehearsed {
                assert_eq!(came_of(&out.effects), Some(rehearsed), "a rehearsal says what comes");
            }
            self.store.commit(out.ops);
            for effect in out.effects {
                match effect {
                    Effect::Load { queue, from, max_messages, max_bytes } => {
                        let messages = self.store.read(queue, from, max_messages, max_bytes);
                        events.push_back(Event::Loaded { queue, from, messages });
                    }
                    Effect::FindMessage { origin, id, queue } => {
                        let place = self.store.find(queue, &id);
                        events.push_back(Event::Found { origin, id, place });
                    }
                    told_now => told.push(told_now),
                }
            }
        }
        told
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now = self.now.plus_ms(ms);
        self.run(Event::Tick)
    }

    /// Makes a queue, or gives it settings. It isn't one that the configuration names, if that doesn't name it already.
    pub(crate) fn put_queue(&mut self, name: &str, settings: QueueSettings) -> Vec<Effect> {
        let name = queue(name);
        let is_configured = self.engine.configured.contains_key(&name);
        let (origin, actor) = (Origin(0), operator("ann"));
        let told = self.run(Event::PutQueue { origin, actor, name: name.clone(), settings });
        if !is_configured {
            self.engine.configured.remove(&name);
        }
        told
    }

    pub(crate) fn send(&mut self, queue: &str, id: &str) -> Vec<Effect> {
        self.send_many(&[(queue, id)])
    }

    pub(crate) fn send_many(&mut self, messages: &[(&str, &str)]) -> Vec<Effect> {
        let messages = messages.iter().map(|(name, id)| (queue(name), content(id, id))).collect();
        self.run(Event::Send { origin: Origin(1), messages, call: None })
    }

    /// A message with header fields of its own beside the id.
    pub(crate) fn send_with(&mut self, queue_name: &str, id: &str, fields: Value) -> Vec<Effect> {
        let messages = vec![(queue(queue_name), content_with(id, fields))];
        self.run(Event::Send { origin: Origin(1), messages, call: None })
    }

    pub(crate) fn call(&mut self, origin: u64, id: &str, timeout_ms: u64) -> Vec<Effect> {
        let messages = vec![(queue("q"), content(id, id))];
        let call = Some(CallSpec { timeout_ms, parts: true });
        self.run(Event::Send { origin: Origin(origin), messages, call })
    }

    pub(crate) fn ready(&mut self, worker: u64, queues: &[&str], credit: u32) -> Vec<Effect> {
        let queues = queues.iter().map(|name| queue(name)).collect();
        let info = WorkerInfo { name: format!("w{worker}"), ..WorkerInfo::default() };
        self.run(Event::WorkerReady { worker: WorkerId(worker), queues, credit, info })
    }

    pub(crate) fn gone(&mut self, worker: u64) -> Vec<Effect> {
        self.run(Event::WorkerGone { worker: WorkerId(worker), reason: "disconnected" })
    }

    pub(crate) fn ack(&mut self, of: &Delivered) -> Vec<Effect> {
        let reply = Bytes::from_static(b"reply");
        self.run(Event::Ack { worker: WorkerId(of.worker), delivery: of.delivery, reply })
    }

    pub(crate) fn nack(&mut self, of: &Delivered) -> Vec<Effect> {
        self.nack_with(of, NackAction::Retry, None)
    }

    pub(crate) fn nack_with(
        &mut self,
        of: &Delivered,
        action: NackAction,
        delay_ms: Option<u64>,
    ) -> Vec<Effect> {
        let error = WorkError::new("exit-1", "it failed");
        let (worker, delivery) = (WorkerId(of.worker), of.delivery);
        self.run(Event::Nack { worker, delivery, error, action, delay_ms })
    }

    /// A repair by `ann` as the admin API submits it: with the content that it has read.
    pub(crate) fn repair(
        &mut self,
        key: &str,
        seq: u64,
        revision: u32,
        action: RepairAction,
    ) -> Vec<Effect> {
        self.repair_by("ann", key, seq, revision, action)
    }

    pub(crate) fn repair_by(
        &mut self,
        name: &str,
        key: &str,
        seq: u64,
        revision: u32,
        action: RepairAction,
    ) -> Vec<Effect> {
        let (seq, expect_revision) = (Seq(seq), Revision(revision));
        let id = self.engine.queue_id(&queue("q")).expect("q is there");
        let repair = Repair {
            key: key.parse().expect("a valid key"),
            actor: operator(name),
            queue: queue("q"),
            seq,
            expect_revision,
            seen: self.store.content(id, seq, expect_revision),
            action,
            reason: "because".to_owned(),
        };
        self.run(Event::Repair { origin: Origin(9), repair })
    }

    pub(crate) fn pause(&mut self, paused: bool) -> Vec<Effect> {
        self.run(Event::SetPaused {
            origin: Origin(9),
            actor: operator("ann"),
            queue: queue("q"),
            paused,
            reason: "a look".to_owned(),
        })
    }

    pub(crate) fn hold(&mut self, name: &str, seq: u64, for_ms: u64) -> Vec<Effect> {
        let (actor, queue, seq) = (operator(name), queue("q"), Seq(seq));
        self.run(Event::Hold { origin: Origin(9), actor, queue, seq, for_ms })
    }

    pub(crate) fn view(&self, name: &str) -> QueueView {
        self.engine.queue_view(&queue(name)).expect("the queue is there")
    }
}

/// The deliveries among effects.
pub(crate) fn deliveries(effects: &[Effect]) -> Vec<Delivered> {
    let mut deliveries = Vec::new();
    for effect in effects {
        if let Effect::Deliver { worker, delivery, queue, seq, attempt, content, .. } = effect {
            deliveries.push(Delivered {
                worker: worker.0,
                delivery: *delivery,
                queue: queue.to_string(),
                seq: seq.0,
                attempt: *attempt,
                payload: String::from_utf8_lossy(&content.payload).into_owned(),
            });
        }
    }
    deliveries
}

/// The refusal among effects.
#[track_caller]
pub(crate) fn rejected(effects: &[Effect]) -> Rejection {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Rejected { rejection, .. } => Some(rejection.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing is refused: {effects:?}"))
}

/// The one delivery among effects.
#[track_caller]
pub(crate) fn delivered(effects: &[Effect]) -> Delivered {
    match deliveries(effects).as_slice() {
        [one] => one.clone(),
        other => panic!("one delivery expected, {other:?} found in {effects:?}"),
    }
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid name")
}

pub(crate) fn operator(name: &str) -> Actor {
    Actor { name: name.to_owned(), via: "api".to_owned() }
}

/// A message with the payload `id` and header fields of its own beside the id.
pub(crate) fn content_with(id: &str, fields: Value) -> Content {
    let mut map = serde_json::Map::from_iter([("id".to_owned(), id.into())]);
    map.extend(fields.as_object().expect("an object").clone());
    let header = Header::from_map(map, || MessageId::new("unused").expect("valid"));
    Content {
        header: header.expect("a valid header"),
        payload: Bytes::copy_from_slice(id.as_bytes()),
    }
}

pub(crate) fn content(id: &str, payload: &str) -> Content {
    let map = serde_json::Map::from_iter([("id".to_owned(), id.into())]);
    let header = Header::from_map(map, || MessageId::new("unused").expect("valid"));
    Content {
        header: header.expect("a valid header"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// What came of a repair, if one was answered.
pub(crate) fn came_of(effects: &[Effect]) -> Option<Result<(), RepairRefusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Repaired { .. } => Some(Ok(())),
        Effect::Refused { refusal, .. } => Some(Err(refusal.clone())),
        _ => None,
    })
}

/// What those who watch are told, if that is what it is.
pub(crate) fn notice(effect: &Effect) -> Option<&Notice> {
    match effect {
        Effect::Notice(notice) => Some(notice),
        _ => None,
    }
}

/// The same of all of them, in order.
pub(crate) fn notices(effects: &[Effect]) -> Vec<&Notice> {
    effects.iter().filter_map(notice).collect()
}
