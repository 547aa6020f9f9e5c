//! Lists of a queue's messages, page by page. A page ends when it is full, and when enough has been looked at for it: a
//! long backlog is never looked through at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{BrokerHandle, OperatorError, no_such_queue, summary};
use crate::engine::{MessageOverlay, Noted, NotedQuery};
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::limits::{MAX_FILTER_COST, MAX_PAGE};
use crate::model::{
    ErrorGroupId, ErrorGroupPage, ErrorGroupView, FilterBudget, MessageFilter, MessagePage,
    QueueId, QueueName, Seq, StoredMessage, Timestamp, error_pattern,
};

/// Messages that are looked at for one page: as many as take some milliseconds to read.
const PAGE_LOOKS: usize = 2_048;
/// Of these, in one read: others wait for the store's reader meanwhile.
const READ_LOOKS: usize = 256;
/// Messages that are read at a step of it where there is a filter, and no further step after so long: they may stand far
/// apart.
const STEP_LOOKS: usize = 32;
const READ_TIME: Duration = Duration::from_millis(4);
/// Header and payload bytes of one such read: a few milliseconds' worth.
const READ_BYTES: usize = 2 * 1024 * 1024;
/// The same if the payloads are looked into: to parse a mebibyte takes as long as the rest of a page.
const INSIDE_BYTES: usize = 512 * 1024;
/// No further read is begun for a page after this: a page takes less than 20 ms also where a read takes long.
const PAGE_TIME: Duration = Duration::from_millis(8);
/// What filters may cost in one read, in steps: some milliseconds.
const READ_COST: u64 = 4 * MAX_FILTER_COST;
/// Noted messages that one turn of the loop looks at: less than half a millisecond.
const NOTED_LOOKS: usize = 1_024;
/// And for one page of error groups, in several turns.
const GROUP_LOOKS: usize = 4 * NOTED_LOOKS;

/// A message of a page, and what the engine knows of it.
type Row = (StoredMessage, MessageOverlay);

/// What one look for messages brought.
struct Looked {
    /// Those that may be wanted.
    found: Vec<StoredMessage>,
    /// How many were looked at, or what that is worth.
    looks: usize,
    next: Option<Seq>,
}

impl BrokerHandle {
    /// A page of a queue's messages from place `from` on, those that the filter takes: at most `limit` rows, and at most
    /// `limits::MAX_PAGE`. It may have fewer, with `next` set: what was looked at is bounded too.
    pub async fn messages(
        &self,
        queue: &QueueName,
        from: Seq,
        limit: usize,
        filter: &MessageFilter,
    ) -> Result<MessagePage, OperatorError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (rows, next) = self.rows(queue, from, limit, filter).await?;
        let messages = rows.iter().map(|(message, overlay)| summary(message, overlay)).collect();
        Ok(MessagePage { messages, next })
    }

    async fn rows(
        &self,
        queue: &QueueName,
        from: Seq,
        limit: usize,
        filter: &MessageFilter,
    ) -> Result<(Vec<Row>, Option<Seq>), OperatorError> {
        let begun = Instant::now();
        let name = queue.clone();
        let known = self.ask(move |view| {
            Some((view.engine.queue_id(&name)?, view.engine.newest_place(&name)?, view.now))
        });
        let (id, newest, now) = known.await?.ok_or_else(|| no_such_queue(queue))?;
        let of = Of { queue: queue.clone(), id, newest, now, filter: filter.clone() };
        let is_noted = filter.group.is_some() || filter.state.is_some_and(NotedQuery::finds_all);
        let (mut rows, mut next, mut looks) = (Vec::new(), Some(from), 0);
        while let Some(from) = next {
            let enough = rows.len() == limit || looks >= PAGE_LOOKS;
            if enough || (looks > 0 && begun.elapsed() >= PAGE_TIME) {
                break;
            }
            // One more tells whether there is a next page.
            let wanted = limit + 1 - rows.len();
            let looked = if is_noted {
                self.look_at_noted(&of, from, wanted, begun).await?
            } else {
                self.look_at_all(of.clone(), from, wanted).await?
            };
            looks += looked.looks;
            next = looked.next;
            let seqs = looked.found.iter().map(|message| message.seq).collect();
            let overlays = self.overlays(queue, seqs).await?;
            for (message, overlay) in looked.found.into_iter().zip(overlays) {
                let Some(overlay) = overlay else { continue };
                if overlay.behind == 0 {
                    next = None;
                }
                let overlay = overlay.with_content(message.accepted_at, &message.content.header);
                if filter.state.is_some_and(|wanted| wanted != overlay.state) {
                    continue;
                }
                if rows.len() == limit {
                    next = Some(message.seq);
                    break;
                }
                rows.push((message, overlay));
            }
        }
        Ok((rows, next))
    }

    /// The next messages as they stand in the store.
    async fn look_at_all(&self, of: Of, from: Seq, wanted: usize) -> Result<Looked, OperatorError> {
        let is_filtered = of.filter != MessageFilter::default();
        let most = if is_filtered { READ_LOOKS } else { wanted };
        let bytes = if of.filter.looks_inside() { INSIDE_BYTES } else { READ_BYTES };
        self.read(move |mailbox| {
            let read = match is_filtered {
                true => read_in_steps(mailbox, of.id, from, most, bytes)?,
                false => mailbox.read(of.id, from, most, bytes)?,
            };
            let (looks, last) = (read.len(), read.last().map(|last| last.seq));
            let (found, cut) = of.choose(read);
            let next = cut.or_else(|| last.filter(|&last| last < of.newest).map(Seq::next));
            Ok(Looked { found, looks, next })
        })
        .await
    }

    /// The next messages that the engine has noted. They may be far apart, and each place may have to be opened first: so each is a
    /// read of its own, neighbours together, and others wait for one only.
    async fn look_at_noted(
        &self,
        of: &Of,
        from: Seq,
        wanted: usize,
        begun: Instant,
    ) -> Result<Looked, OperatorError> {
        let asked = NotedQuery {
            from,
            looks: NOTED_LOOKS,
            state: of.filter.state,
            failed: of.filter.group.is_some(),
        };
        let (noted, mut next) = self.noted(&of.queue, asked).await?;
        let of_group = noted.into_iter().filter(|noted| of.filter.has_group(noted.error.as_ref()));
        let mut places: Vec<Seq> = of_group.map(|noted| noted.seq).collect();
        let most = if of.filter.looks_inside() { READ_LOOKS } else { wanted };
        if let Some(&beyond) = places.get(most) {
            next = Some(beyond);
            places.truncate(most);
        }
        if places.is_empty() {
            return Ok(Looked { found: Vec::new(), looks: READ_LOOKS, next });
        }
        let max_bytes = if of.filter.looks_inside() { INSIDE_BYTES } else { READ_BYTES };
        let (mut found, mut looks, mut bytes) = (Vec::new(), 0, 0);
        let mut rest = &places[..];
        while let Some(&first) = rest.first() {
            if bytes >= max_bytes || (looks > 0 && begun.elapsed() >= PAGE_TIME) {
                next = Some(first);
                break;
            }
            let run = rest.iter().zip(first.0..).take_while(|(seq, place)| seq.0 == *place).count();
            let (of, left) = (of.clone(), max_bytes - bytes);
            let read = move |m: &dyn Mailbox| of.read_run(m, first, run, left);
            let read = self.read(read).await?;
            (looks, bytes) = (looks + run, bytes + read.bytes);
            rest = match read.next {
                Some(next) => &rest[rest.partition_point(|&seq| seq < next)..],
                None => &rest[run..],
            };
            found.extend(read.found);
        }
        Ok(Looked { found, looks, next })
    }

    async fn noted(
        &self,
        queue: &QueueName,
        asked: NotedQuery,
    ) -> Result<(Vec<Noted>, Option<Seq>), OperatorError> {
        let name = queue.clone();
        let noted = self.ask_durable(move |engine| engine.noted(&name, &asked)).await?;
        noted.ok_or_else(|| no_such_queue(queue))
    }

    /// A page of the error groups of a queue's messages from place `from` on.
    pub async fn error_groups(
        &self,
        queue: &QueueName,
        from: Seq,
    ) -> Result<ErrorGroupPage, OperatorError> {
        let mut groups: BTreeMap<ErrorGroupId, ErrorGroupView> = BTreeMap::new();
        let (mut next, mut looks) = (Some(from), 0);
        while let Some(from) = next.filter(|_| looks < GROUP_LOOKS && groups.len() < MAX_PAGE) {
            let asked = NotedQuery { from, looks: NOTED_LOOKS, state: None, failed: true };
            let (noted, more) = self.noted(queue, asked).await?;
            (next, looks) = (more, looks + NOTED_LOOKS);
            for noted in noted {
                let group = noted.error.as_ref().map(ErrorGroupId::of);
                let is_new = group.is_some_and(|group| !groups.contains_key(&group));
                if is_new && groups.len() == MAX_PAGE {
                    next = Some(noted.seq);
                    break;
                }
                add(&mut groups, noted);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first));
        let firsts = groups.iter().map(|group| group.first).collect();
        for (group, overlay) in groups.iter_mut().zip(self.overlays(queue, firsts).await?) {
            // With its details, if the message has not moved on meanwhile.
            let record = overlay.and_then(|overlay| overlay.record);
            let error = record.and_then(|record| record.last_error);
            if let Some(error) = error.filter(|error| ErrorGroupId::of(error) == group.group) {
                group.example = error;
            }
        }
        Ok(ErrorGroupPage { groups, next })
    }
}

/// What a page is of.
#[derive(Clone)]
struct Of {
    queue: QueueName,
    id: QueueId,
    /// The newest place when the page was begun.
    newest: Seq,
    now: Timestamp,
    filter: MessageFilter,
}

/// Of neighbours those that may be wanted.
struct Run {
    found: Vec<StoredMessage>,
    bytes: usize,
    /// Where to go on, if not all were looked at; behind the first of them.
    next: Option<Seq>,
}

impl Of {
    /// Looks at `run` places from `first` on.
    fn read_run(
        &self,
        mailbox: &dyn Mailbox,
        first: Seq,
        run: usize,
        max_bytes: usize,
    ) -> Result<Run, MailboxError> {
        let last = Seq(first.0 + run as u64 - 1);
        let mut read = read_in_steps(mailbox, self.id, first, run, max_bytes)?;
        // What is finished meanwhile isn't there, and others come in its place.
        read.retain(|message| message.seq <= last);
        let bytes = read.iter().map(|message| message.content.size_bytes() as usize).sum();
        let newest = read.last().map(|newest| newest.seq);
        let unread = newest.filter(|&newest| newest < last).map(Seq::next);
        let (found, unasked) = self.choose(read);
        Ok(Run { found, bytes, next: unasked.or(unread) })
    }

    /// Those that may be wanted, as far as the store knows; and where to go on, if not all could be looked at.
    fn choose(&self, read: Vec<StoredMessage>) -> (Vec<StoredMessage>, Option<Seq>) {
        let mut budget = FilterBudget::new(READ_COST);
        let mut found = Vec::new();
        for message in read {
            if !budget.has_room() {
                return (found, Some(message.seq));
            }
            let is_readable = message.unreadable.is_none() || !self.filter.looks_inside();
            let is_wanted = is_readable
                && self.filter.has_age(message.accepted_at, self.now)
                && self.filter.has_content(self.queue.as_str(), &message.content, &mut budget);
            if is_wanted {
                found.push(message);
            }
        }
        (found, None)
    }
}

/// At most so many messages and bytes, but one at least, if there is one; fewer where that takes long.
fn read_in_steps(
    mailbox: &dyn Mailbox,
    queue: QueueId,
    from: Seq,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<StoredMessage>, MailboxError> {
    let begun = Instant::now();
    let mut read: Vec<StoredMessage> = Vec::new();
    let (mut from, mut left) = (from, max_bytes);
    while read.len() < max_messages && (read.is_empty() || begun.elapsed() < READ_TIME) {
        let wanted = STEP_LOOKS.min(max_messages - read.len());
        let step = mailbox.read(queue, from, wanted, left)?;
        let is_cut = step.len() < wanted;
        let bytes: u64 = step.iter().map(|message| message.content.size_bytes()).sum();
        from = step.last().map_or(from, |last| last.seq.next());
        left = left.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        read.extend(step);
        if is_cut || left == 0 {
            break;
        }
    }
    Ok(read)
}

fn add(groups: &mut BTreeMap<ErrorGroupId, ErrorGroupView>, noted: Noted) {
    let Noted { seq, error: Some(error), failed_at, .. } = noted else { return };
    let pattern = error_pattern(&error);
    let group = ErrorGroupId::of_pattern(&pattern);
    let known = groups.entry(group).or_insert_with(|| ErrorGroupView {
        group,
        pattern,
        count: 0,
        first: seq,
        last: seq,
        first_at: failed_at,
        last_at: failed_at,
        example: error,
    });
    known.count += 1;
    known.last = seq;
    known.first_at = known.first_at.into_iter().chain(failed_at).min();
    known.last_at = known.last_at.into_iter().chain(failed_at).max();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Content, Filter, Header};

    fn message(seq: u64, body: &str) -> StoredMessage {
        let header = Header::from_json(br#"{"id":"m"}"#).expect("a header");
        let content = Arc::new(Content { header, payload: body.to_owned().into() });
        let accepted_at = Timestamp(0);
        StoredMessage { seq: Seq(seq), accepted_at, content, record: None, unreadable: None }
    }

    #[test]
    fn a_costly_filter_ends_the_read_early() {
        let of = |filter: &str| Of {
            queue: "q".parse().expect("a name"),
            id: QueueId(1),
            newest: Seq(10),
            now: Timestamp(0),
            filter: MessageFilter { filter: Filter::new(filter).ok(), ..MessageFilter::default() },
        };
        let body = format!("[{}]", vec!["1"; 1_000].join(","));
        let read: Vec<_> = (1..=10).map(|seq| message(seq, &body)).collect();
        let costly = of("body.all(x, body.all(y, x + y > 0))");
        let (found, cut) = costly.choose(read.clone());
        assert_eq!((found.len(), cut), (0, Some(Seq(5))), "each fails at its own bound");
        let (found, cut) = of("size(body) == 1000").choose(read);
        assert_eq!((found.len(), cut), (10, None));
    }
}
