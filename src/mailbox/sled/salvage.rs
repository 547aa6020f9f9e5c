//! A damaged database is put aside, and a sound one, made of what can be read of it, takes its place.
//!
//! ```text
//! <name>.new      the sound one while it is being written; worth nothing until it has its name
//! quarantine/     <time>-<name>      the damaged one, as it was
//!                 <time>-<name>.txt  what was wrong, what was kept, what is lost
//! ```
//! A crash leaves the damaged database in its place and all begins anew, or has moved it away already:
//! then `<name>.new` is whole and gets its name.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{io_error, sync_folder};
use super::gather::{Gathered, Place};
use super::generation::{Closing, guard};
use super::layout::{FILLER_SLOTS, SLED_SEGMENT_BYTES, VALUE_SLOT, log_key};
use super::mend::{Mended, Value, mend, mend_sealed};
use super::raw::{Found, LogFile, Snapshot};
use super::scan::{Confirmed, Scan, Verdict};

use crate::mailbox::MailboxError;
use crate::model::Timestamp;

pub(super) const QUARANTINE: &str = "quarantine";

/// What the name of a database ends with while it is being written.
const NEW: &str = ".new";

/// Bad places that a report lists; their number is told in any case.
const MAX_PLACES_LISTED: usize = 1_000;

/// Keys between two looks at how much sled holds unwritten.
const KEYS_A_FLUSH: usize = 256;

/// What a database is in its store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// It is written.
    Active {
        /// Where its log's ids begin.
        first_id: u64,
        /// The newest commit, if the store was closed in good order and nothing was written since.
        closed_at: Option<u64>,
    },
    /// Its log values and ids are read, and nothing else of it.
    Sealed {
        /// The newest commit that it must hold; 0: that is not known.
        last_commit: u64,
    },
}

/// Is a database in its folder?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    /// The store's first opening was cut short before sled made it: there is nothing in the store.
    NotYet,
    Missing,
}

/// What is wrong with a database that is missing.
pub(super) const MISSING: &str =
    "its file `db` is not there: put it back, or restore a backup of the store";

/// A database in the store's folder, before sled has opened it.
#[derive(Debug)]
pub(super) struct Unopened<'a> {
    pub(super) folder: &'a Path,
    pub(super) role: Role,
}

impl Unopened<'_> {
    fn store(&self) -> &Path {
        self.folder.parent().unwrap_or(self.folder)
    }

    /// What is there of it.
    pub(super) fn presence(&self) -> Presence {
        match self.role {
            _ if self.folder.join("db").exists() => Presence::There,
            Role::Active { first_id: 1, closed_at: None } => Presence::NotYet,
            Role::Active { .. } | Role::Sealed { .. } => Presence::Missing,
        }
    }

    /// What sled would lose silently is salvaged instead.
    pub(super) fn make_sound(&self) -> Result<(), MailboxError> {
        if self.presence() == Presence::NotYet {
            return Ok(());
        }
        let mut scan = self.scan()?;
        match &scan.verdict {
            Verdict::DamagedSnapshot(snapshot) => {
                let what = "sled's snapshot is damaged; its log is replayed instead.\n";
                let to = self.set_aside(snapshot, what)?;
                tracing::error!(to = %to.display(), "a snapshot of a part of the store is damaged");
                scan = self.scan()?;
            }
            Verdict::Sound | Verdict::TornTail | Verdict::Damaged(_) => {}
        }
        match scan.verdict {
            Verdict::Damaged(ref why) => self.replace(why, &scan),
            Verdict::TornTail => {
                let database = self.folder.display();
                let offset = scan.bad.first().map_or(0, |bad| bad.offset);
                tracing::info!(%database, offset, "what the last crash cut short is left out");
                Ok(())
            }
            Verdict::Sound | Verdict::DamagedSnapshot(_) => Ok(()),
        }
    }

    fn scan(&self) -> Result<Scan, MailboxError> {
        if self.presence() != Presence::There {
            let path = self.folder.display().to_string();
            return Err(MailboxError::Damaged { path, what: MISSING.to_owned() });
        }
        let confirmed = match self.role {
            Role::Active { closed_at, .. } => Confirmed::Closed(closed_at.unwrap_or(0)),
            Role::Sealed { last_commit } => Confirmed::Sealed(last_commit),
        };
        Scan::of(self.folder, SLED_SEGMENT_BYTES, confirmed)
            .map_err(|e| io_error("looking for damage", self.folder, e))
    }

    /// Puts the database aside and a sound one in its place. `why` is told.
    pub(super) fn salvage(&self, why: &str) -> Result<(), MailboxError> {
        self.replace(why, &self.scan()?)
    }

    fn replace(&self, why: &str, scan: &Scan) -> Result<(), MailboxError> {
        let reading = |source| io_error("reading what is sound", self.folder, source);
        tracing::error!(database = %self.folder.display(), why, "a part of the store is damaged");
        let mut file = LogFile::open(self.folder, SLED_SEGMENT_BYTES).map_err(reading)?;
        let snapshot = match Snapshot::find(self.folder).map_err(reading)? {
            Found::Sound(snapshot) => Some(snapshot),
            Found::None | Found::Damaged(_) => None,
        };
        let gathered = Gathered::of(&mut file, snapshot.as_ref(), scan).map_err(reading)?;
        let mended = match self.role {
            Role::Active { first_id, closed_at } => {
                mend(&file, &gathered, first_id, closed_at.unwrap_or(0), now(), &|_| true)
                    .map_err(reading)?
            }
            Role::Sealed { last_commit } => mend_sealed(&gathered, last_commit),
        };
        self.write(&mended, |place| gathered.read(&file, place))?;
        let report = report(self, why, &gathered, &mended);
        let aside = self.set_aside(self.folder, &report)?;
        finish_swaps(self.store())?;
        let report = report_of(&aside);
        match self.role {
            Role::Active { .. } => tracing::error!(
                lost = mended.lost_messages(),
                report = %report.display(),
                "what is sound of it was kept; the report says what is not"
            ),
            Role::Sealed { .. } => tracing::error!(
                report = %report.display(),
                "what is sound of it was kept; messages that are not come up as damaged"
            ),
        }
        Ok(())
    }

    /// Moves a file or folder into the quarantine and writes down why; returns where it is now.
    fn set_aside(&self, path: &Path, why: &str) -> Result<PathBuf, MailboxError> {
        let quarantine = self.store().join(QUARANTINE);
        let at = |source| io_error("moving what is damaged into quarantine", path, source);
        fs::create_dir_all(&quarantine).map_err(at)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let time = now().to_string().replace(':', "-");
        let mut to = quarantine.join(format!("{time}-{name}"));
        let mut tries = 1;
        while to.exists() {
            tries += 1;
            to = quarantine.join(format!("{time}-{tries}-{name}"));
        }
        let report = report_of(&to);
        fs::write(&report, why).and_then(|()| fs::File::open(&report)?.sync_all()).map_err(at)?;
        fs::rename(path, &to).map_err(at)?;
        for folder in [&quarantine, self.store(), path.parent().unwrap_or(self.store())] {
            sync_folder(folder).map_err(at)?;
        }
        Ok(to)
    }

    /// Writes the sound database, durably, its name too: the damaged one is moved away next.
    fn write(
        &self,
        mended: &Mended,
        read: impl Fn(Place) -> io::Result<Vec<u8>>,
    ) -> Result<(), MailboxError> {
        let folder = PathBuf::from(format!("{}{NEW}", self.folder.display()));
        let failed = |source| io_error("writing the sound database", &folder, source);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        let config = ::sled::Config::new()
            .path(&folder)
            .segment_size(SLED_SEGMENT_BYTES)
            .flush_every_ms(None);
        let action = "writing the sound database";
        let db = guard(&folder, action, || config.open())?;
        let tree = |name: &str| guard(&folder, action, || db.open_tree(name.as_bytes()));
        let (log, state) = (tree("log")?, tree("state")?);
        // As a commit does: small keys first, so that no page of large values is split and written again.
        for &id in mended.log.keys() {
            for slot in [FILLER_SLOTS[0], VALUE_SLOT, FILLER_SLOTS[1]] {
                guard(&folder, action, || log.insert(log_key(id, slot), &[]))?;
            }
        }
        let log_items =
            mended.log.iter().map(|(&id, value)| (&log, log_key(id, VALUE_SLOT).to_vec(), value));
        let state_items = mended.state.iter().map(|(key, value)| (&state, key.clone(), value));
        for (at, (tree, key, value)) in log_items.chain(state_items).enumerate() {
            let value = match value {
                Value::Kept(place) => read(*place).map_err(failed)?,
                Value::New(bytes) => bytes.clone(),
            };
            guard(&folder, action, || tree.insert(key, value))?;
            if at % KEYS_A_FLUSH == KEYS_A_FLUSH - 1 {
                guard(&folder, action, || db.flush())?;
            }
        }
        guard(&folder, action, || db.flush())?;
        drop((log, state, db, Closing(folder.clone())));
        for name in ["db", "conf"] {
            let file = fs::File::open(folder.join(name)).and_then(|file| file.sync_all());
            file.map_err(failed)?;
        }
        sync_folder(&folder).and_then(|()| sync_folder(self.store())).map_err(failed)
    }
}

/// Gives sound databases that are whole the names of the damaged ones that are gone.
pub(super) fn finish_swaps(store: &Path) -> Result<(), MailboxError> {
    let at = |source| io_error("putting a sound database in its place", store, source);
    for entry in fs::read_dir(store).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(folder) = name.strip_suffix(NEW).map(|name| store.join(name)) else { continue };
        if !entry.file_type().map_err(at)?.is_dir() {
            continue;
        }
        if folder.exists() {
            fs::remove_dir_all(entry.path()).map_err(at)?;
        } else {
            fs::rename(entry.path(), &folder).map_err(at)?;
            sync_folder(store).map_err(at)?;
        }
    }
    Ok(())
}

/// The report beside what was put aside.
fn report_of(aside: &Path) -> PathBuf {
    PathBuf::from(format!("{}.txt", aside.display()))
}

/// What an operator reads.
fn report(database: &Unopened<'_>, why: &str, gathered: &Gathered, mended: &Mended) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("The database {} was damaged: {why}.", database.folder.display()));
    line(format!(
        "{} log values and {} keys of state were sound and are in its place now; this folder holds what was \
         there.",
        mended.log.len(),
        mended.state.len()
    ));
    line(match (database.role, mended.lost_messages()) {
        (Role::Sealed { .. }, _) => {
            "\nWhich messages it should hold is known by the part that is written. Those that \
             are lost are blocked as `damaged` in their queues; `mubroker store check` lists them."
                .to_owned()
        }
        (Role::Active { .. }, 0) if mended.paused.is_empty() => {
            "\nNo messages are lost.".to_owned()
        }
        (Role::Active { .. }, 0) => "\nIt is not known whether messages are lost.".to_owned(),
        (Role::Active { .. }, count) => {
            format!("\nMessages lost: {count}. They are blocked as `damaged` in their queues.")
        }
    });
    for lost in &mended.lost {
        let from = lost.log_value.map_or(String::new(), |id| format!(" (log value {id})"));
        let (first, last) = (lost.places.start, lost.places.end - 1);
        line(format!("queue {} ({}): places {first} to {last}{from}", lost.name, lost.queue));
        for (place, id) in &lost.ids {
            line(format!("  {place}: {id}"));
        }
    }
    if !mended.notes.is_empty() {
        line("\nAlso lost:".to_owned());
        mended.notes.iter().for_each(|note| line(note.clone()));
    }
    if !mended.paused.is_empty() {
        line(format!(
            "\nNot all that was lost is known, so these queues are paused: {}.",
            mended.paused.join(", ")
        ));
    }
    line(format!("\nBad places in the file `db`: {}.", gathered.bad.len()));
    for bad in gathered.bad.iter().take(MAX_PLACES_LISTED) {
        line(format!("offset {}: {} bytes", bad.offset, bad.bytes));
    }
    text
}

/// For the names of what is put aside, and the times of records that are made up.
fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "a store is opened before there is a clock, and only people read these times"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
