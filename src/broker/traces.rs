//! Spans of what the loop does with messages, made of the engine's events and effects. Off, each place asks one `Option`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;

use super::event_loop::EventLoop;
use super::pipeline::Release;
use crate::engine::Event;
use crate::model::{
    Content, DeliveryId, MessageId, Origin, QueueName, RejectCode, Seq, Span, SpanCounts, SpanKind,
    TraceContext,
};

/// Deliveries that are remembered for what settles them. Workers that go leave theirs behind: beyond, all are forgotten, and
/// the settlements of those have no span.
const MAX_LEASES: usize = 65_536;

/// Where spans go.
#[derive(Debug, Clone)]
pub struct SpanSink {
    /// Has its bound; what finds it full is dropped.
    pub spans: mpsc::Sender<Span>,
    /// What came of them.
    pub counts: Arc<SpanCounts>,
    /// The share of messages without a `traceparent` that get a trace, from 0 to 1.
    pub sample_ratio: f64,
}

/// What a span is of, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Request(Origin),
    Delivery(DeliveryId),
}

/// Spans that end once what they are of is durable.
#[derive(Debug)]
pub(super) struct Begun {
    subject: Subject,
    spans: Vec<Span>,
}

/// What was handed out in a trace.
struct Lease {
    context: TraceContext,
    /// The delivery's span.
    span_id: [u8; 8],
    queue: QueueName,
    seq: Seq,
    attempt: u32,
    id: MessageId,
}

/// What is known of traces.
pub(super) struct Traces {
    sink: SpanSink,
    leases: HashMap<DeliveryId, Lease>,
    /// Begun and not ended.
    open: HashSet<Subject>,
    /// What went wrong with them.
    errors: HashMap<Subject, String>,
}

impl Traces {
    pub(super) fn new(sink: SpanSink) -> Self {
        let (leases, open, errors) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { sink, leases, open, errors }
    }

    /// The trace of a message, if it is kept. One without a `traceparent` is in a trace that its id names: so its steps find
    /// together, over a restart, too, though its header stays as it is.
    fn context(&self, content: &Content) -> Option<TraceContext> {
        if let Some(context) = TraceContext::of_header(&content.header) {
            return context.is_sampled.then_some(context);
        }
        if self.sink.sample_ratio <= 0.0 {
            return None;
        }
        let hash = digest(&SHA256, content.id().as_str().as_bytes());
        let (trace_id, rest) = hash.as_ref().split_first_chunk::<16>()?;
        let number = u64::from_be_bytes(*rest.first_chunk()?);
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let is_sampled = (number as f64) < self.sink.sample_ratio * (u64::MAX as f64);
        let state = String::new();
        is_sampled.then_some(TraceContext { trace_id: *trace_id, parent: None, is_sampled, state })
    }

    fn begin(&mut self, event: &Event, now: u64) -> Option<Begun> {
        let published = |destination: &str, content: &Content| {
            let context = self.context(content)?;
            let body_bytes = Some(content.payload.len() as u64);
            let span = span(SpanKind::Publish, context, content.id(), (destination, now));
            Some(Span { body_bytes, ..span })
        };
        let (subject, spans): (_, Vec<Span>) = match event {
            Event::Send { origin, messages, .. } => {
                let spans = messages.iter();
                let spans = spans.filter_map(|(queue, content)| published(queue.as_str(), content));
                (Subject::Request(*origin), spans.collect())
            }
            Event::Publish { origin, topic, content, .. } => {
                let span = published(topic.as_str(), content);
                (Subject::Request(*origin), span.into_iter().collect())
            }
            Event::Start { origin, saga, input } => {
                let span = published(saga.as_str(), input);
                (Subject::Request(*origin), span.into_iter().collect())
            }
            Event::Gather { origin, request } => {
                let span = published(&request.destination(), &request.content);
                (Subject::Request(*origin), span.into_iter().collect())
            }
            Event::Ack { delivery, .. } => {
                (Subject::Delivery(*delivery), self.settled(SpanKind::Ack, *delivery, now))
            }
            Event::Nack { delivery, error, .. } => {
                let mut spans = self.settled(SpanKind::Nack, *delivery, now);
                spans.iter_mut().for_each(|span| span.error = Some(error.code.clone()));
                (Subject::Delivery(*delivery), spans)
            }
            _ => return None,
        };
        if spans.is_empty() {
            return None;
        }
        self.open.insert(subject);
        Some(Begun { subject, spans })
    }

    fn settled(&mut self, kind: SpanKind, delivery: DeliveryId, now: u64) -> Vec<Span> {
        let Some(lease) = self.leases.remove(&delivery) else { return Vec::new() };
        let Lease { context, span_id, queue, seq, attempt, id } = lease;
        let span = span(kind, context, &id, (queue.as_str(), now));
        vec![Span { parent: Some(span_id), seq: Some(seq), attempt: Some(attempt), ..span }]
    }

    fn end(&mut self, begun: Begun, now: u64) {
        self.open.remove(&begun.subject);
        let error = self.errors.remove(&begun.subject);
        for span in begun.spans {
            let error = error.clone().or(span.error);
            self.tell(Span { end_nanos: now, error, ..span });
        }
    }

    fn fail(&mut self, subject: Subject, error: impl FnOnce() -> String) {
        if self.open.contains(&subject) {
            self.errors.insert(subject, error());
        }
    }

    fn tell(&self, span: Span) {
        if self.sink.spans.try_send(span).is_err() {
            self.sink.counts.dropped(1);
        }
    }
}

fn span(
    kind: SpanKind,
    context: TraceContext,
    id: &MessageId,
    (destination, now): (&str, u64),
) -> Span {
    let TraceContext { trace_id, parent, state, .. } = context;
    Span {
        kind,
        trace_id,
        span_id: fastrand::u64(1..).to_be_bytes(),
        parent,
        state,
        destination: destination.to_owned(),
        message_id: id.clone(),
        body_bytes: None,
        seq: None,
        attempt: None,
        start_nanos: now,
        end_nanos: now,
        error: None,
    }
}

impl EventLoop {
    /// What an event begins, if anything that is traced.
    pub(super) fn begin_spans(&mut self, event: &Event) -> Option<Begun> {
        let traces = self.traces.as_mut()?;
        traces.begin(event, self.clock.unix_nanos())
    }

    /// Lets it end with what is not durable yet.
    pub(super) fn hold_spans(&mut self, begun: Begun) {
        self.pipeline.release(Release::Spans(Box::new(begun)), &mut self.ready);
    }

    pub(super) fn end_spans(&mut self, begun: Begun) {
        if let Some(traces) = &mut self.traces {
            traces.end(begun, self.clock.unix_nanos());
        }
    }

    /// What was begun and was not durable when the store failed.
    pub(super) fn forget_spans(&mut self) {
        if let Some(traces) = &mut self.traces {
            traces.open.clear();
            traces.errors.clear();
        }
    }

    pub(super) fn trace_rejected(&mut self, origin: Origin, code: RejectCode) {
        if let Some(traces) = &mut self.traces {
            // As on the wire.
            let name = || match serde_json::to_value(code) {
                Ok(serde_json::Value::String(name)) => name,
                Ok(_) | Err(_) => "rejected".to_owned(),
            };
            traces.fail(Subject::Request(origin), name);
        }
    }

    pub(super) fn trace_stale(&mut self, delivery: DeliveryId) {
        if let Some(traces) = &mut self.traces {
            traces.fail(Subject::Delivery(delivery), || "stale".to_owned());
        }
    }

    /// A message goes to a worker.
    pub(super) fn trace_delivery(
        &mut self,
        delivery: DeliveryId,
        (queue, seq, attempt): (&QueueName, Seq, u32),
        content: &Content,
    ) {
        let Some(traces) = &mut self.traces else { return };
        let Some(context) = traces.context(content) else { return };
        let id = content.id();
        let place = (queue.as_str(), self.clock.unix_nanos());
        let span = span(SpanKind::Deliver, context.clone(), id, place);
        let span_id = span.span_id;
        let body_bytes = Some(content.payload.len() as u64);
        traces.tell(Span { body_bytes, seq: Some(seq), attempt: Some(attempt), ..span });
        if traces.leases.len() >= MAX_LEASES {
            traces.leases.clear();
        }
        let (queue, id) = (queue.clone(), id.clone());
        traces.leases.insert(delivery, Lease { context, span_id, queue, seq, attempt, id });
    }
}
