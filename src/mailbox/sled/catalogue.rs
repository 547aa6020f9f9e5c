//! Where the log values of a sealed generation are in sled's file: they are read without sled.
//!
//! To open a generation takes sled some 40 ms, and its cache keeps what is read. Who pages through long backlogs meets
//! another generation on nearly every page. So its file is gone through once, when it is opened for the first time since
//! it was sealed, and what is found is kept beside it; each value is read from where it is. A log value is written once
//! and never changed, and its checksum covers its key: what is found under a key and is sound is the value. Whatever
//! isn't found, or isn't sound, is asked of sled.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::sled::IVec;

use super::codec::{Decoded, Reader, put_difference, put_number, seal, unseal};
use super::gather::{Place, log_id};
use super::layout::{SLED_SEGMENT_BYTES, VALUE_SLOT, log_key};
use super::raw::{LogFile, RawMessage, Update};

/// The file in a generation's folder that keeps its catalogue, and its name until it is written whole.
const NAME: &str = "catalogue";
const NEW_NAME: &str = "catalogue.new";
/// What its checksum begins with.
const KEY: &[u8] = b"catalogue 1";

/// Bytes that are fetched before they are asked for: what a page of a hundred commits' values has, and some.
const MAX_EXPECTED: u64 = 16 * 1024 * 1024;
/// What lies between two of them is fetched too, if it isn't more.
const MAX_GAP: u64 = 64 * 1024;

thread_local! {
    /// What is read is checked here before it is kept: a page reads a hundred values of 90 KB, and memory that is new for
    /// each costs more than the reading.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is where a value should be isn't that: sled has moved it, or it is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong;

/// The places of one generation's log values.
#[derive(Debug)]
pub(super) struct Catalogue {
    folder: PathBuf,
    /// The file's number.
    inode: u64,
    /// Ascending by id.
    places: Vec<(u64, Place)>,
}

impl Catalogue {
    /// As it is kept in a generation's folder, or made of the file there.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        match Self::kept(folder) {
            Some(kept) => Ok(kept),
            None => Self::made(folder),
        }
    }

    /// Sees to it that it is kept in a sealed generation's folder. It need not be durable: whatever a crash leaves of it,
    /// it is made again.
    pub(super) fn keep(folder: &Path) -> io::Result<()> {
        if Self::kept(folder).is_some() {
            return Ok(());
        }
        let made = Self::made(folder)?;
        let new = folder.join(NEW_NAME);
        fs::write(&new, made.encode())?;
        fs::rename(new, folder.join(NAME))
    }

    fn kept(folder: &Path) -> Option<Self> {
        let bytes = fs::read(folder.join(NAME)).ok()?;
        let places = decode(&bytes).ok()?;
        let inode = LogFile::open(folder, SLED_SEGMENT_BYTES).and_then(|log| log.inode()).ok()?;
        Some(Self { folder: folder.to_owned(), inode, places })
    }

    /// Goes through the file in a generation's folder. Nothing is expected of it: what can't be read isn't listed.
    fn made(folder: &Path) -> io::Result<Self> {
        let mut log = LogFile::open(folder, SLED_SEGMENT_BYTES)?;
        let inode = log.inode()?;
        let starts = log.segments()?;
        let mut starts: Vec<_> =
            starts.into_iter().filter_map(|start| Some((start.header?.lsn, start))).collect();
        starts.sort_unstable_by_key(|&(lsn, _)| lsn);
        let mut pages = Pages::default();
        for (_, start) in starts {
            log.walk_own(start, |offset, message| pages.take(offset, &message))?;
        }
        let places = pages.values.into_iter().collect();
        Ok(Self { folder: folder.to_owned(), inode, places })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (mut id_before, mut end_before) = (0, 0);
        for &(id, place) in &self.places {
            put_difference(&mut out, &mut id_before, id);
            put_difference(&mut out, &mut end_before, place.offset);
            put_number(&mut out, place.bytes as u64);
            end_before = end_before.wrapping_add(place.bytes as u64);
        }
        seal(KEY, &mut out);
        out
    }

    /// Was it made of the file that is in this folder?
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        let there = LogFile::open(folder, SLED_SEGMENT_BYTES).and_then(|log| log.inode());
        there.is_ok_and(|inode| inode == self.inode)
    }

    /// It is wrong: it is made again when it is needed.
    pub(super) fn forget(&self) {
        // One that can't be removed costs time only.
        let _ = fs::remove_file(self.folder.join(NAME));
    }

    /// How many values are listed.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn place(&self, id: u64) -> Option<Place> {
        let at = self.places.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.places.get(at).map(|&(_, place)| place)
    }

    /// Values with these ids, ascending, are about to be read: they are fetched together. One by one a page of a hundred waits
    /// for the disk a hundred times.
    pub(super) fn expect(&self, ids: &[u64]) {
        let Ok(log) = LogFile::open(&self.folder, SLED_SEGMENT_BYTES) else { return };
        let places: Vec<Place> = ids.iter().filter_map(|&id| self.place(id)).collect();
        let mut left = MAX_EXPECTED;
        for run in
            places.chunk_by(|a, b| (end(a)..end(a).saturating_add(MAX_GAP)).contains(&b.offset))
        {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let bytes = end(last).saturating_sub(first.offset).min(left);
            left -= bytes;
            log.expect(first.offset, bytes);
        }
    }

    /// A value, if it is listed and the file can be read.
    pub(super) fn value(&self, id: u64) -> Result<Option<IVec>, Wrong> {
        let Some(place) = self.place(id) else { return Ok(None) };
        // Not kept open: there may be a thousand generations.
        let Ok(log) = LogFile::open(&self.folder, SLED_SEGMENT_BYTES) else { return Ok(None) };
        if end(&place) > log.len() {
            return Err(Wrong);
        }
        SCRATCH.with_borrow_mut(|value| {
            value.resize(place.bytes, 0);
            if log.read_into(place.offset, value).is_err() {
                return Ok(None);
            }
            unseal(&log_key(id, VALUE_SLOT), value).map_err(|_| Wrong)?;
            Ok(Some(IVec::from(value.as_slice())))
        })
    }

    /// Puts all values of a kept one elsewhere.
    #[cfg(test)]
    pub(super) fn misplace(folder: &Path) {
        let mut kept = Self::kept(folder).unwrap();
        kept.places.iter_mut().for_each(|(_, place)| place.offset += 1);
        fs::write(folder.join(NAME), kept.encode()).unwrap();
    }
}

/// Where a value ends in the file.
fn end(place: &Place) -> u64 {
    place.offset.saturating_add(place.bytes as u64)
}

/// What [`Catalogue::encode`] wrote.
fn decode(bytes: &[u8]) -> Decoded<Vec<(u64, Place)>> {
    let mut reader = Reader::new(unseal(KEY, bytes)?);
    let (mut places, mut id, mut end) = (Vec::new(), 0, 0);
    while !reader.is_empty() {
        reader.difference(&mut id)?;
        let offset = reader.difference(&mut end)?;
        let bytes = reader.size()?;
        end = end.wrapping_add(bytes as u64);
        places.push((id, Place { offset, bytes }));
    }
    Ok(places)
}

/// sled's pages as they are after each message of its log.
#[derive(Default)]
struct Pages {
    /// What each page's keys begin with: changes of it leave that out.
    prefixes: HashMap<u64, Vec<u8>>,
    values: BTreeMap<u64, Place>,
}

impl Pages {
    fn take(&mut self, offset: u64, message: &RawMessage<'_>) {
        let body_offset = offset + (message.bytes - message.body.len()) as u64;
        let place = |value: &[u8]| {
            let start = value.as_ptr() as usize - message.body.as_ptr() as usize;
            Place { offset: body_offset + start as u64, bytes: value.len() }
        };
        match Update::decode(message) {
            Some(Update::Page(page)) => {
                for &(key, value) in &page.entries {
                    self.put(&[page.prefix, key].concat(), place(value));
                }
                self.prefixes.insert(message.page, page.prefix.to_vec());
            }
            Some(Update::Set(suffix, value)) => {
                if let Some(key) = self.key(message.page, suffix) {
                    self.put(&key, place(value));
                }
            }
            // Nothing is removed from the log of a part.
            Some(Update::Del(_) | Update::Free | Update::Other) | None => {}
        }
    }

    /// `None`: the page was written anew later, and its older versions were written over.
    fn key(&self, page: u64, suffix: &[u8]) -> Option<Vec<u8>> {
        Some([self.prefixes.get(&page)?, suffix].concat())
    }

    fn put(&mut self, key: &[u8], place: Place) {
        // Empty is what is put where a value is to come.
        if let Some(id) = log_id(key).filter(|_| place.bytes > 0) {
            self.values.insert(id, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::codec::seal;
    use super::super::generation::Generation;
    use super::*;

    /// Writes as commits do, and much else on the same pages, so that sled splits, moves and frees them.
    fn written(folder: &Path, seed: u64) -> BTreeMap<u64, Vec<u8>> {
        let generation = Generation::open(folder.to_owned(), 1, 1 << 20).unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut model = BTreeMap::new();
        for id in 1..=400_u64 {
            for slot in [0, VALUE_SLOT, 2] {
                generation.insert(&generation.log, &log_key(id, slot), b"".as_slice()).unwrap();
            }
            let mut value = vec![rng.u8(..); rng.usize(20..60_000)];
            seal(&log_key(id, VALUE_SLOT), &mut value);
            generation.insert(&generation.log, &log_key(id, VALUE_SLOT), value.as_slice()).unwrap();
            model.insert(id, value);
            for _ in 0..8 {
                let key = [b"s".as_slice(), &rng.u64(0..64).to_be_bytes()].concat();
                let value = vec![7; rng.usize(0..9_000)];
                generation.insert(&generation.state, &key, value).unwrap();
            }
            let key = [b"s".as_slice(), &rng.u64(0..64).to_be_bytes()].concat();
            generation.remove(&generation.state, &key).unwrap();
        }
        generation.sync().unwrap();
        model
    }

    #[test]
    fn every_value_is_found_as_sled_has_it() {
        for seed in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("gen-1");
            let model = written(&folder, seed);
            let catalogue = Catalogue::of(&folder).unwrap();
            let listed: Vec<u64> = catalogue.places.iter().map(|&(id, _)| id).collect();
            let there: Vec<u64> = model.keys().copied().collect();
            assert_eq!(listed, there, "seed {seed}");
            for (&id, value) in &model {
                let found = catalogue.value(id).unwrap().unwrap();
                assert!(found == *value, "seed {seed}, id {id}");
            }
            // sled writes some when it opens a database anew; what is found is the same.
            drop(Generation::open(folder.clone(), 1, 1 << 20).unwrap());
            let anew = Catalogue::of(&folder).unwrap();
            assert!(model.iter().all(|(&id, value)| anew.value(id).unwrap().unwrap() == *value));
            Catalogue::keep(&folder).unwrap();
            let kept = Catalogue::kept(&folder).expect("it was written");
            assert_eq!(kept.places, anew.places, "seed {seed}");
        }
    }

    #[test]
    fn a_kept_one_is_whole_or_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("gen-1");
        let model = written(&folder, 4);
        Catalogue::keep(&folder).unwrap();
        let file = folder.join(NAME);
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.len() < 12 * model.len(), "{} bytes", bytes.len());
        for at in (0..bytes.len()).step_by(37) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            for bad in [&bad[..], &bytes[..at]] {
                fs::write(&file, bad).unwrap();
                assert!(Catalogue::kept(&folder).is_none(), "at {at}");
            }
        }
        Catalogue::keep(&folder).unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }

    #[test]
    fn what_is_damaged_is_left_to_sled() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("gen-1");
        let model = written(&folder, 9);
        let catalogue = Catalogue::of(&folder).unwrap();
        let (&id, _) = model.iter().nth(model.len() / 2).unwrap();
        let at = catalogue.places.binary_search_by_key(&id, |&(id, _)| id).unwrap();
        let (_, place) = catalogue.places[at];
        let file = folder.join("db");
        let mut bytes = fs::read(&file).unwrap();
        bytes[place.offset as usize + 3] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(catalogue.value(id), Err(Wrong));
        // sled may have written the page before, too; a sound value is right wherever it is.
        let anew = Catalogue::of(&folder).unwrap();
        for (&id, value) in &model {
            let found = anew.value(id).unwrap();
            assert!(found.is_none_or(|found| found == *value), "id {id}");
        }
    }
}
