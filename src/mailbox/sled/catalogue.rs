//! Where the log values of a sealed generation are in sled's file: they are read without sled.
//!
//! To open a generation takes sled some 40 ms, and its cache keeps what is read. Who pages through long backlogs meets
//! another generation on nearly every page. So its file is gone through once, which takes a fraction of that, and each
//! value is read from where it is. A log value is written once and never changed, and its checksum covers its key: what
//! is found under a key and is sound is the value. Whatever isn't found, or isn't sound, is asked of sled.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use ::sled::IVec;

use super::codec::unseal;
use super::gather::{Place, log_id};
use super::layout::{SLED_SEGMENT_BYTES, VALUE_SLOT, log_key};
use super::raw::{LogFile, RawMessage, Update};

thread_local! {
    /// What is read is checked here before it is kept: a page reads a hundred values of 90 KB, and memory that is new for
    /// each costs more than the reading.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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
    /// Goes through the file in a generation's folder. Nothing is expected of it: what can't be read isn't listed.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
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

    /// Was it made of the file that is in this folder?
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        let there = LogFile::open(folder, SLED_SEGMENT_BYTES).and_then(|log| log.inode());
        there.is_ok_and(|inode| inode == self.inode)
    }

    /// How many values are listed.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// A value, if it is there and sound.
    pub(super) fn value(&self, id: u64) -> Option<IVec> {
        let at = self.places.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        let (_, place) = *self.places.get(at)?;
        // Not kept open: there may be a thousand generations.
        let log = LogFile::open(&self.folder, SLED_SEGMENT_BYTES).ok()?;
        SCRATCH.with_borrow_mut(|value| {
            value.resize(place.bytes, 0);
            log.read_into(place.offset, value).ok()?;
            let is_sound = unseal(&log_key(id, VALUE_SLOT), value).is_ok();
            is_sound.then(|| IVec::from(value.as_slice()))
        })
    }
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
                    self.put(&[page.prefix, key].concat(), Some(place(value)));
                }
                self.prefixes.insert(message.page, page.prefix.to_vec());
            }
            Some(Update::Set(suffix, value)) => {
                if let Some(key) = self.key(message.page, suffix) {
                    self.put(&key, Some(place(value)));
                }
            }
            Some(Update::Del(suffix)) => {
                if let Some(key) = self.key(message.page, suffix) {
                    self.put(&key, None);
                }
            }
            Some(Update::Free | Update::Other) | None => {}
        }
    }

    /// `None`: the page was written anew later, and its older versions were written over.
    fn key(&self, page: u64, suffix: &[u8]) -> Option<Vec<u8>> {
        Some([self.prefixes.get(&page)?, suffix].concat())
    }

    fn put(&mut self, key: &[u8], place: Option<Place>) {
        let Some(id) = log_id(key) else { return };
        // Empty is what is put where a value is to come.
        match place.filter(|place| place.bytes > 0) {
            Some(place) => self.values.insert(id, place),
            None => self.values.remove(&id),
        };
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
            if rng.u8(0..4) == 0 {
                let gone = rng.u64(1..=id);
                generation.remove(&generation.log, &log_key(gone, VALUE_SLOT)).unwrap();
                model.remove(&gone);
            }
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
            assert!(catalogue.places.iter().map(|(id, _)| id).eq(model.keys()), "seed {seed}");
            for (&id, value) in &model {
                assert!(
                    catalogue.value(id).is_some_and(|found| found == *value),
                    "seed {seed}, id {id}"
                );
            }
            // sled writes some when it opens a database anew; what is found is the same.
            drop(Generation::open(folder.clone(), 1, 1 << 20).unwrap());
            let anew = Catalogue::of(&folder).unwrap();
            assert!(model.iter().all(|(&id, value)| anew.value(id).is_some_and(|v| v == *value)));
        }
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
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[place.offset as usize + 3] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(catalogue.value(id), None);
        // sled may have written the page before, too; a sound value is right wherever it is.
        let anew = Catalogue::of(&folder).unwrap();
        for (&id, value) in &model {
            let found = anew.value(id);
            assert!(found.is_none_or(|found| found == *value), "id {id}");
        }
    }
}
