//! Log values by the catalogues of their generations.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use ::sled::IVec;

use super::super::catalogue::{Catalogue, Wrong};
use super::{Database, Sealed, Slots};
use crate::mailbox::MailboxError;

/// Log values that catalogues may list together: some 6 MB, with which values in tens of gigabytes are found.
const MAX_LISTED: usize = 256 * 1024;

/// A catalogue, and when it was last used.
#[derive(Debug)]
pub(super) struct Catalogued {
    values: Arc<Catalogue>,
    used: u64,
}

impl Catalogued {
    /// Was it made of the file that is in this folder? It isn't if that has been salvaged since.
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        self.values.is_of(folder)
    }
}

impl Sealed {
    /// A log value, read without sled. `None`: [`Sealed::get`] knows.
    pub(in super::super) fn value(&self, id: u64) -> Option<IVec> {
        let catalogue = self.catalogue(id)?;
        let value = catalogue.value(id);
        value.unwrap_or_else(|Wrong| {
            self.forget_catalogue(id, &catalogue);
            None
        })
    }

    fn forget_catalogue(&self, id: u64, wrong: &Arc<Catalogue>) {
        wrong.forget();
        let mut slots = self.slots();
        if let Some((_, slot)) = slots.by_first_id.range_mut(..=id).next_back() {
            slot.catalogue.take_if(|catalogued| Arc::ptr_eq(&catalogued.values, wrong));
        }
    }

    /// Log values with these ids, ascending, are about to be read, the first of them surely.
    pub(in super::super) fn expect(&self, ids: &[u64]) {
        let mut left = ids;
        while let Some(&first) = left.first() {
            let is_sure = left.len() == ids.len();
            let listed = if is_sure { self.catalogue(first) } else { self.listed(first) };
            let end = self.end(first);
            let (here, rest) = left.split_at(left.partition_point(|&id| id < end));
            if let Some(catalogue) = listed {
                catalogue.expect(here);
            }
            left = rest;
        }
    }

    /// Where the ids of the generation that has log id `id` end.
    fn end(&self, id: u64) -> u64 {
        let slots = self.slots();
        let mut later = slots.by_first_id.range((Bound::Excluded(id), Bound::Unbounded));
        later.next().map_or(u64::MAX, |(&first_id, _)| first_id)
    }

    /// The catalogue of the generation that has log id `id`, if it is in RAM.
    fn listed(&self, id: u64) -> Option<Arc<Catalogue>> {
        let slots = self.slots();
        let (_, slot) = slots.by_first_id.range(..=id).next_back()?;
        slot.catalogue.as_ref().map(|catalogued| Arc::clone(&catalogued.values))
    }

    /// Can log values of the generation that has log id `id` be read without opening it or a look through all of it?
    pub(in super::super) fn is_near(&self, id: u64) -> bool {
        let slots = self.slots();
        let slot = slots.by_first_id.range(..=id).next_back();
        let is_open = |database: &Database| matches!(database, Database::Open { .. });
        slot.is_some_and(|(_, slot)| slot.catalogue.is_some() || is_open(&slot.database))
    }

    /// Looks through the generation that has log id `id`, if it is there, so that its values can be read.
    pub(in super::super) fn approach(&self, id: u64) -> Result<(), MailboxError> {
        match self.catalogue(id) {
            Some(_) => Ok(()),
            None => self.get(id).map(drop),
        }
    }

    fn catalogue(&self, id: u64) -> Option<Arc<Catalogue>> {
        let mut slots = self.slots();
        slots.clock += 1;
        let used = slots.clock;
        let (&first_id, slot) = slots.by_first_id.range_mut(..=id).next_back()?;
        if let Some(catalogued) = &mut slot.catalogue {
            catalogued.used = used;
            return Some(Arc::clone(&catalogued.values));
        }
        // What opens it may put another file in its place.
        let is_busy = |database: &Database| matches!(database, Database::Busy);
        if is_busy(&slot.database) {
            return None;
        }
        let folder = slot.place.folder.clone();
        drop(slots);
        // Two who come at once get one each: mostly it is kept, and small.
        let got = Catalogue::of(&folder).inspect_err(|error| {
            let folder = folder.display();
            tracing::debug!(%folder, %error, "a part of the store can only be read by opening it");
        });
        let values = Arc::new(got.ok()?);
        let mut slots = self.slots();
        let slot = slots.by_first_id.get_mut(&first_id)?;
        if is_busy(&slot.database) {
            return None;
        }
        slot.catalogue = Some(Catalogued { values: Arc::clone(&values), used });
        slots.forget_catalogues();
        Some(values)
    }
}

impl Slots {
    /// Those that were used least recently, if all together list too much; the newest stays in any case.
    fn forget_catalogues(&mut self) {
        let listed = self.by_first_id.values().filter_map(|slot| slot.catalogue.as_ref());
        let mut by_use: Vec<_> = listed.map(|it| (it.used, it.values.len())).collect();
        by_use.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = MAX_LISTED;
        let fitting = by_use.iter().take_while(|&&(_, len)| {
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        });
        let oldest = fitting.last().or(by_use.first()).map_or(0, |&(used, _)| used);
        for slot in self.by_first_id.values_mut() {
            slot.catalogue.take_if(|catalogued| catalogued.used < oldest);
        }
    }
}
