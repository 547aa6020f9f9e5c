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

/// Bytes of the file that should be messages and aren't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadPlace {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Scan {
    /// Looks at the database in `folder`, whose file `db` is there. Commits up to `synced` are known to have
    /// been synced, since the store was closed after it (0: it was not). Reads at most what sled would read to open it.
    pub(super) fn of(folder: &Path, segment_bytes: usize, synced: u64) -> io::Result<Self> {
        let snapshot = match Snapshot::find(folder)? {
            Found::None => Snapshot::default(),
            Found::Sound(snapshot) => snapshot,
            Found::Damaged(path) => {
                return Ok(Self::unread(Verdict::DamagedSnapshot(path)));
            }
        };
        let log = &mut LogFile::open(folder, segment_bytes)?;
        let order = Order::of(log.segments()?, snapshot.stable_lsn, log.segment_bytes());
        let mut replay = Replay::new(&order, snapshot.stable_lsn, synced);
        for (&lsn, &start) in &order.segments {
            replay.begin(lsn);
            log.walk(start, order.max_number, |item| replay.take(item))?;
            replay.end(start);
        }
        if replay.is_file_short(&snapshot, log.len()) {
            let what = format!("its file ends at {} and should be longer", log.len());
            return Ok(Self::unread(Verdict::Damaged(what)));
        }
        let mut unneeded = BTreeSet::new();
        for suspect in std::mem::take(&mut replay.suspects) {
            let mut is_needed = false;
            log.walk(suspect.start, order.max_number, |item| {
                is_needed |= replay.is_needed(&suspect, item);
            })?;
            if is_needed || replay.is_page_missing(&snapshot) {
                replay.damaged_middle = replay.damaged_middle.or(Some(suspect.number));
            } else {
                unneeded.insert(suspect.start.offset);
            }
        }
        for &start in &order.without_header {
            replay.begin_lost();
            log.walk(start, order.max_number, |item| replay.take(item))?;
        }
        if !replay.is_clean() && replay.synced > replay.seen {
            // The commits that the snapshot covers count too.
            for &start in &order.earlier {
                log.walk(start, order.max_number, |item| replay.take_earlier(item))?;
            }
        }
        // At the latest the log ends where its next segment would begin: what stands there has no header yet.
        let end =
            if replay.synced > replay.seen { u64::MAX } else { replay.end.min(replay.expected) };
        Ok(Self { verdict: replay.verdict(&order), bad: replay.bad, end, unneeded })
    }

    fn unread(verdict: Verdict) -> Self {
        Self { verdict, bad: Vec::new(), end: u64::MAX, unneeded: BTreeSet::new() }
    }
}

#[cfg(test)]
pub(super) mod tests;
