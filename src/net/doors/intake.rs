//! What comes by a door that answers nobody, read and handed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Door;
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::model::{Content, Header, MessageId, RejectCode, Rejection};
use crate::net::fitting::fitting_push;
use crate::net::guard::{Phase, reached};
use crate::net::intake::Intake;
use crate::net::plain::Parcel;
use crate::net::{Inbound, Pushed};
use crate::schema::Checks;
use crate::wire::{ClientRequest, MAGIC, SendRequest};

/// How much of a header that can't be read is kept beside the payload, in bytes.
const KEPT_HEADER_BYTES: usize = 4096;
/// How long a message waits for a schema that can't be asked now, and what comes after it by the door: twice as long as one
/// isn't asked that took too long. Then it is refused.
const PATIENCE: Duration = Duration::from_secs(60);
/// When to try again if that isn't said, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The way from one door into the loop.
pub(super) struct Intaking {
    pub(super) door: Door,
    pub(super) received: Arc<AtomicU64>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) checks: Option<Arc<Checks>>,
    pub(super) new_message_id: fn() -> MessageId,
}

impl Intaking {
    /// Runs until the broker stops.
    pub(super) async fn run(
        self,
        mut parcels: mpsc::Receiver<Parcel>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let intake = Intake::new(self.inbound.clone());
        loop {
            let parcel = tokio::select! {
                parcel = parcels.recv() => parcel,
                () = reached(&mut phase, Phase::Draining) => return,
            };
            let Some(Parcel { frames, .. }) = parcel else { return };
            self.received.fetch_add(1, Relaxed);
            let bytes = frames.iter().map(Bytes::len).sum();
            let pushed = match self.door {
                Door::Push => self.envelope(frames),
                Door::Feed => self.published(frames),
            };
            let fitted = tokio::select! {
                fitted = self.fitted(pushed) => fitted,
                () = reached(&mut phase, Phase::Draining) => return,
            };
            for pushed in fitted {
                let event = Inbound::Pushed { door: self.door, pushed };
                if intake.send(event, bytes).await.is_err() {
                    // The loop has ended; the phase follows.
                    return reached(&mut phase, Phase::Draining).await;
                }
            }
        }
    }

    /// What goes to the loop: as it came, or refused, each message by itself.
    async fn fitted(&self, pushed: Pushed) -> Vec<Pushed> {
        let given_up = Instant::now() + PATIENCE;
        let checked = loop {
            match fitting_push(self.checks.as_deref(), &pushed).await {
                // There is nobody to try again: the door does.
                Err(Rejection { code: RejectCode::Busy, retry_after_ms, .. })
                    if Instant::now() < given_up =>
                {
                    let pause = Duration::from_millis(retry_after_ms.unwrap_or(RETRY_MS));
                    sleep_until(given_up.min(Instant::now() + pause)).await;
                }
                checked => break checked,
            }
        };
        match (checked, pushed) {
            (Err(rejection), Pushed::Send(sends)) => {
                let refused = |send: SendRequest| Pushed::Refused {
                    content: send.content,
                    queue: Some(send.queue),
                    rejection: rejection.clone(),
                };
                sends.into_iter().map(refused).collect()
            }
            (Ok(()) | Err(_), pushed) => vec![pushed],
        }
    }

    /// A client's envelope, with or without a delimiter before it.
    fn envelope(&self, mut frames: Vec<Bytes>) -> Pushed {
        if frames.first().is_some_and(Bytes::is_empty) {
            frames.remove(0);
        }
        let kept = frames.clone();
        match ClientRequest::decode(frames, self.new_message_id) {
            Ok(ClientRequest::Send(send)) => Pushed::Send(vec![send]),
            Ok(ClientRequest::SendMany(sends)) => Pushed::Send(sends),
            Ok(ClientRequest::Publish { topic, content, mandatory }) => {
                Pushed::Publish { topic, content, mandatory }
            }
            Ok(_) => {
                let reason = "nobody is answered here; SEND, SENDMANY and PUBLISH are taken";
                self.unreadable(&kept, Rejection::new(RejectCode::Unsupported, reason))
            }
            Err(rejection) => self.unreadable(&kept, rejection),
        }
    }

    /// A topic, perhaps a message's header, and a payload: what `live` of another broker tells, too.
    fn published(&self, frames: Vec<Bytes>) -> Pushed {
        let refused =
            |code, reason: &str| self.unreadable(&frames, Rejection::new(code, reason.to_owned()));
        let (topic, header, payload) = match frames.as_slice() {
            [topic, payload] => (topic, None, payload),
            [topic, header, payload] => (topic, Some(header), payload),
            _ => {
                let reason = "a topic and a payload are needed, or a topic, a header and a payload";
                return refused(RejectCode::Malformed, reason);
            }
        };
        let mut fields = match header.map(|header| serde_json::from_slice::<Value>(header)) {
            None => serde_json::Map::new(),
            Some(Ok(Value::Object(fields))) => fields,
            Some(Ok(_) | Err(_)) => {
                return refused(RejectCode::Malformed, "the header is not a JSON object");
            }
        };
        let topic = String::from_utf8_lossy(topic).into_owned();
        fields.insert("topic".to_owned(), Value::String(topic));
        let header = Bytes::from(Value::Object(fields).to_string());
        let verb = Bytes::from_static(b"PUBLISH");
        let envelope = vec![Bytes::from_static(MAGIC), verb, header, payload.clone()];
        match ClientRequest::decode(envelope, self.new_message_id) {
            Ok(ClientRequest::Publish { topic, content, mandatory }) => {
                Pushed::Publish { topic, content, mandatory }
            }
            Ok(_) => refused(RejectCode::Malformed, "it can't be published"),
            Err(rejection) => self.unreadable(&frames, rejection),
        }
    }

    /// What can be kept of it: the payload of an envelope, or all frames, a line each; and the header as a text.
    fn unreadable(&self, frames: &[Bytes], rejection: Rejection) -> Pushed {
        let (header, payload) = match frames {
            [magic, _, header, payload] if magic == MAGIC => (Some(header), payload.clone()),
            [only] => (None, only.clone()),
            frames => (None, Bytes::from(frames.join(&b'\n'))),
        };
        let payload = payload.slice(..payload.len().min(MAX_PAYLOAD_BYTES));
        let mut kept = json!({ "frames": frames.len() });
        if let (Some(header), Some(fields)) = (header, kept.as_object_mut()) {
            let text = String::from_utf8_lossy(&header[..header.len().min(KEPT_HEADER_BYTES)]);
            fields.insert("header".to_owned(), Value::String(text.into_owned()));
        }
        let fields = json!({ "content_type": "application/octet-stream", "headers": kept });
        let fields = fields.as_object().cloned().unwrap_or_default();
        let header = Header::from_map(fields, self.new_message_id)
            .expect("a small header of known fields can be read");
        Pushed::Refused { content: Content { header, payload }, queue: None, rejection }
    }
}
