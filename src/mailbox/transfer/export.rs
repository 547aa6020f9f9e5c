//! From a store to lines.

use std::collections::VecDeque;

use super::TransferError;
use super::line::{
    Counts, FinishedLine, Line, MessageLine, ProcessLine, QueueLine, RemovedLine, RevisionLine,
    Start, UnreadableLine, VERSION,
};
use crate::mailbox::{Durable, Mailbox, MailboxError};
use crate::model::{
    Content, MessageId, Payload, ProcessRecord, QueueBacklog, QueueId, QueueName, QueueRecord,
    Recovered, RemovedQueues, Revision, Seq, StoredMessage,
};

/// Messages read at once, and their bytes: what is held in RAM.
const PAGE_MESSAGES: usize = 256;
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Journal entries read at once.
const PAGE_JOURNAL: usize = 500;

/// Gives all that a store holds to `put`, line by line, and returns how many there were. `recovered` is the
/// store's own. Nothing may be appended meanwhile.
pub fn export(
    mailbox: &dyn Durable,
    recovered: Recovered,
    put: &mut dyn FnMut(Line) -> Result<(), TransferError>,
) -> Result<Counts, TransferError> {
    let mut out = Export { mailbox, put, counts: Counts::default() };
    out.put(Line::Export(Start { version: VERSION, generation: recovered.generation }))?;
    for backlog in recovered.queues {
        let QueueBacklog { record, next_seq: next, note, .. } = &backlog;
        let note = (!note.is_empty()).then(|| Payload::from_bytes(note));
        let line = QueueLine { record: record.clone(), next: *next, note };
        out.put(Line::Queue(Box::new(line)))?;
        out.messages(backlog)?;
    }
    let RemovedQueues { last, next } = recovered.removed;
    if last > QueueId(0) {
        out.put(Line::Removed(RemovedLine { last, next }))?;
    }
    recovered
        .subscriptions
        .into_iter()
        .try_for_each(|record| out.put(Line::Subscription(record)))?;
    for ProcessRecord { key: process, part, body } in recovered.processes {
        let body = Payload::from_bytes(&body);
        out.put(Line::Process(ProcessLine { process, part, body }))?;
    }
    out.journal()?;
    recovered.repairs.into_iter().try_for_each(|(_, outcome)| out.put(Line::Repair(outcome)))?;
    out.put(Line::End(out.counts))?;
    Ok(out.counts)
}

struct Export<'a> {
    mailbox: &'a dyn Durable,
    put: &'a mut dyn FnMut(Line) -> Result<(), TransferError>,
    counts: Counts,
}

impl Export<'_> {
    fn put(&mut self, line: Line) -> Result<(), TransferError> {
        self.counts.count(&line);
        (self.put)(line)
    }

    fn journal(&mut self) -> Result<(), TransferError> {
        let mut from = 1;
        loop {
            let page = self.mailbox.journal_from(from, PAGE_JOURNAL)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.number + 1;
            page.into_iter().map(Line::Journal).try_for_each(|line| self.put(line))?;
        }
    }

    /// The messages that wait and the finished ones that are remembered, by place.
    fn messages(&mut self, backlog: QueueBacklog) -> Result<(), TransferError> {
        let QueueRecord { id: queue, name, .. } = backlog.record;
        let mut window: VecDeque<(MessageId, Seq)> = backlog.window.into();
        let mut from = backlog.floor;
        loop {
            let page = self.mailbox.read(queue, from, PAGE_MESSAGES, PAGE_BYTES)?;
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            for message in page {
                self.finished_before(message.seq, &name, &mut window)?;
                // The window has it too, and it has a line of its own.
                window.pop_front_if(|(_, seq)| *seq == message.seq);
                self.put(message_line(self.mailbox, queue, &name, message)?)?;
            }
        }
        self.finished_before(Seq(u64::MAX), &name, &mut window)
    }

    fn finished_before(
        &mut self,
        end: Seq,
        name: &QueueName,
        window: &mut VecDeque<(MessageId, Seq)>,
    ) -> Result<(), TransferError> {
        while let Some((id, seq)) = window.pop_front_if(|(_, seq)| *seq < end) {
            self.put(Line::Finished(FinishedLine { queue: name.clone(), seq, id }))?;
        }
        Ok(())
    }
}

fn message_line(
    mailbox: &dyn Mailbox,
    queue: QueueId,
    name: &QueueName,
    message: StoredMessage,
) -> Result<Line, TransferError> {
    let (name, seq) = (name.clone(), message.seq);
    let contents = match message.unreadable {
        Some(error) => Err(*error),
        None => match contents(mailbox, queue, &message) {
            Err(MailboxError::Unreadable { error, .. }) => Err(error),
            contents => Ok(contents?),
        },
    };
    Ok(match contents {
        Err(error) => {
            let id = message.content.id().clone();
            Line::Unreadable(UnreadableLine { queue: name, seq, id, error })
        }
        Ok((content, revisions)) => Line::Message(Box::new(MessageLine {
            queue: name,
            seq,
            at: message.accepted_at,
            header: header(&content),
            payload: Payload::from_bytes(&content.payload),
            record: message.record.map(|record| *record),
            revisions,
        })),
    })
}

/// What was accepted, and the edits.
fn contents(
    mailbox: &dyn Mailbox,
    queue: QueueId,
    message: &StoredMessage,
) -> Result<(Content, Vec<RevisionLine>), MailboxError> {
    let records = mailbox.revisions(queue, message.seq)?;
    if records.is_empty() {
        return Ok((Content::clone(&message.content), Vec::new()));
    }
    let at = |revision| {
        mailbox.content(queue, message.seq, revision)?.ok_or_else(|| MailboxError::Inconsistent {
            what: format!("revision {revision} of message {} is not there", message.seq),
        })
    };
    let mut revisions = Vec::with_capacity(records.len());
    for (record, _) in records {
        let content = at(record.revision)?;
        let payload = Payload::from_bytes(&content.payload);
        revisions.push(RevisionLine { record, header: header(&content), payload });
    }
    Ok((at(Revision(0))?, revisions))
}

fn header(content: &Content) -> String {
    // It was checked to be JSON when it was accepted, and JSON is UTF-8.
    String::from_utf8_lossy(content.header.json()).into_owned()
}
