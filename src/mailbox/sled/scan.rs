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

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::codec::{Reader, unseal};
use super::layout::CHANGES;
use super::raw::{Found, Item, Kind, LogFile, RawMessage, SegmentStart, Snapshot, Update};
use super::segment::{Segment, synced_before};

/// Segments that sled may have begun to write beyond the last one whose header is there, with room to spare.
const SEGMENTS_AHEAD: u64 = 64;

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

/// The segments that sled would replay.
pub(super) struct Order {
    segment_bytes: u64,
    pub(super) segments: BTreeMap<u64, SegmentStart>,
    /// Those that its snapshot covers wholly.
    earlier: Vec<SegmentStart>,
    /// Those whose header is bad: sled doesn't see them.
    pub(super) without_header: Vec<SegmentStart>,
    /// Messages of later segments are not believed.
    pub(super) max_number: u64,
    /// sled replays from here on.
    first: u64,
    /// From here on sled takes a bad place for the end.
    tail: u64,
    same_lsn: Option<u64>,
}

impl Order {
    pub(super) fn of(starts: Vec<SegmentStart>, stable_lsn: u64, segment_bytes: u64) -> Self {
        let first = stable_lsn / segment_bytes * segment_bytes;
        let mut order = Self {
            segment_bytes,
            segments: BTreeMap::new(),
            earlier: Vec::new(),
            without_header: Vec::new(),
            max_number: 0,
            first,
            tail: first,
            same_lsn: None,
        };
        for start in starts {
            let Some(header) = start.header else {
                order.without_header.extend((!start.is_blank).then_some(start));
                continue;
            };
            order.max_number = order.max_number.max(header.lsn / segment_bytes);
            if header.lsn < first {
                order.earlier.push(start);
                continue;
            }
            order.tail = order.tail.max(header.stable_lsn / segment_bytes * segment_bytes);
            if order.segments.insert(header.lsn, start).is_some() {
                order.same_lsn = Some(header.lsn);
            }
        }
        order.max_number += SEGMENTS_AHEAD;
        order
    }
}

/// A bad segment in the middle; perhaps it was being overwritten.
struct Suspect {
    start: SegmentStart,
    /// Of its messages, as its header says.
    number: u64,
}

/// Does what sled does when it replays, and looks at what that leaves out.
struct Replay {
    segment_bytes: u64,
    first: u64,
    tail: u64,
    /// sled's snapshot has all before this.
    stable_lsn: u64,
    /// The number of the messages in the segment that is being read; `None`: its header is bad.
    number: Option<u64>,
    /// The next segment of the tail.
    expected: u64,
    /// sled has found the log's end.
    is_over: bool,
    /// Where that is.
    end: u64,
    /// Nothing was written behind the last message.
    is_at_end: bool,
    /// sled has left the segment that is being read.
    is_left: bool,
    /// Messages of a later use of the segment were met in it.
    is_overwritten: bool,
    damaged_middle: Option<u64>,
    suspects: Vec<Suspect>,
    /// Where each page was last written whole, as a place in the log.
    anew: BTreeMap<u64, u64>,
    bad: Vec<BadPlace>,
    prefixes: BTreeMap<u64, Vec<u8>>,
    /// The newest commit that sled would see.
    seen: u64,
    /// The newest commit that is known to have been synced.
    synced: u64,
}

impl Replay {
    fn new(order: &Order, stable_lsn: u64, synced: u64) -> Self {
        Self {
            segment_bytes: order.segment_bytes,
            first: order.first,
            tail: order.tail,
            stable_lsn,
            number: None,
            expected: order.tail,
            is_over: false,
            end: u64::MAX,
            is_at_end: false,
            is_left: false,
            is_overwritten: false,
            damaged_middle: None,
            suspects: Vec::new(),
            anew: BTreeMap::new(),
            bad: Vec::new(),
            prefixes: BTreeMap::new(),
            seen: 0,
            synced,
        }
    }

    fn begin(&mut self, lsn: u64) {
        self.number = Some(lsn / self.segment_bytes);
        (self.is_left, self.is_overwritten) = (false, false);
        if lsn >= self.tail {
            if self.is_at_end || lsn != self.expected {
                self.finish(self.expected);
            }
            self.expected = lsn + self.segment_bytes;
        }
    }

    /// A segment that sled doesn't see.
    fn begin_lost(&mut self) {
        self.number = None;
        self.is_left = true;
    }

    fn end(&mut self, start: SegmentStart) {
        if self.is_left && !self.is_tail() && !self.is_overwritten {
            self.suspects.extend(self.number.map(|number| Suspect { start, number }));
        }
    }

    /// Does a bad segment hold this, of its own use, and nothing later says the same anew? sled doesn't write
    /// over such a segment.
    fn is_needed(&self, suspect: &Suspect, item: Item<'_>) -> bool {
        let message = match item {
            Item::Message { message, .. } | Item::Bad { like: Some(message), .. } => message,
            Item::Bad { like: None, .. } | Item::Blank { .. } => return false,
        };
        let anew = self.anew.get(&message.page).copied().unwrap_or(0);
        message.number == suspect.number
            && message.kind.is_of_page()
            && anew / self.segment_bytes <= suspect.number
    }

    /// Does the snapshot place a page behind the file's end that was not written anew since? sled gives the end
    /// of its file back once all pages there were, and its snapshot stays as it is.
    fn is_file_short(&self, snapshot: &Snapshot, len: u64) -> bool {
        snapshot.needed_parts(&self.anew).any(|part| part.offset >= len)
    }

    /// Is one of sled's pages, which it numbers from 0 on, neither in its snapshot nor in what it would replay?
    fn is_page_missing(&self, snapshot: &Snapshot) -> bool {
        let known = snapshot.pages.len() as u64;
        let newer = self.anew.range(known..).map(|(page, _)| *page);
        (known..).zip(newer).any(|(expected, page)| expected != page)
    }

    fn is_tail(&self) -> bool {
        self.number.is_some_and(|number| number * self.segment_bytes >= self.tail)
    }

    fn leave(&mut self, offset: u64) {
        self.is_left = true;
        if self.is_tail() {
            self.finish(self.lsn_at(offset));
        }
    }

    fn finish(&mut self, lsn: u64) {
        self.is_over = true;
        self.end = self.end.min(lsn);
    }

    /// The place in the log of what is at this offset of the file, in the segment that is being read.
    fn lsn_at(&self, offset: u64) -> u64 {
        self.number.map_or(u64::MAX, |number| {
            number.saturating_mul(self.segment_bytes).saturating_add(offset % self.segment_bytes)
        })
    }

    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Message { offset, message } => {
                if self.number.is_some_and(|own| own != message.number) {
                    self.leave(offset);
                    self.is_overwritten |= self.number < Some(message.number);
                }
                let lsn = message.number.saturating_mul(self.segment_bytes);
                if self.number.is_none() && (self.first..self.tail).contains(&lsn) {
                    self.damaged_middle = self.damaged_middle.or(Some(message.number));
                }
                self.note(&message, offset);
            }
            Item::Bad { offset, bytes, .. } => {
                self.bad.push(BadPlace { offset, bytes });
                self.leave(offset);
            }
            // In the tail it is the end of the log, else that of the segment.
            Item::Blank { offset } => {
                self.is_at_end = self.is_tail();
                if self.is_at_end {
                    self.end = self.end.min(self.lsn_at(offset));
                }
            }
        }
    }

    /// Nothing is bad, and sled sees all of it.
    fn is_clean(&self) -> bool {
        self.bad.is_empty() && !self.is_left && !self.is_over
    }

    fn take_earlier(&mut self, item: Item<'_>) {
        if let Item::Message { offset, message } = item {
            self.note(&message, offset);
        }
    }

    fn note(&mut self, message: &RawMessage<'_>, offset: u64) {
        let place = offset % self.segment_bytes;
        let lsn = message.number.saturating_mul(self.segment_bytes).saturating_add(place);
        let is_seen = lsn < self.stable_lsn || (!self.is_over && !self.is_left);
        if is_seen && message.kind.is_whole_page() {
            self.anew.insert(message.page, lsn);
        }
        match message.kind {
            Kind::Node | Kind::Link => {}
            Kind::Canceled
            | Kind::Cap
            | Kind::BatchManifest
            | Kind::Free
            | Kind::Counter
            | Kind::Meta
            | Kind::Blob => return,
        }
        match Update::decode(message) {
            Some(Update::Page(page)) => {
                self.prefixes.insert(message.page, page.prefix.to_vec());
                for (key, value) in page.entries {
                    self.note_value(&[page.prefix, key].concat(), value, is_seen);
                }
            }
            Some(Update::Set(key, value)) => {
                let prefix = self.prefixes.get(&message.page).map_or(&[][..], Vec::as_slice);
                self.note_value(&[prefix, key].concat(), value, is_seen);
            }
            Some(Update::Del(_) | Update::Free | Update::Other) | None => {}
        }
    }

    fn note_value(&mut self, key: &[u8], value: &[u8], is_seen: bool) {
        let Some((commit, synced)) = commit_of(key, value) else { return };
        if is_seen {
            self.seen = self.seen.max(commit);
        }
        self.synced = self.synced.max(synced);
    }

    fn verdict(&self, order: &Order) -> Verdict {
        if let Some(lsn) = order.same_lsn {
            return Verdict::Damaged(format!(
                "two segments say that they begin at {lsn} of the log"
            ));
        }
        if let Some(number) = self.damaged_middle {
            let lsn = number * self.segment_bytes;
            let what = match order.segments.get(&lsn) {
                Some(SegmentStart { offset, .. }) => {
                    format!("the segment at offset {offset} is damaged, and others follow it")
                }
                None => format!("the header of the segment for {lsn} of the log is damaged"),
            };
            return Verdict::Damaged(what);
        }
        // Of a clean log it is known only once it was replayed whether it ends too early.
        if !self.is_clean() && self.synced > self.seen {
            let (seen, synced) = (self.seen, self.synced);
            let what = format!("commits up to {synced} were synced, and only {seen} can be read");
            return Verdict::Damaged(what);
        }
        if self.bad.is_empty() { Verdict::Sound } else { Verdict::TornTail }
    }
}

/// The number of the commit that a value makes whole, and of the newest that was synced before it.
fn commit_of(key: &[u8], value: &[u8]) -> Option<(u64, u64)> {
    if key == CHANGES {
        let mut reader = Reader::new(unseal(CHANGES, value).ok()?);
        let commit = reader.number().ok()?;
        return Some((commit, synced_before(reader.take(reader.left()).ok()?)));
    }
    let id = Segment::id_of(key, value)?;
    let segment = Segment::decode(id, value.into()).ok()?;
    let synced = synced_before(segment.inline_changes());
    segment.frame.is_final.then_some((segment.frame.commit, synced))
}

#[cfg(test)]
pub(super) mod tests;
