//! What a saga sends: its steps' messages, and what `reply_to` is told at the end.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Saga, Step};
use crate::model::{
    Content, Header, MessageId, QueueName, RejectCode, Rejection, SagaState, SagaStep, StepState,
    WorkError,
};

/// Fields of the input's header that its steps' messages have too.
const CARRIED: [&str; 4] = ["key", "traceparent", "tracestate", "source"];

impl Saga {
    /// The next message of the step `at`: forward, or once the saga compensates, the one that takes it back.
    pub(super) fn message(&self, at: usize) -> Result<(QueueName, Content), Rejection> {
        let nothing = || Rejection::new(RejectCode::Internal, "the saga has no such step");
        let (definition, step) =
            self.definition.steps.get(at).zip(self.steps.get(at)).ok_or_else(nothing)?;
        let undoes = self.state != SagaState::Running;
        let queue = match &definition.compensate {
            Some(queue) if undoes => queue,
            Some(_) | None => &definition.queue,
        };
        let id = self.step_id(definition, step, undoes);
        let mut saga = self.named();
        saga.insert("step".to_owned(), json!(definition.name));
        if undoes && let Some(error) = &self.error {
            saga.insert("compensates".to_owned(), told(error));
        }
        let kind = format!("{}.{}", self.definition.name, definition.name);
        let content = self.content(id, kind, saga)?;
        Ok((queue.clone(), content))
    }

    /// The message that says how it ended.
    pub(super) fn end_message(&self) -> Result<Content, Rejection> {
        let id = format!("{}/end", self.id);
        let mut saga = self.named();
        saga.insert("state".to_owned(), json!(self.state.as_str()));
        if let Some(error) = &self.error {
            saga.insert("error".to_owned(), told(error));
        }
        self.content(id, self.definition.name.to_string(), saga)
    }

    /// Which saga it is, as each of its messages' headers says.
    fn named(&self) -> Map<String, Value> {
        Map::from_iter([
            ("name".to_owned(), json!(self.definition.name)),
            ("id".to_owned(), json!(self.id)),
            ("version".to_owned(), json!(self.definition.version)),
        ])
    }

    fn step_id(&self, definition: &SagaStep, step: &Step, undoes: bool) -> String {
        let undo = if undoes { "/undo" } else { "" };
        let attempt = match (step.state, step.attempts) {
            // The first of its compensation.
            (StepState::Done | StepState::Unknown, _) | (_, 0) => String::new(),
            (_, sent) => format!("~{}", sent.saturating_add(1)),
        };
        format!("{}/{}{undo}{attempt}", self.id, definition.name)
    }

    fn content(
        &self,
        id: String,
        kind: String,
        saga: Map<String, Value>,
    ) -> Result<Content, Rejection> {
        let wrong = |reason: String| Rejection::new(RejectCode::TooLarge, reason);
        let id = MessageId::new(&id).map_err(|error| wrong(error.to_string()))?;
        let given = self.input.header.to_map();
        let correlation = given.get("correlation_id").cloned().unwrap_or_else(|| json!(self.id));
        let mut fields = Map::from_iter([
            ("id".to_owned(), json!(id)),
            ("type".to_owned(), json!(kind)),
            ("correlation_id".to_owned(), correlation),
            ("causation_id".to_owned(), json!(self.id)),
            ("saga".to_owned(), Value::Object(saga)),
        ]);
        let carried =
            CARRIED.iter().filter_map(|&name| Some((name.to_owned(), given.get(name)?.clone())));
        fields.extend(carried);
        let header = Header::from_map(fields, || id).map_err(|error| wrong(error.to_string()))?;
        Ok(Content { header, payload: self.context() })
    }

    /// The input and the results so far, by step, as one JSON object. What is JSON stands there byte for byte; what isn't
    /// is base64 in `{"base64": …}`.
    pub(super) fn context(&self) -> Bytes {
        let mut text = String::from("{\"input\":");
        push_json(&mut text, &self.input.payload);
        text.push_str(",\"results\":{");
        let mut first = true;
        for (definition, step) in self.definition.steps.iter().zip(&self.steps) {
            let Some(result) = &step.result else { continue };
            if !first {
                text.push(',');
            }
            first = false;
            text.push_str(&json!(definition.name).to_string());
            text.push(':');
            push_json(&mut text, result);
        }
        text.push_str("}}");
        Bytes::from(text)
    }
}

fn told(error: &WorkError) -> Value {
    json!({ "code": error.code, "message": error.message })
}

fn push_json(text: &mut String, bytes: &Bytes) {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(raw) => text.push_str(raw.get()),
        Err(_) if bytes.is_empty() => text.push_str("null"),
        Err(_) => {
            let encoded = BASE64_STANDARD.encode(bytes);
            text.push_str(&json!({ "base64": encoded }).to_string());
        }
    }
}
