//! What scenarios say of sagas and gathers.

use super::{Stage, content_with, operator, queue, word};
use crate::engine::{Effect, Event};
use crate::model::{
    Completion, GatherReply, GatherRequest, Origin, SagaAct, SagaDefinition, SagaName, SagaOrder,
    SagaStep,
};

impl Stage {
    /// `saga trip does flight in flights, undone in flights.back`, `start t of trip`, or `gather g from a, b within 5000 ms`
    pub(super) fn process(&mut self, words: &[&str]) -> Option<Vec<Effect>> {
        match words {
            ["saga", saga, "does", step, "in", queue] => self.define(saga, step, queue, None),
            ["saga", saga, "does", step, "in", queue, "undone", "in", undo] => {
                self.define(saga, step, queue.trim_end_matches(','), Some(undo))
            }
            ["start", id, "of", saga] => {
                let (origin, saga) = (Origin(1), SagaName::new(saga).ok()?);
                let input = content_with(id, serde_json::json!({}));
                Some(self.run(Event::Start { origin, saga, input }))
            }
            ["gather", id, "from", queues @ .., "within", ms, "ms"] => {
                let (queues, complete) = match queues {
                    [queues @ .., "until", count, "reply"] => {
                        (queues, Completion::count(count.parse().ok()?).ok()?)
                    }
                    queues => (queues, Completion::All),
                };
                let queues = queues.iter().map(|name| queue(name.trim_end_matches(','))).collect();
                let content = content_with(id, serde_json::json!({}));
                let request = GatherRequest {
                    complete: Some(complete),
                    timeout_ms: Some(ms.parse().ok()?),
                    ..GatherRequest::over(queues, content)
                };
                Some(self.run(Event::Gather { origin: Origin(1), request: Box::new(request) }))
            }
            _ => None,
        }
    }

    /// One more step of a saga. The broker starts with it.
    fn define(
        &mut self,
        saga: &str,
        step: &str,
        to: &str,
        undo: Option<&str>,
    ) -> Option<Vec<Effect>> {
        let name = SagaName::new(saga).ok()?;
        let step = SagaStep {
            name: step.to_owned(),
            queue: queue(to),
            compensate: undo.map(queue),
            timeout_ms: SagaStep::TIMEOUT_MS,
            attempts: 1,
            retry_ms: SagaStep::RETRY_MS,
        };
        let sagas = &mut self.options.sagas;
        match sagas.iter_mut().find(|known| known.name == name) {
            Some(known) => known.steps.push(step),
            None => sagas.push(SagaDefinition { name, version: 1, steps: vec![step] }),
        }
        let options = self.options.clone();
        self.rig_made().restart_with(options);
        Some(Vec::new())
    }

    pub(super) fn act_on_saga(&mut self, verb: &str, id: &str) -> Option<Vec<Effect>> {
        let act = match verb {
            "retries" => SagaAct::Retry,
            "skips" => SagaAct::Skip,
            "aborts" => SagaAct::Abort,
            _ => return None,
        };
        let (origin, actor, id) = (Origin(9), operator("ann"), id.parse().ok()?);
        let (order, reason) = (SagaOrder { act, expect_state: None }, "because".to_owned());
        Some(self.run(Event::SagaAct { origin, actor, id, order, reason }))
    }

    /// A saga and its steps.
    pub(super) fn show_saga(&mut self, id: &str) -> Option<String> {
        let saga = self.rig()?.engine.saga_detail(&id.parse().ok()?)?.saga;
        let steps = saga.steps.iter().map(|step| format!("{} {}", step.name, step.state.as_str()));
        Some(format!("{id} is {}: {}", saga.state.as_str(), steps.collect::<Vec<_>>().join(", ")))
    }
}

/// What the asker hears.
pub(super) fn gathered(reply: &GatherReply) -> String {
    let said = reply.parts.iter().zip(&reply.payloads);
    let said = said.map(|(name, part)| format!("{name} said {}", String::from_utf8_lossy(part)));
    let missing =
        reply.missing.iter().map(|part| format!("{} is missing ({})", part.queue, part.code));
    let all: Vec<String> = said.chain(missing).collect();
    format!("the asker hears {}: {}", word(&reply.status), all.join(", "))
}
