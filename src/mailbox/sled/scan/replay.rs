//! What sled would make of its log, and what that leaves out.

use std::collections::BTreeMap;

use super::super::codec::{Reader, unseal};
use super::super::layout::CHANGES;
use super::super::raw::{Item, Kind, RawMessage, SegmentStart, Snapshot, Update};
use super::super::segment::{Segment, synced_before};
use super::order::Order;
use super::{BadPlace, Confirmed, Verdict};

/// A bad segment in the middle; perhaps it was being overwritten.
pub(super) struct Suspect {
    pub(super) start: SegmentStart,
    /// Of its messages, as its header says.
    pub(super) number: u64,
}

/// Does what sled does when it replays, and looks at what that leaves out.
pub(super) struct Replay {
    segment_bytes: u64,
    first: u64,
    tail: u64,
    /// sled's snapshot has all before this.
    stable_lsn: u64,
    /// The number of the messages in the segment that is being read; `None`: its header is bad.
    number: Option<u64>,
    /// The next segment of the tail.
    pub(super) expected: u64,
    /// sled has found the log's end.
    is_over: bool,
    /// Where that is.
    pub(super) end: u64,
    /// Nothing was written behind the last message.
    is_at_end: bool,
    /// sled has left the segment that is being read.
    is_left: bool,
    /// Messages of a later use of the segment were met in it.
    is_overwritten: bool,
    pub(super) damaged_middle: Option<u64>,
    /// A segment at the log's end that has zeroes for a header.
    without_header: Option<u64>,
    /// sled would write on in a segment that it doesn't see.
    pub(super) is_active_missing: bool,
    pub(super) suspects: Vec<Suspect>,
    /// Where each page was last written whole, as a place in the log.
    pub(super) anew: BTreeMap<u64, u64>,
    /// The highest number of a page that was written, whole or in part; pages are numbered from 0 on.
    last_page: Option<u64>,
    pub(super) bad: Vec<BadPlace>,
    /// A bad place ends what sled sees of a segment.
    is_torn: bool,
    prefixes: BTreeMap<u64, Vec<u8>>,
    /// The newest commit that sled would see.
    pub(super) seen: u64,
    /// The newest commit that is known to have been synced.
    pub(super) synced: u64,
    confirmed: Confirmed,
    /// A small commit was met, or the number with which a generation begins.
    has_small_commit: bool,
}

impl Replay {
    pub(super) fn new(order: &Order, stable_lsn: u64, confirmed: Confirmed) -> Self {
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
            without_header: None,
            is_active_missing: false,
            suspects: Vec::new(),
            anew: BTreeMap::new(),
            last_page: None,
            bad: Vec::new(),
            is_torn: false,
            prefixes: BTreeMap::new(),
            seen: 0,
            synced: confirmed.commit(),
            confirmed,
            has_small_commit: false,
        }
    }

    pub(super) fn begin(&mut self, lsn: u64) {
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
    pub(super) fn begin_lost(&mut self) {
        self.number = None;
        self.is_left = true;
    }

    /// `is_cut`: the file ends before the segment does.
    pub(super) fn end(&mut self, start: SegmentStart, is_cut: bool) {
        if self.is_left && !self.is_tail() && is_cut {
            // Here sled stops, whatever follows. No crash leaves that: the file was longer when this was synced.
            self.damaged_middle = self.damaged_middle.or(self.number);
        } else if self.is_left && !self.is_tail() && !self.is_overwritten {
            self.suspects.extend(self.number.map(|number| Suspect { start, number }));
        }
    }

    /// Does a bad segment hold this, of its own use, and nothing later says the same anew? sled doesn't write
    /// over such a segment.
    pub(super) fn is_needed(&self, suspect: &Suspect, item: Item<'_>) -> bool {
        let message = match item {
            Item::Message { message, .. } | Item::Bad { like: Some(message), .. } => message,
            Item::Bad { like: None, .. } | Item::Blank { .. } => return false,
        };
        message.number == suspect.number && self.is_newest(&message)
    }

    fn is_newest(&self, message: &RawMessage<'_>) -> bool {
        let anew = self.anew.get(&message.page).copied().unwrap_or(0);
        message.kind.is_of_page() && anew / self.segment_bytes <= message.number
    }

    /// Something in a segment with zeroes for a header: returns whether the log lacks that segment, since nothing later
    /// says the same anew. In the middle that is damage: sled gives zeroes to what it needs no more, and a crash may
    /// leave some of them. At the end a crash may have left all but the header.
    pub(super) fn take_blank(&mut self, item: Item<'_>, order: &Order) -> bool {
        let Item::Message { offset, message } = item else { return false };
        self.note(&message, offset);
        let lsn = message.number.saturating_mul(self.segment_bytes);
        let is_missing =
            lsn >= self.first && !order.segments.contains_key(&lsn) && self.is_newest(&message);
        if is_missing {
            self.without_header = self.without_header.or(Some(message.number));
        }
        if is_missing && (lsn < self.tail || (self.is_active_missing && lsn == self.first)) {
            self.damaged_middle = self.damaged_middle.or(Some(message.number));
        }
        is_missing
    }

    /// What contradicts the snapshot, of pages that were not written anew since: one is placed behind the file's end
    /// (sled gives the end of its file back once all pages there were, and its snapshot stays as it is), or in a
    /// segment whose header (`lsns` has them, in the file's order) says that it is another.
    pub(super) fn contradiction(
        &self,
        snapshot: &Snapshot,
        lsns: &[Option<u64>],
        len: u64,
    ) -> Option<String> {
        snapshot.needed_parts(&self.anew).find_map(|part| {
            if part.offset >= len {
                return Some(format!("its file ends at {len} and should be longer"));
            }
            let at = part.offset / self.segment_bytes;
            let lsn = usize::try_from(at).ok().and_then(|at| *lsns.get(at)?);
            let expected = part.lsn / self.segment_bytes * self.segment_bytes;
            let offset = at * self.segment_bytes;
            (lsn.is_some_and(|lsn| lsn != expected)).then(|| {
                format!("the segment at offset {offset} is another one than its snapshot says")
            })
        })
    }

    /// A bad place in what the snapshot has, of a page that was not written anew since: no torn end, however
    /// little follows. sled opens, and fails when it reads the page.
    fn damaged_part(&self, snapshot: &Snapshot) -> Option<String> {
        let is_in = |place: &BadPlace, offset: u64| {
            (place.offset..place.offset.saturating_add(place.bytes)).contains(&offset)
        };
        let part = snapshot
            .needed_parts(&self.anew)
            .find(|part| self.bad.iter().any(|place| is_in(place, part.offset)))?;
        Some(format!("what is at offset {} of its file is damaged, and needed", part.offset))
    }

    /// The segment in which the snapshot ends must be there: else sled writes on in it, and sees nothing of that
    /// when it is opened again.
    pub(super) fn look_for_active(&mut self, order: &Order) {
        let is_begun = !self.stable_lsn.is_multiple_of(self.segment_bytes);
        let is_last = self.tail == self.first;
        self.is_active_missing = is_begun && is_last && !order.segments.contains_key(&self.first);
        if self.is_active_missing {
            self.damaged_middle = self.damaged_middle.or(Some(self.first / self.segment_bytes));
        }
    }

    /// One of sled's pages, which it numbers from 0 on, that is neither in its snapshot nor in what it would replay:
    /// it panics.
    pub(super) fn missing_page(&self, snapshot: &Snapshot) -> Option<u64> {
        let known = snapshot.pages.len() as u64;
        let mut there = self.anew.range(known..).map(|(page, _)| *page);
        (known..=self.last_page?).find(|&page| there.next() != Some(page))
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

    /// What the snapshot has was confirmed, also behind a bad place.
    fn finish(&mut self, lsn: u64) {
        self.is_over = true;
        self.end = self.end.min(lsn.max(self.stable_lsn));
    }

    /// The place in the log of what is at this offset of the file, in the segment that is being read.
    fn lsn_at(&self, offset: u64) -> u64 {
        self.number.map_or(u64::MAX, |number| {
            number.saturating_mul(self.segment_bytes).saturating_add(offset % self.segment_bytes)
        })
    }

    pub(super) fn take(&mut self, item: Item<'_>) {
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
                // Where the snapshot ends sled begins to read, whatever is before that.
                let end = self.lsn_at(offset).saturating_add(bytes);
                if !self.is_tail() || end > self.stable_lsn {
                    self.is_torn = true;
                    self.leave(offset);
                }
            }
            // In the tail it is the end of the log. Else there was more: a full segment ends with a message.
            Item::Blank { offset } => {
                self.is_at_end = self.is_tail();
                if self.is_at_end {
                    self.end = self.end.min(self.lsn_at(offset));
                } else {
                    self.leave(offset);
                }
            }
        }
    }

    /// Is something missing at the end that had been synced?
    pub(super) fn is_too_short(&self) -> bool {
        // Of a clean log it is known only once it was replayed.
        let is_looked_at = match self.confirmed {
            Confirmed::Closed(_) => !self.is_clean(),
            // One that an earlier version salvaged was left without its newest small commit.
            Confirmed::Sealed(_) => !self.is_clean() || self.has_small_commit || self.seen == 0,
        };
        is_looked_at && self.synced > self.seen
    }

    /// Nothing is bad, and sled sees all of it.
    fn is_clean(&self) -> bool {
        self.bad.is_empty() && !self.is_left && !self.is_over
    }

    pub(super) fn take_earlier(&mut self, item: Item<'_>) {
        if let Item::Message { offset, message } = item {
            self.note(&message, offset);
        }
    }

    fn note(&mut self, message: &RawMessage<'_>, offset: u64) {
        let place = offset % self.segment_bytes;
        let lsn = message.number.saturating_mul(self.segment_bytes).saturating_add(place);
        let is_seen = lsn < self.stable_lsn || (!self.is_over && !self.is_left);
        if is_seen && message.kind.is_whole_page() {
            let anew = self.anew.entry(message.page).or_default();
            *anew = lsn.max(*anew);
        }
        if is_seen && message.kind.is_of_page() {
            self.last_page = self.last_page.max(Some(message.page));
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
        self.has_small_commit |= !Segment::is_segment(value);
        if is_seen {
            self.seen = self.seen.max(commit);
        }
        self.synced = self.synced.max(synced);
    }

    fn header_is_damaged(&self, number: u64) -> String {
        let lsn = number * self.segment_bytes;
        format!("the header of the segment for {lsn} of the log is damaged")
    }

    pub(super) fn verdict(&self, order: &Order, snapshot: &Snapshot) -> Verdict {
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
                None => self.header_is_damaged(number),
            };
            return Verdict::Damaged(what);
        }
        if let Some(page) = self.missing_page(snapshot) {
            return Verdict::Damaged(format!("nothing of page {page} is in its log"));
        }
        if self.is_too_short() {
            let (seen, synced) = (self.seen, self.synced);
            let what = format!("commits up to {synced} were synced, and only {seen} can be read");
            return Verdict::Damaged(match self.without_header {
                Some(number) => format!("{what}: {}", self.header_is_damaged(number)),
                None => what,
            });
        }
        if let Some(what) = self.damaged_part(snapshot) {
            return Verdict::Damaged(what);
        }
        if self.is_torn { Verdict::TornTail } else { Verdict::Sound }
    }
}

/// The number of the commit that a value makes whole, and of the newest that was synced before it.
fn commit_of(key: &[u8], value: &[u8]) -> Option<(u64, u64)> {
    // In a change it is without its page's prefix.
    if CHANGES.ends_with(key)
        && let Ok(body) = unseal(CHANGES, value)
    {
        let mut reader = Reader::new(body);
        let commit = reader.number().ok()?;
        return Some((commit, synced_before(reader.take(reader.left()).ok()?)));
    }
    let id = Segment::id_of(key, value)?;
    let segment = Segment::decode(id, value.into()).ok()?;
    let synced = synced_before(segment.inline_changes());
    segment.frame.is_final.then_some((segment.frame.commit, synced))
}
