//! What a queue that is gone has left in its stream: the payloads of the messages that were deleted with it.
//!
//! It was moved away from Redis before, so others may have added entries since, which stay. All up to where the poller had
//! looked is the queue's: others' entries there were taken in. Behind that, what bears its mark is, up to the newest entry
//! there is when the poller first looks: what had no answer (in doubt) is among it, and can't come later, since no
//! connection from before is left then. What a new queue of the name adds has another mark. It is removed once the deletion is durable, as often
//! as Redis refuses it. Nothing of it is written down: after a crash at that moment, or a stop while Redis is away, it
//! stays there.

use std::time::Duration;

use redis::{Cmd, ServerError, Value};
use tokio::time::Instant;

use super::entry::Entry;
use super::keeper::entries;
use super::link::Fault;
use super::poll::{FIRST_BACKOFF, FIRST_COUNT, MAX_BACKOFF, RedisPoller, fitting_count};
use super::streams::Reach;
use crate::model::{QueueId, StreamId};

/// Entries that one command cuts off: the server does nothing else meanwhile.
const MAX_CUT: usize = 10_000;

/// How far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// The queue's end isn't durable yet.
    Unsynced,
    /// All entries up to `seen`; behind it, those with the queue's mark.
    There { seen: StreamId },
    /// From `after` on, up to `last`, those with the queue's mark. The next look is at `count` entries.
    Behind { after: StreamId, last: StreamId, count: usize },
    /// None is left.
    Nothing,
}

/// When what Redis has refused is tried again.
#[derive(Debug)]
pub(super) struct Pause {
    until: Instant,
    next: Duration,
    /// The code of the refusal: told once, not with each try.
    code: String,
}

/// Why a step wasn't done.
enum Trouble {
    /// The server said no. The connection is sound.
    Refused(ServerError),
    Fault(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A stream with leftovers.
struct Left {
    queue: QueueId,
    key: String,
    mark: u64,
    leftover: Leftover,
}

impl RedisPoller {
    /// Removes some of what queues that are gone have left; how many entries were removed or looked at.
    pub(super) fn remove_leftovers(&mut self) -> Result<usize, Fault> {
        let mut done = 0;
        for left in self.leftovers() {
            let step = match left.leftover {
                Leftover::There { seen } => self.cut(&left.key, seen),
                Leftover::Behind { after, last, count } => self.pick(&left, after, last, count),
                Leftover::Unsynced | Leftover::Nothing => Ok((0, left.leftover)),
            };
            let next = match step {
                Ok((count, next)) => {
                    self.pauses.remove(&left.queue);
                    done += count;
                    next
                }
                // Somebody has put something else there: nothing of the queue is left.
                Err(Trouble::Refused(error)) if error.code() == "WRONGTYPE" => Leftover::Nothing,
                Err(Trouble::Refused(error)) => {
                    self.put_off(left.queue, &left.key, &error);
                    left.leftover
                }
                Err(Trouble::Fault(fault)) => return Err(fault),
            };
            if let Some(stream) = self.streams.state().queues.get_mut(&left.queue) {
                stream.leftover = Some(next);
            }
        }
        let mut state = self.streams.state();
        state.forget_removed();
        self.pauses.retain(|queue, _| state.queues.contains_key(queue));
        Ok(done)
    }

    /// Those that it is time for.
    fn leftovers(&self) -> Vec<Left> {
        let state = self.streams.state();
        // A connection that was given up just now may have an entry on its way: the next one ends it first.
        if state.reach != Reach::Up {
            return Vec::new();
        }
        let now = Instant::now();
        let left = state.queues.iter().filter_map(|(&queue, stream)| {
            let leftover = stream.leftover.filter(|&left| left != Leftover::Unsynced)?;
            let is_due = self.pauses.get(&queue).is_none_or(|pause| pause.until <= now);
            is_due.then(|| Left { queue, key: stream.key.clone(), mark: stream.mark.key, leftover })
        });
        left.collect()
    }

    fn put_off(&mut self, queue: QueueId, key: &str, error: &ServerError) {
        let former = self.pauses.remove(&queue);
        let pause = former.as_ref().map_or(FIRST_BACKOFF, |former| former.next);
        if former.is_none_or(|former| former.code != error.code()) {
            tracing::warn!(%error, stream = key, "what a deleted queue has left in Redis can't be removed yet");
        }
        let next = (pause * 2).min(MAX_BACKOFF);
        let pause = Pause { until: Instant::now() + pause, next, code: error.code().to_owned() };
        self.pauses.insert(queue, pause);
    }

    /// Cuts off what is before `seen`, and `seen` itself.
    fn cut(&mut self, key: &str, seen: StreamId) -> Result<(usize, Leftover), Trouble> {
        let first = StreamId { number: seen.number.saturating_add(1), ..seen };
        let mut trim = |how: &str, limit: Option<usize>| {
            let mut command = redis::cmd("XTRIM");
            command.arg(key).arg("MINID").arg(how).arg(first.to_string());
            limit.map(|limit| command.arg("LIMIT").arg(limit));
            self.ask(command).map(|answer| match answer {
                Value::Int(count) => usize::try_from(count).unwrap_or(0),
                _ => 0,
            })
        };
        // By whole nodes of the server's, as many as it may at once; then what is left in the last of them.
        let count = trim("~", Some(MAX_CUT))?;
        if count > 0 {
            return Ok((count, Leftover::There { seen }));
        }
        let count = trim("=", None)?;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
        let next = match entries(self.ask(newest)?)?.first() {
            Some(newest) => Leftover::Behind { after: seen, last: newest.id, count: FIRST_COUNT },
            None => Leftover::Nothing,
        };
        Ok((count, next))
    }

    /// Removes what bears the queue's mark of the next entries after `after`.
    fn pick(
        &mut self,
        left: &Left,
        after: StreamId,
        last: StreamId,
        count: usize,
    ) -> Result<(usize, Leftover), Trouble> {
        if after >= last {
            return Ok((0, Leftover::Nothing));
        }
        let mut command = redis::cmd("XRANGE");
        let from = format!("({after}");
        command.arg(&left.key).arg(from).arg(last.to_string()).arg("COUNT").arg(count);
        let found = entries(self.ask(command)?)?;
        let Some(newest) = found.last() else { return Ok((0, Leftover::Nothing)) };
        let is_ours = |entry: &&Entry| entry.by().is_some_and(|by| by.key == left.mark);
        let ours: Vec<StreamId> = found.iter().filter(is_ours).map(|entry| entry.id).collect();
        if !ours.is_empty() {
            let mut command = redis::cmd("XDEL");
            command.arg(&left.key);
            for id in &ours {
                command.arg(id.to_string());
            }
            self.ask(command)?;
        }
        let count = fitting_count(count, found.iter().map(Entry::bytes).sum());
        Ok((found.len(), Leftover::Behind { after: newest.id, last, count }))
    }

    fn ask(&mut self, command: Cmd) -> Result<Value, Trouble> {
        let Some(link) = &mut self.link else {
            return Err(Fault("the connection was lost".to_owned()).into());
        };
        let (answers, fault) = link.ask_all([command], self.streams.options.timeout);
        match (answers.into_iter().next(), fault) {
            (Some(Value::ServerError(error)), _) => Err(Trouble::Refused(error)),
            (Some(answer), _) => Ok(answer),
            (None, fault) => {
                Err(fault.unwrap_or_else(|| Fault("it doesn't answer".to_owned())).into())
            }
        }
    }
}
