//! Generations that are not written any more. Their log values are read from where they are in sled's files; for what else is
//! read a few are open, the others are opened when that is needed.

mod catalogued;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use self::catalogued::Catalogued;
use super::SledOptions;
use super::catalogue::Catalogue;
use super::generation::{Generation, file_bytes};
use super::manifest::{GenerationEntry, Manifest};
use super::salvage::{Role, Unopened};
use crate::mailbox::MailboxError;

/// A generation of which so many bytes have been read is opened anew: sled's cache holds nearly all of them.
/// Mostly a generation has no more, and is read once.
const MAX_READ_BYTES: u64 = 32 * 1024 * 1024;
/// The same when there is nothing else to do.
const MAX_READ_BYTES_AT_REST: u64 = 1024 * 1024;

/// What sled wrote for a byte of `state` that was copied into a generation, at most, about; more than this part of its
/// file it hardly is.
const WRITTEN_FOR_COPIED: u64 = 4;
const MAX_COPIED_PART: u64 = 2;

/// How large a sealed generation is, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealedSize {
    pub(super) first_id: u64,
    pub(super) file: u64,
    /// The file without the copy of `state` that the generation began with: what it takes for its messages.
    pub(super) log: u64,
}

/// The sealed generations by first id.
#[derive(Debug)]
pub(super) struct Sealed {
    store: PathBuf,
    cache_bytes: u64,
    max_open: usize,
    slots: Mutex<Slots>,
    /// A slot is not busy any more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slots {
    by_first_id: BTreeMap<u64, Slot>,
    /// Rises with every use.
    clock: u64,
}

/// What opening a generation needs.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    number: u64,
    /// The newest commit that it must hold; 0: that is not known.
    last_commit: u64,
}

#[derive(Debug)]
struct Slot {
    place: Place,
    /// The length of its file.
    bytes: u64,
    /// Bytes of `state` that it began with.
    copied: u64,
    /// Copies of it that are being made.
    pins: u32,
    /// It is to be opened anew: it was written since it was last opened, so that opening it next time would read all of
    /// its log; or it was read, and nobody reads it now.
    is_stale: bool,
    database: Database,
    /// Once somebody has read from it.
    catalogue: Option<Catalogued>,
}

#[derive(Debug)]
enum Database {
    Closed,
    /// Somebody is opening or closing it.
    Busy,
    Open {
        generation: Arc<Generation>,
        used: u64,
    },
}

/// What is to be deleted of a generation that the store doesn't list any more.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) folder: PathBuf,
    /// Readers may be about to finish with it.
    pub(super) generation: Option<Arc<Generation>>,
}

impl Sealed {
    pub(super) fn new(store: &Path, options: &SledOptions, manifest: &Manifest) -> Self {
        let slots = manifest.sealed().map(|(entry, last_commit)| {
            let place = Place::of(store, entry, last_commit);
            let slot = Slot {
                bytes: file_bytes(&place.folder),
                place,
                copied: entry.copied,
                pins: 0,
                is_stale: false,
                database: Database::Closed,
                catalogue: None,
            };
            (entry.first_id, slot)
        });
        Self {
            store: store.to_owned(),
            cache_bytes: options.sealed_cache_bytes,
            max_open: options.max_open_sealed,
            slots: Mutex::new(Slots { by_first_id: slots.collect(), clock: 0 }),
            changed: Condvar::new(),
        }
    }

    /// Every change of a slot is one assignment: a panic leaves nothing half done.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the generation that was the active one until now, up to this commit.
    pub(super) fn add(
        &self,
        entry: &GenerationEntry,
        last_commit: u64,
        generation: Arc<Generation>,
    ) {
        let mut slots = self.slots();
        slots.clock += 1;
        let slot = Slot {
            place: Place::of(&self.store, entry, last_commit),
            bytes: generation.file_bytes(),
            copied: entry.copied,
            pins: 0,
            is_stale: true,
            database: Database::Open { generation, used: slots.clock },
            catalogue: None,
        };
        slots.by_first_id.insert(entry.first_id, slot);
    }

    /// The generation that has or had log id `id`, opened if need be; `None` if it has been deleted.
    pub(super) fn get(&self, id: u64) -> Result<Option<Arc<Generation>>, MailboxError> {
        let mut slots = self.slots();
        let (first_id, place) = loop {
            slots.clock += 1;
            let now = slots.clock;
            let slot = slots.by_first_id.range_mut(..=id).next_back();
            let Some((&first_id, slot)) = slot else { return Ok(None) };
            match &mut slot.database {
                Database::Open { generation, used } => {
                    *used = now;
                    return Ok(Some(Arc::clone(generation)));
                }
                Database::Busy => {
                    slots = self.changed.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                Database::Closed => {
                    slot.database = Database::Busy;
                    break (first_id, slot.place.clone());
                }
            }
        };
        drop(slots);
        let opened = self.open(&place).map(Arc::new);
        let mut slots = self.slots();
        slots.clock += 1;
        let used = slots.clock;
        if let Some(slot) = slots.by_first_id.get_mut(&first_id) {
            slot.catalogue.take_if(|catalogued| !catalogued.is_of(&place.folder));
            slot.database = match &opened {
                Ok(generation) => Database::Open { generation: Arc::clone(generation), used },
                Err(_) => Database::Closed,
            };
        }
        self.changed.notify_all();
        opened.map(Some)
    }

    /// How large each generation is, by first id.
    pub(super) fn sizes(&self) -> Vec<SealedSize> {
        let slots = self.slots();
        let sizes = slots.by_first_id.iter().map(|(&first_id, slot)| {
            let copy = (slot.copied * WRITTEN_FOR_COPIED).min(slot.bytes / MAX_COPIED_PART);
            SealedSize { first_id, file: slot.bytes, log: slot.bytes - copy }
        });
        sizes.collect()
    }

    /// None of the generations that there are now may be deleted while the pins are held.
    pub(super) fn pin(self: &Arc<Self>) -> Pins {
        let mut slots = self.slots();
        slots.by_first_id.values_mut().for_each(|slot| slot.pins += 1);
        let first_ids = slots.by_first_id.keys().copied().collect();
        drop(slots);
        Pins { sealed: Arc::clone(self), first_ids }
    }

    /// May the generation with this first id be deleted?
    pub(super) fn is_pinned(&self, first_id: u64) -> bool {
        self.slots().by_first_id.get(&first_id).is_some_and(|slot| slot.pins > 0)
    }

    /// Opens a sealed generation. One that sled can't open, or would lose something of, is salvaged first. It has a catalogue
    /// from then on: its file doesn't change any more.
    fn open(&self, place: &Place) -> Result<Generation, MailboxError> {
        let &Place { ref folder, number, last_commit } = place;
        let unopened = Unopened { folder, role: Role::Sealed { last_commit } };
        unopened.make_sound()?;
        let opened = match Generation::open(folder.clone(), number, self.cache_bytes) {
            Err(MailboxError::Damaged { what, .. }) => {
                unopened.salvage(&what)?;
                Generation::open(folder.clone(), number, self.cache_bytes)
            }
            done => done,
        };
        if opened.is_ok()
            && let Err(error) = Catalogue::keep(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "a catalogue can't be kept");
        }
        opened
    }

    #[cfg(test)]
    pub(super) fn open_now(&self) -> usize {
        self.slots().open()
    }

    /// Are more open than should be, or one with too much in sled's cache?
    pub(super) fn has_surplus(&self) -> bool {
        let slots = self.slots();
        slots.open() > self.max_open || slots.by_first_id.values().any(Slot::is_full)
    }

    /// Nothing was written for a while: what was read before need not stay in sled's cache. `true` if some of it is to
    /// be opened anew for that.
    pub(super) fn mark_read(&self) -> bool {
        let mut slots = self.slots();
        let mut found = false;
        for slot in slots.by_first_id.values_mut() {
            if let Database::Open { generation, .. } = &slot.database
                && generation.bytes_read() > MAX_READ_BYTES_AT_REST
            {
                slot.is_stale = true;
                found = true;
            }
        }
        found
    }

    /// Closes what is open in excess and in nobody's hands, least recently used first. One that was written
    /// until now, or of which much was read, is opened anew: sled's cache keeps nearly all of it, and sled
    /// writes down where everything is only when it opens a log; later opens are fast then.
    pub(super) fn close_surplus(&self) {
        while let Some((first_id, generation, is_full)) = self.take_surplus() {
            let place = {
                let slots = self.slots();
                let Some(slot) = slots.by_first_id.get(&first_id) else { continue };
                slot.place.clone()
            };
            drop(generation);
            let again = is_full.then(|| self.open(&place));
            let again = again.transpose().unwrap_or_else(|error| {
                tracing::warn!(%error, "a part of the store can't be opened again");
                None
            });
            self.put_back(first_id, again);
        }
    }

    /// A slot is not busy any more; its generation stays open if there is room.
    fn put_back(&self, first_id: u64, again: Option<Generation>) {
        let has_room = self.slots().open() < self.max_open;
        // Dropped while the slot is busy: nobody tries to open it as long as sled has it.
        let kept = again.filter(|_| has_room);
        let mut slots = self.slots();
        let used = slots.clock;
        if let Some(slot) = slots.by_first_id.get_mut(&first_id) {
            let folder = &slot.place.folder;
            slot.catalogue.take_if(|catalogued| !catalogued.is_of(folder));
            slot.is_stale = false;
            slot.database = match kept {
                Some(generation) => Database::Open { generation: Arc::new(generation), used },
                None => Database::Closed,
            };
        }
        drop(slots);
        self.changed.notify_all();
    }

    fn take_surplus(&self) -> Option<(u64, Arc<Generation>, bool)> {
        let mut slots = self.slots();
        let is_surplus = slots.open() > self.max_open;
        let unused = |slot: &Slot| match &slot.database {
            // Handed out only with the lock held: nobody else gets it now.
            Database::Open { generation, used } if Arc::strong_count(generation) == 1 => {
                Some(*used)
            }
            Database::Open { .. } | Database::Closed | Database::Busy => None,
        };
        let closable = slots.by_first_id.iter().filter(|(_, slot)| is_surplus || slot.is_full());
        let by_use = closable.filter_map(|(&id, slot)| Some((!slot.is_full(), unused(slot)?, id)));
        let (_, _, first_id) = by_use.min()?;
        let slot = slots.by_first_id.get_mut(&first_id)?;
        let is_full = slot.is_full();
        match std::mem::replace(&mut slot.database, Database::Busy) {
            Database::Open { generation, .. } => Some((first_id, generation, is_full)),
            Database::Closed | Database::Busy => None,
        }
    }

    /// Forgets a generation, once nobody is just opening it.
    pub(super) fn remove(&self, first_id: u64) -> Option<Removed> {
        let mut slots = self
            .changed
            .wait_while(self.slots(), |slots| {
                let slot = slots.by_first_id.get(&first_id);
                slot.is_some_and(|slot| matches!(slot.database, Database::Busy))
            })
            .unwrap_or_else(PoisonError::into_inner);
        let slot = slots.by_first_id.remove(&first_id)?;
        let generation = match slot.database {
            Database::Open { generation, .. } => Some(generation),
            Database::Closed | Database::Busy => None,
        };
        Some(Removed { folder: slot.place.folder, generation })
    }
}

/// Keeps generations from being deleted.
#[derive(Debug)]
pub(super) struct Pins {
    sealed: Arc<Sealed>,
    first_ids: Vec<u64>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut slots = self.sealed.slots();
        for first_id in &self.first_ids {
            if let Some(slot) = slots.by_first_id.get_mut(first_id) {
                slot.pins = slot.pins.saturating_sub(1);
            }
        }
    }
}

impl Place {
    fn of(store: &Path, entry: &GenerationEntry, last_commit: u64) -> Self {
        Self { folder: store.join(&entry.folder), number: entry.number, last_commit }
    }
}

impl Slot {
    /// Is it open, and was written to since, or read a lot? Not while its files are copied: opening it anew
    /// writes some.
    fn is_full(&self) -> bool {
        match &self.database {
            Database::Open { generation, .. } => {
                let is_read = generation.bytes_read() > MAX_READ_BYTES;
                self.pins == 0 && (self.is_stale || is_read)
            }
            Database::Closed | Database::Busy => false,
        }
    }
}

impl Slots {
    fn open(&self) -> usize {
        let is_open = |slot: &&Slot| matches!(slot.database, Database::Open { .. });
        self.by_first_id.values().filter(is_open).count()
    }
}
