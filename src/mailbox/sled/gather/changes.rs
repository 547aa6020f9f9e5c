//! What commits changed in `state`: each holds it a second time, in its last log value or as a small commit.

use std::collections::BTreeMap;
use std::io;

use super::super::codec::{Decoded, Reader, unseal};
use super::super::layout::{VALUE_SLOT, log_key};
use super::super::raw::LogFile;
use super::super::segment::{Frame, Segment, change_at, decode_part};
use super::{Gather, NO_PAGE, Newest, PUT_TOGETHER, Place, Seen};

/// What a commit changed in `state`, out of a log value or small commit that holds it a second time.
#[derive(Debug)]
pub(super) struct Changes {
    /// The first place in the log where they were found.
    pub(super) lsn: u64,
    pub(super) values: Vec<(Vec<u8>, Option<Place>)>,
    /// They didn't fit: they are in the parts of this log value instead, which are so many.
    pub(super) parts: Option<(u64, u32)>,
}

/// When a leaf was last written whole, and which keys are its own: from `low` on and before `high` (empty:
/// there is no end).
#[derive(Debug, Default)]
pub(super) struct Leaf {
    pub(super) lsn: u64,
    pub(super) low: Vec<u8>,
    pub(super) high: Vec<u8>,
}

impl Gather {
    pub(super) fn take_segment(&mut self, seen: &Seen<'_>, id: u64, value: &[u8]) -> Decoded<()> {
        if !Segment::is_segment(value) {
            return Ok(());
        }
        let segment = Segment::decode(id, value.into())?;
        if !segment.frame.is_final {
            return Ok(());
        }
        let Frame { commit, parts, .. } = segment.frame;
        let changes = value.get(segment.changes_range()).unwrap_or_default();
        self.take_changes(seen, commit, changes)?;
        if parts > 0 && segment.directory().runs.is_empty() {
            self.commits.entry(commit).and_modify(|changes| changes.parts = Some((id, parts)));
        }
        Ok(())
    }

    pub(super) fn take_small_commit(&mut self, seen: &Seen<'_>, body: &[u8]) -> Decoded<()> {
        let mut reader = Reader::new(body);
        let commit = reader.number()?;
        self.take_changes(seen, commit, reader.take(reader.left())?)
    }

    fn take_changes(&mut self, seen: &Seen<'_>, commit: u64, changes: &[u8]) -> Decoded<()> {
        self.found.commit = self.found.commit.max(commit);
        if let Some(known) = self.commits.get_mut(&commit) {
            known.lsn = known.lsn.min(seen.lsn);
            return Ok(());
        }
        let values = self.decode_changes(changes, |value| seen.place(value))?;
        self.commits.insert(commit, Changes { lsn: seen.lsn, values, parts: None });
        Ok(())
    }

    fn decode_changes(
        &mut self,
        changes: &[u8],
        place: impl Fn(&[u8]) -> Place,
    ) -> Decoded<Vec<(Vec<u8>, Option<Place>)>> {
        let (mut values, mut reader) = (Vec::new(), Reader::new(changes));
        while !reader.is_empty() {
            let (key, value) = change_at(&mut reader)?;
            if let ([b'f', ..], Some(value)) = (key, value)
                && let Ok(body) = unseal(key, value)
            {
                self.take_floor(key, body)?;
            }
            if !key.is_empty() {
                values.push((key.to_vec(), value.map(&place)));
            }
        }
        Ok(values)
    }

    /// The changes of the newest commit if they are in parts of their own. Those of earlier commits were
    /// complete in `state` before it was written.
    pub(super) fn put_together(&mut self, log: &LogFile) -> io::Result<()> {
        let Some((_, newest)) = self.commits.last_key_value() else { return Ok(()) };
        let Some((segment, parts)) = newest.parts else { return Ok(()) };
        let mut bytes = Vec::new();
        for id in segment + 1..=segment + u64::from(parts) {
            let Some(place) = self.found.value(&log_key(id, VALUE_SLOT)) else { return Ok(()) };
            let value = log.read(place.offset, place.bytes)?;
            let Ok(part) = decode_part(id, segment, &value) else { return Ok(()) };
            bytes.extend_from_slice(part);
        }
        let start = bytes.as_ptr() as usize;
        let place = |value: &[u8]| Place {
            offset: PUT_TOGETHER + (value.as_ptr() as usize - start) as u64,
            bytes: value.len(),
        };
        let values = self.decode_changes(&bytes, place);
        if let (Ok(values), Some(mut newest)) = (values, self.commits.last_entry()) {
            newest.get_mut().values = values;
            self.found.put_together = bytes;
        }
        Ok(())
    }

    /// Puts in what the commits changed, each with its place in the log, if no page that was written later
    /// tells it. Pages are written anew from time to time, so a commit may be found behind where it was
    /// written; never behind a later one.
    pub(super) fn put_changes(&mut self) {
        let leaves = std::mem::take(&mut self.leaves).into_values();
        let leaves: BTreeMap<_, _> = leaves.map(|leaf| (leaf.low, (leaf.high, leaf.lsn))).collect();
        let is_told = |key: &Vec<u8>, lsn: u64| {
            let leaf = leaves.range::<Vec<u8>, _>(..=key).next_back();
            leaf.is_some_and(|(_, (high, then))| *then > lsn && (high.is_empty() || key < high))
        };
        // Of the newest not all may have got into `state` yet, so nothing there is newer.
        let newest = self.commits.pop_last();
        let mut before = newest.as_ref().map_or(u64::MAX, |(_, changes)| changes.lsn);
        for changes in self.commits.values_mut().rev() {
            before = before.min(changes.lsn);
            changes.lsn = before;
        }
        for Changes { lsn, values, .. } in std::mem::take(&mut self.commits).into_values() {
            for (key, place) in values.into_iter().filter(|(key, _)| !is_told(key, lsn)) {
                self.put(Newest { lsn, page: NO_PAGE, place }, &key);
            }
        }
        for (key, place) in newest.into_iter().flat_map(|(_, changes)| changes.values) {
            self.put(Newest { lsn: u64::MAX, page: NO_PAGE, place }, &key);
        }
    }
}
