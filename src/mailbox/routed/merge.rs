//! Both parts of a queue as one, by place.

use std::collections::BTreeSet;

use super::RoutedMailbox;
use crate::mailbox::memory::Part;
use crate::mailbox::{Mailbox as _, MailboxError};
use crate::model::{QueueBacklog, QueueId, Seq, StoredMessage};

impl RoutedMailbox {
    /// Reads stretch by stretch, each from the part that has it.
    ///
    /// A message only ever moves from RAM to the durable store, where it is before it leaves RAM; a new one
    /// comes behind all others. So what is not in RAM when it is looked for there first is found in the
    /// durable store, if it waits at all.
    pub(super) fn read_both(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let mut messages: Vec<StoredMessage> = Vec::new();
        let mut bytes = 0;
        let mut from = from;
        while messages.len() < max_messages {
            let in_memory = self.memory.first_from(queue, from);
            let durable = self.durable.first_unfinished(queue, from);
            let (start, end, is_durable) = match (in_memory, durable) {
                (None, None) => break,
                (Some(here), None) => (here, None, false),
                (None, Some(there)) => (there, None, true),
                (Some(here), Some(there)) if here < there => (here, Some(there), false),
                // In both: the queue is just moving, so all that is in RAM is in the durable store too.
                (Some(here), Some(there)) if here == there => (there, None, true),
                (Some(here), Some(there)) => (there, Some(here), true),
            };
            let room = (max_messages - messages.len(), max_bytes.saturating_sub(bytes));
            let stretch = if is_durable {
                match self.durable.read(queue, start, room.0, room.1) {
                    // What is before needs no Redis.
                    Err(MailboxError::Unreachable { .. }) if !messages.is_empty() => break,
                    read => read?,
                }
            } else {
                self.memory.read(queue, start, room.0, room.1)?
            };
            // All that waits is in RAM: nothing comes between.
            if end.is_none() && !is_durable && messages.is_empty() && !stretch.is_empty() {
                return Ok(stretch);
            }
            // The first one comes even if it is too large: only the very first of all may be.
            let stretch =
                stretch.into_iter().take_while(|next| end.is_none_or(|end| next.seq < end));
            let before = messages.len();
            for message in stretch {
                bytes += message.content.size_bytes() as usize;
                if bytes > max_bytes && !messages.is_empty() {
                    return Ok(messages);
                }
                messages.push(message);
            }
            from = match messages.last().filter(|_| messages.len() > before) {
                Some(last) => last.seq.next(),
                // Finished since.
                None if is_durable => start.next(),
                // Finished or moved since.
                None => start,
            };
        }
        Ok(messages)
    }
}

/// What waits in either part. `durable` counts the places in RAM as finished.
pub(super) fn merged(durable: QueueBacklog, part: Part) -> QueueBacklog {
    // Those set aside beyond were never used.
    let next_seq = part.next;
    let in_memory: BTreeSet<Seq> = part.places.iter().copied().collect();
    let first_durable = Some(durable.floor).filter(|&floor| floor < durable.next_seq);
    let first_in_memory = in_memory.first().copied();
    let floor = first_durable.into_iter().chain(first_in_memory).min().unwrap_or(next_seq);
    let around = (floor.0..durable.floor.0).chain(durable.next_seq.0..next_seq.0).map(Seq);
    let mut finished: Vec<Seq> = around.chain(durable.finished).collect();
    finished.retain(|seq| *seq > floor && *seq < next_seq && !in_memory.contains(seq));
    finished.sort_unstable();
    let is_first_durable = first_durable.is_some_and(|durable| durable == floor);
    let mut records = durable.records;
    records.extend(part.records);
    records.sort_by_key(|&(seq, _)| seq);
    let mut window = durable.window;
    window.extend(part.window);
    window.sort_by_key(|&(_, seq)| seq);
    window.dedup_by_key(|&mut (_, seq)| seq);
    let last = durable.record.settings.dedup.last() as usize;
    window.drain(..window.len().saturating_sub(last));
    QueueBacklog {
        floor,
        next_seq,
        finished,
        bytes: durable.bytes + part.bytes,
        oldest_at: if is_first_durable { durable.oldest_at } else { part.oldest_at },
        records,
        window,
        ..durable
    }
}
