//! Adding payloads to streams and reading them back.

use std::sync::PoisonError;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::entry::{BY, By, Entry, HEADER, PAYLOAD};
use super::link::{Fault, Link};
use super::streams::Streams;
use super::stub::Reference;
use crate::mailbox::MailboxError;
use crate::model::{Content, QueueId, StreamId, WorkError};

/// Reading may take so many times the timeout in all, as long as each answer comes within it: it keeps nobody
/// but readers, and what is read at once may have some megabytes.
const READ_TIMEOUTS: u32 = 10;

/// A payload on its way into a stream.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// The stream's key.
    pub(super) key: &'a str,
    pub(super) by: By,
    pub(super) content: &'a Content,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// In the stream.
    There(StreamId),
    /// Not there.
    Here,
    /// Perhaps there: it was sent, and no answer came.
    InDoubt,
}

/// A payload as it was read, or why a message can't be delivered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) payload: Bytes,
    pub(super) trouble: Option<WorkError>,
}

impl Streams {
    /// Adds payloads in their order, as many as Redis takes in time; says of each what became of it. An answer
    /// that doesn't come keeps the caller once: nothing is tried after it until Redis is there again.
    pub(super) fn add(&self, outgoing: &[Outgoing<'_>]) -> Vec<Kept> {
        let mut kept = vec![Kept::Here; outgoing.len()];
        if outgoing.is_empty() || self.check_reach().is_err() {
            return kept;
        }
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = keeper.as_mut() else { return kept };
        let (answers, cut_off) = link.ask_all(outgoing.iter().map(xadd), self.options.timeout);
        if cut_off.is_some() {
            *keeper = None;
        }
        drop(keeper);
        let unanswered = answers.len()..;
        let mut refused = None;
        for (kept, answer) in kept.iter_mut().zip(answers) {
            match stream_id(answer) {
                Ok(id) => *kept = Kept::There(id),
                Err(fault) => refused = refused.or(Some(fault)),
            }
        }
        if cut_off.is_some() {
            kept[unanswered].fill(Kept::InDoubt);
        }
        if let Some(fault) = cut_off.or(refused) {
            self.set_down(&fault);
        }
        kept
    }

    /// What is behind references of one queue, in their order. `Err`: Redis can't be asked.
    pub(super) fn fetch(
        &self,
        queue: QueueId,
        references: &[Reference],
    ) -> Result<Vec<Fetched>, MailboxError> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        self.check_reach()?;
        let key = self.state().queues.get(&queue).map(|stream| stream.key.clone());
        let key = key.ok_or_else(|| MailboxError::Inconsistent {
            what: format!("queue {queue} has no stream"),
        })?;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match reader.as_mut() {
            Some(link) => find(link, &key, references, self.options.timeout * READ_TIMEOUTS),
            None => Err(Fault("the connection was lost".to_owned())),
        };
        match found {
            Ok(entries) => Ok(entries
                .iter()
                .zip(references)
                .map(|(entry, reference)| fetched(entry.as_ref(), *reference, &key))
                .collect()),
            Err(fault) => {
                *reader = None;
                drop(reader);
                self.set_down(&fault);
                Err(MailboxError::Unreachable { reason: fault.to_string() })
            }
        }
    }
}

fn xadd(outgoing: &Outgoing<'_>) -> Cmd {
    let Outgoing { key, by, content } = *outgoing;
    let mut command = redis::cmd("XADD");
    command.arg(key).arg("*").arg(PAYLOAD).arg(&content.payload[..]);
    command.arg(HEADER).arg(&content.header.json()[..]).arg(BY).arg(by.to_text());
    command
}

fn find(
    link: &mut Link,
    key: &str,
    references: &[Reference],
    limit: std::time::Duration,
) -> Result<Vec<Option<Entry>>, Fault> {
    let commands = references.iter().map(|reference| {
        let id = reference.id.to_string();
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(&id).arg(&id);
        command
    });
    let (answers, fault) = link.ask_all(commands, limit);
    if let Some(fault) = fault {
        return Err(fault);
    }
    answers.into_iter().map(|answer| Ok(entries(answer)?.into_iter().next())).collect()
}

fn fetched(entry: Option<&Entry>, reference: Reference, key: &str) -> Fetched {
    let lost = |what: &str| WorkError {
        code: "lost".to_owned(),
        message: format!("Redis {what} entry {} of stream {key}", reference.id),
        detail: "The payload is gone: edit the message to give it another one, or cancel it."
            .to_owned(),
    };
    let Some(entry) = entry else {
        return Fetched { payload: Bytes::new(), trouble: Some(lost("has no longer")) };
    };
    let arrival = entry.to_arrival();
    let trouble = match arrival.entry.refused {
        Some(refused) => Some(refused),
        None if arrival.content.payload.len() as u64 != reference.len => {
            Some(lost("has another payload in"))
        }
        None => None,
    };
    Fetched { payload: arrival.content.payload, trouble }
}

/// The id that an `XADD` gave.
fn stream_id(answer: Value) -> Result<StreamId, Fault> {
    match answer.extract_error()? {
        Value::BulkString(text) => parse_id(&text),
        other => Err(unexpected(&other)),
    }
}

/// The entries that an `XRANGE` gave, or one stream of an `XREAD`.
pub(super) fn entries(answer: Value) -> Result<Vec<Entry>, Fault> {
    match answer.extract_error()? {
        Value::Array(entries) => entries.into_iter().map(entry).collect(),
        Value::Nil => Ok(Vec::new()),
        other => Err(unexpected(&other)),
    }
}

fn entry(value: Value) -> Result<Entry, Fault> {
    let (id, fields) = pair(value)?;
    let Value::BulkString(id) = id else { return Err(unexpected(&id)) };
    let id = parse_id(&id)?;
    let fields = match fields {
        Value::Array(fields) => fields,
        // Removed between being found and being told.
        Value::Nil => Vec::new(),
        other => return Err(unexpected(&other)),
    };
    let mut texts = fields.into_iter().map(|field| match field {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        other => Err(unexpected(&other)),
    });
    let mut fields = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        fields.push((name?, value?));
    }
    Ok(Entry { id, fields })
}

/// Two values that come as one.
pub(super) fn pair(value: Value) -> Result<(Value, Value), Fault> {
    match value {
        Value::Array(values) => match <[Value; 2]>::try_from(values) {
            Ok([first, second]) => Ok((first, second)),
            Err(values) => Err(unexpected(&Value::Array(values))),
        },
        other => Err(unexpected(&other)),
    }
}

fn parse_id(text: &[u8]) -> Result<StreamId, Fault> {
    String::from_utf8_lossy(text).parse().map_err(Fault)
}

pub(super) fn unexpected(value: &Value) -> Fault {
    let what = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) => "a text",
        Value::Array(_) => "a list of another form",
        _ => "something else",
    };
    Fault(format!("it answers {what}, which is not what Redis answers"))
}
