//! Producers and workers of a run, and the wire between.

use bytes::Bytes;
use serde_json::Value;

use super::oracle::Cause;
use super::requests::reply_of;
use super::script::{Fate, Wish, Work};
use super::setup::{GATHERS, QUEUES, REPLIES};
use super::sim::{Conn, MAX_UNANSWERED, Sim};
use crate::engine::tests::rig::content_with;
use crate::engine::{CallSpec, Event};
use crate::model::{DeliveryId, NackAction, QueueName, WorkError, WorkerId, WorkerInfo};

impl Sim {
    pub(super) fn send(&mut self, at: u8, id: u8, shape: u8, wish: Wish) {
        let (_, line) = self.line(at);
        let (name, has_priority) = (line.name.clone(), line.settings.priority);
        let mut fields = serde_json::Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        if shape & 3 > 0 {
            put("key", format!("k{}", shape & 3).into());
        }
        if shape & 0b1_1100 == 0b100 {
            put("delay_ms", (u64::from(shape >> 5) * 700).into());
        }
        if shape & 0b1_1100 == 0b1000 {
            put("ttl_ms", (u64::from(shape >> 5) * 900 + 1).into());
        }
        if has_priority && shape >> 6 > 0 {
            put("priority", (shape >> 6).into());
        }
        if wish == Wish::Reply {
            put("reply_to", REPLIES.into());
        }
        let content = content_with(&format!("m{id}"), Value::Object(fields));
        let origin = self.origin();
        let is_call = wish == Wish::Call;
        let call = is_call.then_some(CallSpec { timeout_ms: 20_000, parts: true });
        self.wire.push(Event::Send { origin, messages: vec![(name, content)], call });
    }

    pub(super) fn travel(&mut self, pick: u8, fate: Fate) {
        if self.wire.is_empty() {
            return;
        }
        let at = usize::from(pick) % self.wire.len();
        let mut event = match fate {
            Fate::Doubled => self.wire[at].clone(),
            Fate::Arrives | Fate::Lost => self.wire.remove(at),
        };
        let delivery = match &event {
            Event::Ack { worker, delivery, .. }
            | Event::Nack { worker, delivery, .. }
            | Event::Partial { worker, delivery, .. }
            | Event::Progress { worker, delivery, .. } => Some((worker.0, *delivery)),
            _ => None,
        };
        let is_cut = delivery.is_some_and(|(worker, _)| !self.workers.contains_key(&worker));
        if fate == Fate::Lost || is_cut {
            self.unanswered.extend(delivery.map(|(_, delivery)| delivery));
            return;
        }
        self.begin(&mut event);
        let lease = delivery.and_then(|(worker, delivery)| {
            let lease = self.leases.get(&delivery).filter(|lease| lease.0 == worker);
            lease.map(|&(_, queue, seq)| (queue, seq))
        });
        let acked = lease.filter(|_| matches!(event, Event::Ack { .. }));
        let ends = matches!(event, Event::Ack { .. } | Event::Nack { .. });
        if let Some((worker, delivery)) = delivery.filter(|_| ends)
            && self.leases.get(&delivery).is_some_and(|lease| lease.0 == worker)
        {
            self.leases.remove(&delivery);
        }
        self.handle(event, Cause { acked, ..Cause::default() });
    }

    /// A request arrives. One that is sent again is another request.
    fn begin(&mut self, event: &mut Event) {
        match event {
            Event::Send { origin, call, messages } => {
                *origin = self.origin();
                if let ([(name, content)], Some(_)) = (messages.as_slice(), call) {
                    let asked = (name.clone(), content.id().clone());
                    self.requests.calls.insert(origin.0, asked);
                }
            }
            Event::Gather { origin, request } => {
                *origin = self.origin();
                let name = request.gather.as_ref().expect("a gather of the configuration");
                let which = GATHERS.iter().position(|(known, ..)| *known == name.as_str());
                self.requests.gathers.insert(origin.0, which.expect("one of them"));
            }
            _ => {}
        }
    }

    pub(super) fn work(&mut self, pick: u8, work: Work) {
        let count: usize = self.workers.values().map(|conn| conn.hands.len()).sum();
        if count == 0 {
            return;
        }
        let mut nth = usize::from(pick) % count;
        let (&id, conn) = self
            .workers
            .iter_mut()
            .find(|(_, conn)| {
                let is_here = nth < conn.hands.len();
                nth -= if is_here { 0 } else { conn.hands.len() };
                is_here
            })
            .expect("counted");
        let worker = WorkerId(id);
        let delivery = match work {
            Work::Progress | Work::Partial => conn.hands[nth],
            Work::Ack | Work::Nack(_) | Work::Hang => conn.hands.remove(nth),
        };
        self.wire.push(match work {
            Work::Ack => self.ack(worker, delivery),
            Work::Partial => {
                Event::Partial { worker, delivery, payload: Bytes::from_static(b"part") }
            }
            Work::Nack(action) => nack(worker, delivery, action),
            Work::Progress => {
                Event::Progress { worker, delivery, extend_ms: None, note: String::new() }
            }
            Work::Hang => return self.unanswered.push_back(delivery),
        });
    }

    pub(super) fn late_ack(&mut self, pick: u8) {
        while self.unanswered.len() > MAX_UNANSWERED {
            self.unanswered.pop_front();
        }
        let nth = usize::from(pick) % self.unanswered.len().max(1);
        let (Some(id), Some(delivery)) = (self.worker(pick), self.unanswered.remove(nth)) else {
            return;
        };
        let ack = self.ack(WorkerId(id), delivery);
        self.wire.push(ack);
    }

    fn ack(&self, worker: WorkerId, delivery: DeliveryId) -> Event {
        let reply = self.given.get(&delivery).map(reply_of).unwrap_or_default();
        Event::Ack { worker, delivery, reply: reply.into() }
    }

    pub(super) fn ready(&mut self, pick: u8, mask: u16, credit: u8) {
        let id = match self.worker(pick).filter(|_| self.workers.len() > 3) {
            Some(id) => id,
            None => {
                self.next_worker += 1;
                self.next_worker
            }
        };
        let is_sink = self.workers.get(&id).is_some_and(|conn| conn.is_sink);
        let names = self.ahead.lines.values().take(usize::from(QUEUES)).enumerate();
        let names = names.filter(|(at, _)| mask & (1 << at) > 0).map(|(_, line)| line.name.clone());
        let queues = names.filter(|name| !is_sink || may_sink(name)).collect();
        self.connect(id, queues, credit, is_sink);
    }

    pub(super) fn sink(&mut self, at: u8, credit: u8) {
        let name = self.line(at).1.name.clone();
        if self.workers.len() < 6 && may_sink(&name) {
            self.next_worker += 1;
            let queues = vec![name];
            self.connect(self.next_worker, queues, credit, true);
        }
    }

    fn connect(&mut self, id: u64, queues: Vec<QueueName>, credit: u8, is_sink: bool) {
        let hands = Vec::new();
        let conn = self.workers.entry(id).or_insert(Conn { credit: 0, is_sink, hands });
        conn.credit = usize::from(credit);
        let at_most_once = conn.is_sink;
        let info = WorkerInfo { name: format!("w{id}"), at_most_once, ..WorkerInfo::default() };
        let (worker, credit) = (WorkerId(id), u32::from(credit));
        self.handle(Event::WorkerReady { worker, queues, credit, info }, Cause::default());
    }

    pub(super) fn forget_worker(&mut self, id: u64) {
        let Some(conn) = self.workers.remove(&id) else { return };
        self.unanswered.extend(conn.hands);
        self.leases.retain(|_, lease| lease.0 != id);
    }
}

/// Whether a sink may take from a queue. Not from a saga's: there it counts whether a step was done.
fn may_sink(name: &QueueName) -> bool {
    !["step.a", "step.b", "undo"].contains(&name.as_str())
}

fn nack(worker: WorkerId, delivery: DeliveryId, action: NackAction) -> Event {
    let error = WorkError { code: "no".to_owned(), ..WorkError::default() };
    Event::Nack { worker, delivery, error, action, delay_ms: None }
}
