//! Reading all of a store without changing anything: what is where, and whether it is sound.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::closed;
use super::codec::hex;
use super::folder::{self, io_error};
use super::gather::{Gathered, log_id};
use super::layout::SLED_SEGMENT_BYTES;
use super::manifest::GenerationEntry;
use super::mend::mend;
use super::raw::{Found, LogFile, Snapshot};
use super::salvage::{MISSING, Presence, QUARANTINE, Role, Unopened};
use super::scan::{Confirmed, Scan, Verdict};
use crate::mailbox::MailboxError;
use crate::model::Timestamp;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreCheck {
    /// The folder.
    pub path: String,
    /// Nothing that was confirmed is missing or damaged.
    pub sound: bool,
    /// Its parts, oldest first; the last is written.
    pub parts: Vec<PartCheck>,
    /// Its queues.
    pub queues: Vec<QueueCheck>,
    /// What is wrong beside single messages, a line each.
    pub problems: Vec<String>,
    /// What was damaged before and put aside, by file name.
    pub quarantine: Vec<String>,
}

/// One part of a store: a sled database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartCheck {
    /// Its folder's name.
    pub name: String,
    /// Its log file's length.
    pub bytes: u64,
    /// Sound log values.
    pub log_values: u64,
    /// Bytes of the log file that are no sound messages of sled's.
    pub bad_places: Vec<BadBytes>,
    /// What opening it will do: nothing (`sound`), cut off what the last crash cut short (`torn`), put it
    /// aside and keep what is sound (`damaged`), make it, since the first opening of the store was cut short (`new`),
    /// or fail, since its file is not there (`missing`).
    pub state: &'static str,
}

/// Bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BadBytes {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// A queue in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueCheck {
    /// Its name.
    pub name: String,
    /// Messages that wait, damaged ones included.
    pub waiting: u64,
    /// Of those, the places of damaged ones.
    pub damaged: Vec<u64>,
}

/// Reads everything in the store in folder `path`, which no other process may have: fails as
/// [`MailboxError::Held`] then, and as `Damaged` or `TooNew` when it can't be told what is in it.
pub fn check_store(path: &Path) -> Result<StoreCheck, MailboxError> {
    let at = |source| io_error("reading the store's folder", path, source);
    fs::read_dir(path).map_err(at)?;
    let _lock = folder::lock(path)?;
    let manifest = folder::look(path)?;
    let mut check = StoreCheck {
        path: path.display().to_string(),
        sound: true,
        parts: Vec::new(),
        queues: Vec::new(),
        problems: Vec::new(),
        quarantine: quarantine(path),
    };
    let closed_at = closed::read(path)?;
    let mut sealed_values = BTreeSet::new();
    for (entry, last_commit) in manifest.sealed() {
        if !check.is_there(path, entry, Role::Sealed { last_commit }) {
            continue;
        }
        let (_, gathered) = check.look_at(path, entry, Confirmed::Sealed(last_commit))?;
        check.name_damaged(entry, gathered.lost());
        if gathered.has_unknown {
            let name = &entry.folder;
            check.problems.push(format!("{name}: not all that it should hold can be read"));
        }
        sealed_values.extend(gathered.log_values().map(|(id, _)| id));
    }
    let active = manifest.active();
    if !check.is_there(path, active, Role::Active { first_id: active.first_id, closed_at }) {
        return Ok(check);
    }
    let closed_at = closed_at.unwrap_or(0);
    let (file, gathered) = check.look_at(path, active, Confirmed::Closed(closed_at))?;
    let mended = mend(&file, &gathered, active.first_id, closed_at, Timestamp(0), &|id| {
        // Of earlier parts: those that were read.
        sealed_values.contains(&id)
    })
    .map_err(at)?;
    for (name, waiting) in &mended.waiting {
        let lost = mended.lost.iter().filter(|lost| lost.name == *name);
        let damaged: Vec<u64> = lost.flat_map(|lost| lost.places.clone()).collect();
        check.sound &= damaged.is_empty();
        check.queues.push(QueueCheck { name: name.clone(), waiting: *waiting, damaged });
    }
    // The notes name the others.
    let is_unnamed =
        |key: &&[u8]| log_id(key).is_some() || matches!(key.first(), Some(b'i' | b's'));
    check.name_damaged(active, gathered.lost().filter(is_unnamed));
    check.problems.extend(mended.notes);
    if !mended.paused.is_empty() {
        let queues = mended.paused.join(", ");
        let what = "something is missing, and it can't be told what; opening the store pauses";
        check.problems.push(format!("{what} {queues}"));
    }
    if gathered.commit < closed_at && mended.paused.is_empty() {
        let newest = gathered.commit;
        let what =
            format!("the store was closed after commit {closed_at}, and {newest} is its last");
        check.problems.push(what);
    }
    check.sound &=
        check.problems.is_empty() && check.parts.iter().all(|part| part.state != "damaged");
    Ok(check)
}

impl StoreCheck {
    /// Keys whose newest copies are damaged. Older ones may be sound, but they aren't those that sled reads.
    fn name_damaged<'a>(&mut self, entry: &GenerationEntry, keys: impl Iterator<Item = &'a [u8]>) {
        for key in keys {
            let what = match log_id(key) {
                Some(id) => format!("the newest copy of log value {id} is damaged"),
                None => format!("the newest copy of key {} is damaged", hex(key)),
            };
            self.problems.push(format!("{}: {what}", entry.folder));
        }
    }

    /// A part whose file is not there: it is told, and there is nothing more to say of it.
    fn is_there(&mut self, path: &Path, entry: &GenerationEntry, role: Role) -> bool {
        let folder = path.join(&entry.folder);
        let state = match (Unopened { folder: &folder, role }).presence() {
            Presence::There => return true,
            Presence::NotYet => "new",
            Presence::Missing => {
                self.problems.push(format!("{}: {MISSING}", entry.folder));
                self.sound = false;
                "missing"
            }
        };
        let name = entry.folder.clone();
        self.parts.push(PartCheck { name, bytes: 0, log_values: 0, bad_places: Vec::new(), state });
        false
    }

    fn look_at(
        &mut self,
        path: &Path,
        entry: &GenerationEntry,
        confirmed: Confirmed,
    ) -> Result<(LogFile, Gathered), MailboxError> {
        let folder = path.join(&entry.folder);
        let at = |source| io_error("reading a part of the store", &folder, source);
        let mut file = LogFile::open(&folder, SLED_SEGMENT_BYTES).map_err(at)?;
        let snapshot = match Snapshot::find(&folder).map_err(at)? {
            Found::None => None,
            Found::Sound(snapshot) => Some(snapshot),
            Found::Damaged(snapshot) => {
                let name = snapshot.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let what =
                    format!("{}: the snapshot {name} is damaged (its log is not)", entry.folder);
                self.problems.push(what);
                None
            }
        };
        let scan = Scan::of(&folder, SLED_SEGMENT_BYTES, confirmed).map_err(at)?;
        let gathered = Gathered::of(&mut file, snapshot.as_ref(), &scan).map_err(at)?;
        let (state, why) = match scan.verdict {
            Verdict::Sound | Verdict::DamagedSnapshot(_) => ("sound", None),
            Verdict::TornTail => ("torn", None),
            Verdict::Damaged(why) => ("damaged", Some(why)),
        };
        self.problems.extend(why.map(|why| format!("{}: {why}", entry.folder)));
        let bad = gathered.bad.iter();
        self.parts.push(PartCheck {
            name: entry.folder.clone(),
            bytes: file.len(),
            log_values: gathered.log_values().count() as u64,
            bad_places: bad.map(|bad| BadBytes { offset: bad.offset, bytes: bad.bytes }).collect(),
            state,
        });
        Ok((file, gathered))
    }
}

fn quarantine(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path.join(QUARANTINE)) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}
