//! Looking for an id.

use std::ops::Range;

use super::SledMailbox;
use super::layout::{directory_key, ids_key};
use super::segment::{decode_directory, decode_ids};
use crate::mailbox::MailboxError;
use crate::model::{MessageId, QueueId, Seq};

impl SledMailbox {
    /// Looks through ids from the newest back.
    pub(super) fn find_id(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        if let Some(queue) = queue {
            return self.find_in_queue(queue, id);
        }
        let segments: Vec<u64> = {
            let index = self.index();
            let kept = index.segments.iter().rev().filter(|(_, used)| used.runs > 0);
            kept.map(|(&segment, _)| segment).collect()
        };
        for segment in segments {
            for (queue, place) in self.places_of(segment, id)? {
                // What was written again is not where its age would have it: the queue knows better.
                if self.is_kept(queue, place)
                    && let Some(found) = self.find_in_queue(queue, id)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn find_in_queue(
        &self,
        queue: QueueId,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        let runs: Vec<(u64, Range<u64>)> = {
            let index = self.index();
            let runs = index.queues.get(&queue).map(|queue| queue.runs.iter().rev());
            runs.into_iter().flatten().map(|run| (run.segment, run.first..run.end())).collect()
        };
        // One segment's runs often follow one another.
        let mut last: Option<(u64, Vec<(QueueId, u64)>)> = None;
        for (segment, run) in runs {
            let known = last.take().filter(|&(known, _)| known == segment);
            let (_, places) = match known {
                Some(known) => last.insert(known),
                None => last.insert((segment, self.places_of(segment, id)?)),
            };
            let mut newest =
                places.iter().rev().filter(|(of, at)| *of == queue && run.contains(at));
            if let Some(&(_, place)) = newest.find(|&&(_, place)| self.is_kept(queue, place)) {
                return Ok(Some((queue, Seq(place))));
            }
        }
        Ok(None)
    }

    fn is_kept(&self, queue: QueueId, place: u64) -> bool {
        self.index()
            .queues
            .get(&queue)
            .is_some_and(|queue| place >= queue.window_start() || queue.is_unfinished(place))
    }

    /// The places in a segment with this id, newest last.
    fn places_of(&self, segment: u64, id: &MessageId) -> Result<Vec<(QueueId, u64)>, MailboxError> {
        // Not there: forgotten since the segments were listed, and with it all of its ids.
        let Some(value) = self.store.ids_value(segment)? else { return Ok(Vec::new()) };
        let key = ids_key(segment);
        let ids = match decode_ids(&key, &value).map_err(|e| self.store.damaged(e)) {
            Ok(ids) => ids,
            Err(error) => self.leave_out("the ids of a segment", error)?.unwrap_or_default(),
        };
        if !ids.iter().any(|entry| entry.id == *id) {
            return Ok(Vec::new());
        }
        let key = directory_key(segment);
        let Some(value) = self.store.get_state(&key)? else { return Ok(Vec::new()) };
        let directory = decode_directory(&key, &value).map_err(|e| self.store.damaged(e))?;
        let places = directory.runs.iter().flat_map(|run| {
            (run.first.0..).take(run.count as usize).map(|place| (run.queue, place))
        });
        Ok(places.zip(&ids).filter(|(_, entry)| entry.id == *id).map(|(place, _)| place).collect())
    }
}
