//! What a queue that is gone has left in its stream: the payloads of the messages that were deleted with it.
//!
//! It was moved away from Redis before, so others may have added entries since, which stay. All up to where the poller had
//! looked is the queue's: others' entries there were taken in. Behind that, what bears its mark is. It is removed once the
//! deletion is durable. Nothing of it is written down: after a crash at that moment, or a stop while Redis is away, it
//! stays there.

use redis::{Cmd, Value};

use super::keeper::entries;
use super::link::Fault;
use super::poll::RedisPoller;
use crate::model::{QueueId, StreamId};

/// Entries that one command cuts off, and that one looks at: the server does nothing else meanwhile.
const MAX_CUT: usize = 10_000;
const MAX_LOOKED_AT: usize = 64;

/// How far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// The queue's end isn't durable yet.
    Unsynced,
    /// All entries up to `seen`; behind it, up to `own`, those with the queue's mark.
    There { seen: StreamId, own: StreamId },
    /// From `after` on, up to `own`, those with the queue's mark.
    Behind { after: StreamId, own: StreamId },
    /// None is left.
    Nothing,
}

impl RedisPoller {
    /// Removes some of what queues that are gone have left; how many entries.
    pub(super) fn remove_leftovers(&mut self) -> Result<usize, Fault> {
        let left: Vec<(QueueId, String, u64, Leftover)> = {
            let state = self.streams.state();
            let left = state.queues.iter().filter_map(|(&queue, stream)| {
                let leftover = stream.leftover.filter(|&left| left != Leftover::Unsynced)?;
                Some((queue, stream.key.clone(), stream.mark.key, leftover))
            });
            left.collect()
        };
        let mut removed = 0;
        for (queue, key, mark, leftover) in left {
            let (count, next) = match leftover {
                Leftover::There { seen, own } => self.cut(&key, seen, own)?,
                Leftover::Behind { after, own } => self.pick(&key, mark, after, own)?,
                Leftover::Unsynced | Leftover::Nothing => (0, leftover),
            };
            removed += count;
            if let Some(stream) = self.streams.state().queues.get_mut(&queue) {
                stream.leftover = Some(next);
            }
        }
        self.streams.state().forget_removed();
        Ok(removed)
    }

    /// Cuts off what is before `seen`, and `seen` itself.
    fn cut(
        &mut self,
        key: &str,
        seen: StreamId,
        own: StreamId,
    ) -> Result<(usize, Leftover), Fault> {
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
            return Ok((count, Leftover::There { seen, own }));
        }
        Ok((trim("=", None)?, Leftover::Behind { after: seen, own }))
    }

    /// Removes what bears the queue's mark of the next entries after `after`.
    fn pick(
        &mut self,
        key: &str,
        mark: u64,
        after: StreamId,
        own: StreamId,
    ) -> Result<(usize, Leftover), Fault> {
        if after >= own {
            return Ok((0, Leftover::Nothing));
        }
        let mut command = redis::cmd("XRANGE");
        let from = format!("({after}");
        command.arg(key).arg(from).arg(own.to_string()).arg("COUNT").arg(MAX_LOOKED_AT);
        let found = entries(self.ask(command)?)?;
        let Some(last) = found.last() else { return Ok((0, Leftover::Nothing)) };
        let ours: Vec<StreamId> = found
            .iter()
            .filter(|entry| entry.by().is_some_and(|by| by.key == mark))
            .map(|entry| entry.id)
            .collect();
        if !ours.is_empty() {
            let mut command = redis::cmd("XDEL");
            command.arg(key);
            for id in &ours {
                command.arg(id.to_string());
            }
            self.ask(command)?;
        }
        Ok((ours.len(), Leftover::Behind { after: last.id, own }))
    }

    /// The answer; nothing where the server refuses, which others needn't suffer from.
    fn ask(&mut self, command: Cmd) -> Result<Value, Fault> {
        let Some(link) = &mut self.link else {
            return Err(Fault("the connection was lost".to_owned()));
        };
        let (answers, fault) = link.ask_all([command], self.streams.options.timeout);
        match (answers.into_iter().next(), fault) {
            (Some(Value::ServerError(error)), _) => {
                tracing::warn!(%error, "what a deleted queue has left in Redis stays there");
                Ok(Value::Nil)
            }
            (Some(answer), _) => Ok(answer),
            (None, fault) => Err(fault.unwrap_or_else(|| Fault("it doesn't answer".to_owned()))),
        }
    }
}
