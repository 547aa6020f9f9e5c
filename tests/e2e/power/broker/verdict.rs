//! What must be there after a power cut, by what its peers had been told and what each mailbox promises.

use std::collections::BTreeMap;
use std::path::Path;

use mubroker::mailbox::{JournalFilter, Mailbox, RoutedMailbox, SledMailbox, SledOptions};
use mubroker::model::{Accepted, QueueName, Seq};

use super::super::check::blobs;
use super::{IN_RAM, JOURNAL_ENTRIES, Run, edited, number_of, payload};

/// Must a message be there after a cut?
enum Keeps {
    Yes,
    /// What promises it was not told yet.
    Perhaps,
    No,
}

impl Run {
    /// Is the store in `image` as it must be after a cut before event `at`?
    pub(super) fn check(&self, at: usize, image: &Path) -> Result<(), String> {
        let store = SledMailbox::open(&image.join("data/store"), SledOptions::default());
        let store = store.map_err(|error| format!("it does not open: {error}"))?;
        let store = RoutedMailbox::new(store).keeping_journal(JOURNAL_ENTRIES);
        if !blobs(image).is_empty() {
            return Err("a value became a blob file, which is not synced".to_owned());
        }
        let recovered = store.recover().map_err(|error| error.to_string())?;
        let mut held = BTreeMap::new();
        let mut next = BTreeMap::new();
        for backlog in &recovered.queues {
            let name = backlog.record.name.clone();
            next.insert(name.clone(), backlog.next_seq);
            let (mut before, id) = (None, backlog.record.id);
            let messages = store.read(id, Seq(0), usize::MAX, usize::MAX);
            for message in messages.map_err(|error| error.to_string())? {
                let n = number_of(message.content.id().as_str()).ok_or("an invented id")?;
                if self.sent.get(n).is_none_or(|queue| *queue != name.as_str()) {
                    return Err(format!("message {n} was never sent to {name}"));
                }
                if before.replace(n).is_some_and(|before| before >= n) {
                    return Err(format!("message {n} is not in the order of sending"));
                }
                let bytes = &message.content.payload;
                let (is_new, is_saved) = (*bytes == edited(n), self.is_saved(n, at));
                if is_saved && !is_new {
                    return Err(format!("the edit of message {n} is lost"));
                }
                if !is_new && *bytes != payload(n) {
                    return Err(format!("message {n} has other bytes"));
                }
                held.insert((name.clone(), message.seq), n);
            }
        }
        while store.maintain().map_err(|error| format!("upkeep: {error}"))? {}
        for (_, accepted) in self.accepted.iter().take_while(|(place, _)| *place < at) {
            let n = number_of(accepted.id.as_str()).expect("one of ours");
            let (name, seq) = (&accepted.queue, accepted.seq);
            if next.get(name).is_none_or(|next| *next <= seq) {
                return Err(format!("place {seq} of {name}, accepted for {n}, is given out again"));
            }
            let is_done = name.as_str() == "worked" && self.worked.contains(&n);
            match (held.get(&(name.clone(), seq)), self.keeps(accepted, at)) {
                (Some(found), _) if *found != n => {
                    return Err(format!("{found} is where {n} was accepted: {seq}"));
                }
                (Some(_), Keeps::No) => {
                    return Err(format!("message {n} was in RAM, and is there"));
                }
                (None, Keeps::Yes) if !is_done => {
                    return Err(format!("message {n}, accepted in {name} at {seq}, is lost"));
                }
                (Some(_) | None, Keeps::Yes | Keeps::Perhaps | Keeps::No) => {}
            }
        }
        self.check_histories(at, &store, &held)
    }

    /// Is what was answered of messages that wait in the journal, which has lost other entries?
    fn check_histories(
        &self,
        at: usize,
        store: &RoutedMailbox,
        held: &BTreeMap<(QueueName, Seq), usize>,
    ) -> Result<(), String> {
        for (_, saved) in self.saved.iter().take_while(|(place, _)| *place < at) {
            let (queue, seq, number) = (&saved.queue, saved.seq, saved.journal);
            if !held.contains_key(&(queue.clone(), seq)) {
                continue;
            }
            for of in
                [JournalFilter::default(), JournalFilter { queue: Some(queue), seq: Some(seq) }]
            {
                let entries = store.journal(number + 1, 1, of).map_err(|e| e.to_string())?;
                if entries.first().is_none_or(|entry| entry.number != number) {
                    return Err(format!("entry {number} on {queue} {seq} is lost, by {of:?}"));
                }
            }
        }
        let all = store.journal(u64::MAX, usize::MAX, JournalFilter::default());
        let all = all.map_err(|e| e.to_string())?;
        let is_held = |queue: &QueueName, seq: Option<Seq>| {
            seq.is_some_and(|seq| held.contains_key(&(queue.clone(), seq)))
        };
        let others = all.iter().filter(|entry| !is_held(&entry.queue, entry.seq)).count();
        // Upkeep removes some at a time.
        if others > JOURNAL_ENTRIES as usize + 32 {
            return Err(format!("{others} journal entries that nothing needs are left"));
        }
        Ok(())
    }

    /// What its mailbox promises of an accepted message, if the cut is before event `at`.
    fn keeps(&self, accepted: &Accepted, at: usize) -> Keeps {
        match accepted.queue.as_str() {
            "mixed" if accepted.seq.0 <= IN_RAM => Keeps::No,
            "moving" if at <= self.moved => Keeps::Perhaps,
            _ => Keeps::Yes,
        }
    }

    /// Was the edit of this message answered before event `at`?
    fn is_saved(&self, n: usize, at: usize) -> bool {
        let before = self.saved.iter().take_while(|(place, _)| *place < at);
        before.into_iter().any(|(_, saved)| number_of(saved.id.as_str()) == Some(n))
    }
}
