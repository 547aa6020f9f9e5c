//! The poller: finds Redis, looks for what others add, removes what is finished. One thread calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redis::{Client, Value};
use tokio::time::Instant;

use super::entry::Entry;
use super::keeper::{entries, pair, unexpected};
use super::leftover::Pause;
use super::link::{Fault, Link, is_passing};
use super::sort::sort_out;
use super::streams::{Reach, State, Streams};
use crate::model::{Arrival, Generation, QueueId, StreamId};

/// The first pause before Redis is tried again, and the longest: what is away may come back soon, and a try
/// costs little.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// How long one look for new entries waits for some: what was asked of the poller meanwhile waits so long.
const BLOCK: Duration = Duration::from_millis(250);
/// The same while something is being removed: more comes.
const BUSY_BLOCK: Duration = Duration::from_millis(20);
/// Told entries that are not committed by then are told again: they came while the broker was stopping, its
/// store was down or the queue was full.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Streams in one look; more take turns.
const MAX_STREAMS: usize = 512;
/// Entries of one stream in one look, at first and at most.
pub(super) const FIRST_COUNT: usize = 4;
const MAX_COUNT: usize = 512;
/// One look should bring about so many bytes: its entries wait in RAM until they are committed.
const LOOK_BYTES: usize = 1024 * 1024;
/// Entries removed by one command.
const MAX_REMOVED: usize = 1_000;

/// What the poller has found.
#[derive(Debug, Clone, PartialEq)]
pub enum RedisNews {
    /// Redis can be reached again, or can't for this reason.
    Reach {
        /// Why not.
        down: Option<String>,
    },
    /// Others have added entries.
    Arrived {
        /// The run of the store in which the queue has this id.
        generation: Generation,
        /// The queue.
        queue: QueueId,
        /// Nothing of others is between this one and the arrivals.
        after: StreamId,
        /// In their order.
        arrivals: Vec<Arrival>,
    },
}

/// Serves the streams, one turn after the other.
#[derive(Debug)]
pub struct RedisPoller {
    pub(super) streams: Arc<Streams>,
    pub(super) link: Option<Link>,
    /// The connections that there were, by the server's numbers.
    former: Vec<i64>,
    next_try: Option<Instant>,
    backoff: Duration,
    told_reach: Option<Reach>,
    told_at: BTreeMap<QueueId, (StreamId, Instant)>,
    count: usize,
    next_stream: usize,
    /// Queues that are gone, whose leftovers Redis has refused to remove.
    pub(super) pauses: BTreeMap<QueueId, Pause>,
    /// Why finished messages weren't removed, as it was told last.
    told_refusal: Option<String>,
}

impl RedisPoller {
    /// One for each [`Streams`].
    pub fn new(streams: Arc<Streams>) -> Self {
        Self {
            streams,
            link: None,
            former: Vec::new(),
            next_try: None,
            backoff: FIRST_BACKOFF,
            told_reach: None,
            told_at: BTreeMap::new(),
            count: FIRST_COUNT,
            next_stream: 0,
            pauses: BTreeMap::new(),
            told_refusal: None,
        }
    }

    /// Does what there is to do. Blocks for a second or so at most, or as long as Redis may take to answer.
    pub fn turn(&mut self) -> Vec<RedisNews> {
        let mut news = Vec::new();
        let done = match self.connected() {
            Ok(true) => self.serve(&mut news),
            Ok(false) => Ok(()),
            Err(fault) => {
                self.next_try = Some(Instant::now() + self.backoff);
                self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
                self.streams.state().reach = Reach::Down(fault.to_string());
                Ok(())
            }
        };
        if let Err(fault) = done {
            self.link = None;
            self.streams.set_down(&fault);
        }
        let reach = self.streams.state().reach.clone();
        if self.told_reach.as_ref() != Some(&reach) {
            let down = match &reach {
                Reach::Up => None,
                Reach::Down(reason) => Some(reason.clone()),
            };
            self.told_reach = Some(reach);
            news.insert(0, RedisNews::Reach { down });
        }
        news
    }

    /// Is Redis there? If it was away, looks for it when it is time.
    fn connected(&mut self) -> Result<bool, Fault> {
        let is_up = self.streams.state().reach == Reach::Up;
        if is_up && self.link.is_some() {
            return Ok(true);
        }
        if let Some(link) = self.link.take() {
            // Another thread has found it away, just now.
            self.former.push(link.number);
            self.next_try = Some(Instant::now() + FIRST_BACKOFF);
        }
        let streams = Arc::clone(&self.streams);
        let Some(client) = &streams.client else {
            streams.wait(BLOCK);
            return Ok(false);
        };
        if let Some(pause) = self.next_try.and_then(|at| at.checked_duration_since(Instant::now()))
        {
            streams.wait(pause.min(BLOCK));
            return Ok(false);
        }
        self.connect(client)?;
        self.next_try = None;
        self.backoff = FIRST_BACKOFF;
        Ok(true)
    }

    fn connect(&mut self, client: &Client) -> Result<(), Fault> {
        let streams = Arc::clone(&self.streams);
        let timeout = streams.options.timeout;
        self.former.extend(self.link.take().map(|link| link.number));
        for slot in [&streams.keeper, &streams.reader] {
            let former = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.former.extend(former.map(|link| link.number));
        }
        let mut link = Link::open(client, timeout)?;
        self.end_former(&mut link)?;
        // A Redis that doesn't take writes (full, a replica, its disk broken) is of no use.
        let probe = format!("{}/alive", streams.options.prefix);
        link.ask(redis::cmd("SET").arg(probe).arg("mubroker").arg("PX").arg(60_000))?;
        warn_of_eviction(&mut link);
        self.check_keys(&mut link)?;
        let keeper = Link::open(client, timeout)?;
        let reader = Link::open(client, timeout)?;
        self.former = vec![keeper.number];
        for (slot, link) in [(&streams.keeper, keeper), (&streams.reader, reader)] {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        }
        self.link = Some(link);
        tracing::info!("Redis is reached");
        streams.state().reach = Reach::Up;
        Ok(())
    }

    /// A key that isn't a stream would fail every look at all of them.
    fn check_keys(&self, link: &mut Link) -> Result<(), Fault> {
        let queues: Vec<String> =
            self.streams.state().queues.values().map(|stream| stream.key.clone()).collect();
        let kind = |key: &String| {
            let mut command = redis::cmd("TYPE");
            command.arg(key);
            command
        };
        let limit = self.streams.options.timeout;
        let (answers, fault) = link.ask_all(queues.iter().map(kind), limit);
        for (key, answer) in queues.iter().zip(answers) {
            if let Value::SimpleString(kind) = answer
                && !["stream", "none"].contains(&kind.as_str())
            {
                let what = "remove it, or choose another redis.prefix";
                return Err(Fault(format!("the key {key} is a {kind}, not a stream: {what}")));
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// What a former connection has sent and nobody has answered must not be done any more: what is in doubt
    /// is looked for from now on.
    fn end_former(&mut self, link: &mut Link) -> Result<(), Fault> {
        let kill = |number: &i64| {
            let mut command = redis::cmd("CLIENT");
            command.arg("KILL").arg("ID").arg(*number);
            command
        };
        // Refused where it has ended by itself, or where this user may not.
        let (_, fault) = link.ask_all(self.former.iter().map(kill), self.streams.options.timeout);
        fault.map_or(Ok(()), Err)
    }

    fn serve(&mut self, news: &mut Vec<RedisNews>) -> Result<(), Fault> {
        let removed = self.remove()? + self.remove_leftovers()?;
        self.tell_again();
        let (generation, chosen) = self.choose();
        if chosen.is_empty() {
            let is_idle = self.told_at.is_empty() && removed == 0;
            let limit = if is_idle { BLOCK } else { BUSY_BLOCK };
            self.streams.wait(limit);
            return Ok(());
        }
        let block = if removed > 0 { BUSY_BLOCK } else { BLOCK };
        let found = self.look(&chosen, block)?;
        let mut state = self.streams.state();
        if state.generation != generation {
            return Ok(());
        }
        for ((queue, _, _), entries) in chosen.iter().zip(found) {
            let Some(stream) = state.queues.get_mut(queue) else { continue };
            let after = stream.taken;
            let arrivals = sort_out(stream, generation, entries);
            if let Some(last) = arrivals.last() {
                stream.told = Some(last.entry.id);
                self.told_at.insert(*queue, (last.entry.id, Instant::now()));
                news.push(RedisNews::Arrived { generation, queue: *queue, after, arrivals });
            }
        }
        Ok(())
    }

    /// Removes what is finished; how much.
    fn remove(&mut self) -> Result<usize, Fault> {
        let mut batches: Vec<(QueueId, String, Vec<StreamId>)> = Vec::new();
        for (&queue, stream) in &mut self.streams.state().queues {
            let batch = stream.removable.len().min(MAX_REMOVED);
            if batch > 0 {
                let ids = stream.removable.drain(..batch).collect();
                batches.push((queue, stream.key.clone(), ids));
            }
        }
        let Some(link) = self.link.as_mut().filter(|_| !batches.is_empty()) else { return Ok(0) };
        let commands = batches.iter().map(|(_, key, ids)| {
            let mut command = redis::cmd("XDEL");
            command.arg(key);
            for id in ids {
                command.arg(id.to_string());
            }
            command
        });
        let (answers, fault) = link.ask_all(commands, self.streams.options.timeout);
        let (mut removed, mut refused) = (0, None);
        let mut state = self.streams.state();
        let mut answers = answers.into_iter();
        for (queue, _, ids) in batches {
            let answer = answers.next();
            let Some(stream) = state.queues.get_mut(&queue) else { continue };
            match answer {
                Some(Value::ServerError(error)) if is_passing(&error) => {
                    stream.removable.extend(ids);
                    refused = Some(Fault(error.to_string()));
                }
                None => stream.removable.extend(ids),
                Some(answer) => {
                    if let Value::ServerError(error) = answer
                        && self.told_refusal.replace(error.code().to_owned()).as_deref()
                            != Some(error.code())
                    {
                        tracing::warn!(%error, stream = stream.key, "finished messages stay in Redis");
                    }
                    removed += ids.len();
                    stream.forget_removed(&ids);
                }
            }
        }
        fault.or(refused).map_or(Ok(removed), Err)
    }

    /// Goes back to what was committed, where what was told is not.
    fn tell_again(&mut self) {
        let mut state = self.streams.state();
        self.told_at.retain(|queue, (told, at)| {
            let Some(stream) = state.queues.get_mut(queue) else { return false };
            if stream.told != Some(*told) {
                return false;
            }
            let is_over = at.elapsed() >= TELL_AGAIN;
            if is_over {
                stream.told = None;
                stream.position = stream.taken;
            }
            !is_over
        });
    }

    /// The streams to look into now: queue, key, and after which entry.
    fn choose(&mut self) -> (Generation, Vec<(QueueId, String, StreamId)>) {
        let state: &State = &self.streams.state();
        let left = state.queues.values().filter(|stream| stream.leftover.is_some());
        let left: BTreeSet<&String> = left.map(|stream| &stream.key).collect();
        let ready: Vec<_> = state
            .queues
            .iter()
            .filter(|(_, stream)| stream.is_fed && stream.told.is_none())
            // What a queue of the same name has left there isn't others'.
            .filter(|(_, stream)| !left.contains(&stream.key))
            .map(|(&queue, stream)| (queue, &stream.key, stream.position))
            .collect();
        let start = if self.next_stream < ready.len() { self.next_stream } else { 0 };
        let chosen = ready.iter().skip(start).take(MAX_STREAMS);
        let chosen: Vec<_> =
            chosen.map(|(queue, key, position)| (*queue, (*key).clone(), *position)).collect();
        self.next_stream = start + chosen.len();
        (state.generation, chosen)
    }

    /// What is in these streams behind their positions; waits for it for a while.
    fn look(
        &mut self,
        chosen: &[(QueueId, String, StreamId)],
        block: Duration,
    ) -> Result<Vec<Vec<Entry>>, Fault> {
        let Some(link) = self.link.as_mut() else { return Ok(Vec::new()) };
        let mut command = redis::cmd("XREAD");
        let block_ms = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg("COUNT").arg(self.count).arg("BLOCK").arg(block_ms).arg("STREAMS");
        for (_, key, _) in chosen {
            command.arg(key);
        }
        for (_, _, after) in chosen {
            command.arg(after.to_string());
        }
        let mut found = BTreeMap::new();
        match link.ask_blocking(&command, block)? {
            Value::Nil => {}
            Value::Array(streams) => {
                for stream in streams {
                    let (key, stream) = pair(stream)?;
                    let Value::BulkString(key) = key else { return Err(unexpected(&key)) };
                    found.insert(key, entries(stream)?);
                }
            }
            other => return Err(unexpected(&other)),
        }
        if !found.is_empty() {
            let bytes = found.values().flatten().map(Entry::bytes).sum();
            self.count = fitting_count(self.count, bytes);
        }
        let of = |(_, key, _): &(QueueId, String, StreamId)| found.remove(key.as_bytes());
        Ok(chosen.iter().map(of).map(Option::unwrap_or_default).collect())
    }
}

/// How many entries the next look asks of a stream, when the one before asked for `count` and brought so many bytes.
pub(super) fn fitting_count(count: usize, bytes: usize) -> usize {
    if bytes > 2 * LOOK_BYTES {
        (count / 2).max(1)
    } else if bytes < LOOK_BYTES / 2 {
        (count * 2).min(MAX_COUNT)
    } else {
        count
    }
}

/// A Redis that may drop what it likes when its memory is full loses messages.
fn warn_of_eviction(link: &mut Link) {
    let answer = link.ask(redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy"));
    let Ok(Value::Array(values)) = answer else { return };
    if let Some(Value::BulkString(policy)) = values.get(1)
        && policy != b"noeviction"
    {
        let policy = String::from_utf8_lossy(policy);
        tracing::warn!(%policy, "Redis may drop entries when its memory is full; set maxmemory-policy noeviction");
    }
}
