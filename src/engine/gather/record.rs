//! What the store keeps of a gather.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::process::ProcessNumber;
use crate::model::{
    Aggregate, Completion, Content, GatherName, GatherStatus, Header, ProcessParts, QueueId,
    QueueName, Seq, Timestamp, WorkError,
};

use super::begin::name_of;
use super::{Gather, Outcome, Recipient};

/// The version of a record's form.
const VERSION: u32 = 1;
/// What a recipient's record begins with.
const PART: u8 = b'+';
const FAILED: u8 = b'-';

/// Part 0.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The request's header.
    header: String,
    complete: Value,
    aggregate: Aggregate,
    /// Its deadline; at its end until when it is kept.
    until: Timestamp,
    recipients: Vec<(QueueId, QueueName, Seq)>,
    #[serde(default)]
    began_at: Option<Timestamp>,
    ended: Option<GatherStatus>,
    condition_error: Option<String>,
    /// At its end, for each recipient why it was blocked; empty if none was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<Option<WorkError>>,
}

impl Gather {
    pub(super) fn record(&self, until: Timestamp) -> Bytes {
        let recipients = self.recipients.iter();
        let blocked = recipients.clone().map(|one| one.blocked.clone());
        let is_any = recipients.clone().any(|one| one.blocked.is_some());
        let record = Record {
            version: VERSION,
            header: String::from_utf8_lossy(self.request.header.json()).into_owned(),
            complete: self.complete.to_json(),
            aggregate: self.aggregate,
            until,
            recipients: recipients.map(|one| (one.queue, one.name.clone(), one.seq)).collect(),
            began_at: self.began_at,
            ended: self.ended,
            condition_error: self.condition_error.clone(),
            blocked: if is_any { blocked.collect() } else { Vec::new() },
        };
        serde_json::to_vec(&record).expect("names, numbers and texts have JSON").into()
    }

    /// A gather out of its records, and its time; `None` if they can't be read.
    fn read(name: Option<GatherName>, parts: &ProcessParts) -> Option<(Self, Timestamp)> {
        let record: Record = serde_json::from_slice(parts.get(&0)?).ok()?;
        if record.version != VERSION {
            return None;
        }
        let header = Header::from_json(record.header.as_bytes()).ok()?;
        let blocked = record.blocked.into_iter().chain(std::iter::repeat(None));
        let recipients = (1_u16..).zip(record.recipients).zip(blocked);
        let recipients = recipients.map(|((part, (queue, name, seq)), blocked)| {
            let outcome = parts.get(&part).and_then(Outcome::read);
            Recipient { queue, name, seq, outcome, blocked }
        });
        let gather = Self {
            name,
            request: Content { header, payload: Bytes::new() },
            complete: Completion::of_json(&record.complete).ok()?,
            aggregate: record.aggregate,
            recipients: recipients.collect(),
            began_at: record.began_at,
            ended: record.ended,
            condition_error: record.condition_error,
            origins: Default::default(),
        };
        Some((gather, record.until))
    }
}

impl Outcome {
    pub(super) fn record(&self) -> Bytes {
        match self {
            Self::Part(payload) => {
                let mut record = BytesMut::with_capacity(payload.len().saturating_add(1));
                record.put_u8(PART);
                record.put_slice(payload);
                record.freeze()
            }
            Self::Failed(error) => {
                let mut record = vec![FAILED];
                serde_json::to_writer(&mut record, error).expect("an error's texts have JSON");
                record.into()
            }
        }
    }

    fn read(record: &Bytes) -> Option<Self> {
        match record.split_first()? {
            (&PART, _) => Some(Self::Part(record.slice(1..))),
            (&FAILED, error) => serde_json::from_slice::<WorkError>(error).ok().map(Self::Failed),
            (_, _) => None,
        }
    }
}

impl Engine {
    /// A gather out of its records; `false` if they can't be read.
    pub(in crate::engine) fn recover_gather(
        &mut self,
        number: ProcessNumber,
        parts: &ProcessParts,
    ) -> bool {
        let name = self.processes.key(number).and_then(name_of);
        let Some((gather, until)) = Gather::read(name, parts) else { return false };
        let waits: Vec<_> = gather
            .recipients
            .iter()
            .filter(|recipient| recipient.outcome.is_none())
            .filter_map(|recipient| Some((self.queues.by_id(recipient.queue)?, recipient.seq)))
            .collect();
        if gather.ended.is_some() {
            self.gathers.kept.push_back(number);
            let bytes = gather.bytes() as u64;
            self.gathers.kept_bytes = self.gathers.kept_bytes.saturating_add(bytes);
        }
        self.gathers.by_number.insert(number, gather);
        self.process_due(number, Some(until));
        for place in waits {
            self.process_waits(number, place);
        }
        true
    }

    /// All gathers are recovered: those at their end in the order of their time.
    pub(in crate::engine) fn order_gathers(&mut self) {
        let mut kept = std::mem::take(&mut self.gathers.kept);
        kept.make_contiguous().sort_by_key(|&number| (self.process_due_at(number), number));
        self.gathers.kept = kept;
    }
}
