//! Is a database whole? Asked before sled opens it, since sled cuts off what it can't read.
//!
//! Only what sled would replay is looked at: the log since its snapshot. It may end in a *torn tail*: what
//! was being written when the process or the machine stopped, in any order and by halves. That is normal,
//! and cut off. It is *damage* if something goes missing with it that had been synced; each commit says how
//! far the store had been synced when it was written, so commits behind a bad place tell of those before.
//!
//! sled writes over a segment once all pages in it have been written anew in later ones. A power cut then may
//! leave some sectors of the new bytes (or of the zeroes that sled writes there while it opens) under the old
//! header, so that a segment in the middle is bad and nothing is missing: all that can be read of its old use
//! is out of date. That is told from damage by looking for anything in it that is not.

mod order;
mod replay;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use self::order::Order;
use self::replay::Replay;
use super::raw::{Found, LogFile, Snapshot};

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) verdict: Verdict,
    /// Every bad place, in the order of the log.
    pub(super) bad: Vec<BadPlace>,
    /// What stands in the log from here on was never confirmed, and not all of it may be there.
    pub(super) end: u64,
    /// Offsets of segments that are bad, and nothing in them is needed.
    pub(super) unneeded: BTreeSet<u64>,
    /// Offsets of segments that sled takes for free ones, and something in them is needed.
    pub(super) needed: BTreeSet<u64>,
}

/// What may be done with a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// sled may open it.
    Sound,
    /// sled may open it: it cuts off what was never confirmed.
    TornTail,
    /// sled would lose something that was.
    Damaged(String),
    /// sled refuses this snapshot; without it, it replays its whole log.
    DamagedSnapshot(PathBuf),
}

/// The newest commit that is known to have been synced; 0: none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The store was closed after it. Whether a log that ends with a whole message ends too early is found out when
    /// it is opened.
    Closed(u64),
    /// The next generation began after it.
    Sealed(u64),
}

impl Confirmed {
    fn commit(self) -> u64 {
        match self {
            Self::Closed(commit) | Self::Sealed(commit) => commit,
        }
    }
}

/// Bytes of the file that should be messages and aren't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadPlace {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Scan {
    /// Looks at the database in `folder`, whose file `db` is there. Reads what sled would read to open it, and the
    /// rest of the log only if commits are missing.
    pub(super) fn of(
        folder: &Path,
        segment_bytes: usize,
        confirmed: Confirmed,
    ) -> io::Result<Self> {
        let snapshot = match Snapshot::find(folder)? {
            Found::None => Snapshot::default(),
            Found::Sound(snapshot) => snapshot,
            Found::Damaged(path) => {
                return Ok(Self::unread(Verdict::DamagedSnapshot(path)));
            }
        };
        let log = &mut LogFile::open(folder, segment_bytes)?;
        let starts = log.segments()?;
        let lsns: Vec<_> = starts.iter().map(|start| Some(start.header?.lsn)).collect();
        let order = Order::of(starts, snapshot.stable_lsn, log.segment_bytes());
        let mut replay = Replay::new(&order, snapshot.stable_lsn, confirmed);
        for (&lsn, &start) in &order.segments {
            replay.begin(lsn);
            log.walk(start, order.max_number, |item| replay.take(item))?;
            replay.end(start, start.offset + log.segment_bytes() > log.len());
        }
        replay.look_for_active(&order);
        if let Some(what) = replay.contradiction(&snapshot, &lsns, log.len()) {
            return Ok(Self::unread(Verdict::Damaged(what)));
        }
        let is_page_missing = replay.missing_page(&snapshot).is_some();
        let mut unneeded = BTreeSet::new();
        for suspect in std::mem::take(&mut replay.suspects) {
            let mut is_needed = false;
            log.walk(suspect.start, order.max_number, |item| {
                is_needed |= replay.is_needed(&suspect, item);
            })?;
            if is_needed || is_page_missing {
                replay.damaged_middle = replay.damaged_middle.or(Some(suspect.number));
            } else {
                unneeded.insert(suspect.start.offset);
            }
        }
        let mut needed = BTreeSet::new();
        for &start in &order.blank {
            replay.begin_lost();
            log.walk(start, order.max_number, |item| {
                if replay.take_blank(item, &order) {
                    needed.insert(start.offset);
                }
            })?;
        }
        for &start in &order.without_header {
            replay.begin_lost();
            log.walk(start, order.max_number, |item| replay.take(item))?;
        }
        if replay.is_too_short() {
            // The commits that the snapshot covers count too.
            for &start in &order.earlier {
                log.walk(start, order.max_number, |item| replay.take_earlier(item))?;
            }
        }
        // At the latest the log ends where its next segment would begin: what stands there has no header yet.
        let end = match replay.synced > replay.seen || replay.is_active_missing {
            true => u64::MAX,
            false => replay.end.min(replay.expected),
        };
        let verdict = replay.verdict(&order, &snapshot);
        if !matches!(verdict, Verdict::Damaged(_)) {
            // What stands behind the log's end was never confirmed.
            needed.clear();
        }
        Ok(Self { verdict, bad: replay.bad, end, unneeded, needed })
    }

    /// May sled open it?
    pub(super) fn is_trusted(&self) -> bool {
        matches!(self.verdict, Verdict::Sound | Verdict::TornTail)
    }

    fn unread(verdict: Verdict) -> Self {
        let (unneeded, needed) = Default::default();
        Self { verdict, bad: Vec::new(), end: u64::MAX, unneeded, needed }
    }
}

#[cfg(test)]
pub(super) mod tests;
