//! What an entry that the poller has found is: others', or the broker's own, and which of these are to go.

use std::collections::HashSet;

use super::entry::Entry;
use super::mark::Judgement;
use super::streams::Stream;
use crate::model::{Arrival, Generation, StreamId};

impl Stream {
    /// An entry whose message is kept here. What is passed isn't looked at again, so that it is to go is written down.
    fn give_up(&mut self, id: StreamId) {
        if !self.mark.removals.contains(&id) {
            self.removable.push(id);
            self.mark.removals.push(id);
        }
    }

    /// They are removed.
    pub(super) fn forget_removed(&mut self, ids: &[StreamId]) {
        let removed: HashSet<&StreamId> = ids.iter().collect();
        self.mark.removals.retain(|id| !removed.contains(id));
    }
}

/// Tells others' entries from the broker's own, and goes on behind them.
pub(super) fn sort_out(stream: &mut Stream, run: Generation, entries: Vec<Entry>) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for entry in entries {
        stream.position = stream.position.max(entry.id);
        match entry.by().filter(|by| by.key == stream.mark.key) {
            None => arrivals.push(entry.to_arrival()),
            Some(by) if by.generation == run => {
                if stream.doubtful.contains(&by.seq) {
                    stream.give_up(entry.id);
                }
                // They come in the order of their places: of those before, nothing comes any more.
                stream.doubtful = stream.doubtful.split_off(&by.seq);
            }
            Some(by) => match stream.mark.judge(entry.id, by.generation, by.seq) {
                Judgement::Committed => {}
                Judgement::Doubtful => stream.give_up(entry.id),
                Judgement::LeftOver => {
                    tracing::info!(entry = %entry.id, stream = stream.key, "taken in: it was not committed");
                    arrivals.push(entry.to_arrival());
                }
            },
        }
    }
    arrivals
}
