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
    pub(super) queue: QueueId,
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
    /// Adds payloads in their order, all of them or none; says of each what became of it. An answer
    /// that doesn't come keeps the caller once: nothing is tried after it until Redis is there again.
    pub(super) fn add(&self, outgoing: &[Outgoing<'_>]) -> Vec<Kept> {
        let mut kept = vec![Kept::Here; outgoing.len()];
        if outgoing.is_empty() || self.check_reach().is_err() {
            return kept;
        }
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = keeper.as_mut() else { return kept };
        let (answers, cut_off) = link.ask_all(transaction(outgoing), self.options.timeout);
        if cut_off.is_some() {
            *keeper = None;
        }
        drop(keeper);
        if let Some(fault) = cut_off {
            kept.fill(Kept::InDoubt);
            // Known before Redis is looked for again, so before any of them is found.
            self.doubt(outgoing.iter().map(|outgoing| (outgoing.queue, outgoing.by.seq)));
            self.set_down(&fault);
            return kept;
        }
        let (ids, mut refused) = added(answers, outgoing.len());
        for (kept, id) in kept.iter_mut().zip(ids) {
            match id {
                Ok(id) => *kept = Kept::There(id),
                Err(fault) => refused = refused.or(Some(fault)),
            }
        }
        if let Some(fault) = refused {
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

/// Several are one transaction: a crash of either side in the middle of it leaves nothing, not a part of a batch.
fn transaction<'a>(outgoing: &'a [Outgoing<'_>]) -> impl Iterator<Item = Cmd> + 'a {
    let around = |name| (outgoing.len() > 1).then(|| redis::cmd(name));
    around("MULTI").into_iter().chain(outgoing.iter().map(xadd)).chain(around("EXEC"))
}

/// What the answers to a [`transaction`] of `count` payloads say of each; and why there are none, if there are none.
fn added(mut answers: Vec<Value>, count: usize) -> (Vec<Result<StreamId, Fault>>, Option<Fault>) {
    let ids = |answers: Vec<Value>| answers.into_iter().map(stream_id).collect();
    if count == 1 {
        return (ids(answers), None);
    }
    let done = answers.pop();
    // A user who may not: each was added by itself.
    if let Some(Value::ServerError(_)) = answers.first() {
        answers.remove(0);
        return (ids(answers), None);
    }
    match done {
        Some(Value::Array(answers)) => (ids(answers), None),
        Some(answer) => {
            // The first refusal says more than that of the whole.
            let refusals = answers.into_iter().filter(|a| matches!(a, Value::ServerError(_)));
            let refusal = refusals.chain([answer]).next().map(stream_id);
            (Vec::new(), refusal.and_then(Result::err))
        }
        None => (Vec::new(), None),
    }
}

fn xadd(outgoing: &Outgoing<'_>) -> Cmd {
    let Outgoing { key, by, content, .. } = *outgoing;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    /// As the server answers.
    fn refusal(code: &str) -> Value {
        redis::parse_redis_value(format!("-{code} no\r\n").as_bytes()).unwrap()
    }

    fn of(answers: Vec<Value>, count: usize) -> (Vec<Option<String>>, Option<String>) {
        let (ids, refused) = added(answers, count);
        let ids = ids.into_iter().map(|id| id.ok().map(|id| id.to_string()));
        (ids.collect(), refused.map(|fault| fault.to_string()))
    }

    #[test]
    fn each_payload_of_a_transaction_is_there_or_none_is() {
        let queued = || Value::SimpleString("QUEUED".to_owned());
        let there = |text: &str| Some(text.to_owned());
        assert_eq!(of(vec![id("1-1")], 1), (vec![there("1-1")], None));
        let done = Value::Array(vec![id("1-1"), id("1-2")]);
        let answers = vec![Value::Okay, queued(), queued(), done];
        assert_eq!(of(answers, 2), (vec![there("1-1"), there("1-2")], None));
        // A key that isn't a stream: the others were added.
        let done = Value::Array(vec![refusal("WRONGTYPE"), id("1-2")]);
        let answers = vec![Value::Okay, queued(), queued(), done];
        assert_eq!(of(answers, 2), (vec![None, there("1-2")], None));
        let answers = vec![Value::Okay, queued(), refusal("OOM"), refusal("EXECABORT")];
        let (ids, refused) = of(answers, 2);
        assert!(ids.is_empty() && refused.is_some_and(|why| why.contains("OOM")));
        let answers = vec![refusal("NOPERM"), id("1-1"), refusal("OOM"), refusal("ERR")];
        assert_eq!(of(answers, 2), (vec![there("1-1"), None], None));
    }
}
