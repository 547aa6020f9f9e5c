//! The world's Redis: what others add to a queue's stream, told as a reader tells it, and an end of the line.

use super::model::ModelMessage;
use super::rig::{content, queue};
use super::world::{Cause, QUEUES, World};
use crate::engine::Event;
use crate::model::{Arrival, StreamEntry, StreamId};

/// An entry of others: its number, and the message's id.
pub(super) type Foreign = (u64, String);

fn entry(number: u64) -> StreamId {
    StreamId { ms: number, number: 0 }
}

impl World {
    /// Others add to a queue's stream.
    pub(super) fn add(&mut self, at: usize, ids: &[u8]) {
        for id in ids {
            let number = self.streams[at].last().map_or(1, |(number, _)| number + 1);
            self.streams[at].push((number, format!("m{id}")));
        }
    }

    /// The reader tells of what comes after the newest entry that was committed: some of it may be known to
    /// the engine already. With `gap` it leaves that many out, as one does that is ahead of itself.
    pub(super) fn arrive(&mut self, at: usize, gap: u64) {
        let newest = self.store.queue_named(QUEUES[at]).expect("there").newest_entry.ms;
        let after = newest + gap;
        let told: Vec<Foreign> =
            self.streams[at].iter().filter(|(number, _)| *number > after).cloned().collect();
        let model = &mut self.model.queues[at];
        let is_taken = after <= model.newest_entry;
        for (number, id) in told.iter().filter(|_| is_taken) {
            if *number <= model.newest_entry {
                continue;
            }
            model.newest_entry = *number;
            if model.duplicate_of(id).is_none() {
                let payload = payload(id, *number);
                let header = content(id, &payload).header.json().len() as u64;
                model.messages.push(ModelMessage::new(id, &payload, header));
            }
        }
        let arrivals = told.iter().map(|(number, id)| Arrival {
            entry: StreamEntry { id: entry(*number), refused: None },
            content: content(id, &payload(id, *number)),
        });
        let (arrivals, after) = (arrivals.collect(), entry(after));
        let queue = self.engine.queue_id(&queue(QUEUES[at])).expect("there");
        self.run(Event::Arrived { queue, after, arrivals }, Cause::default());
    }

    /// Redis goes away or comes back.
    pub(super) fn reach(&mut self, is_down: bool) {
        self.redis_down = is_down;
        let down = is_down.then(|| "away".to_owned());
        self.run(Event::RedisReach { down }, Cause::default());
    }
}

fn payload(id: &str, number: u64) -> String {
    format!("{id}-entry-{number}")
}
