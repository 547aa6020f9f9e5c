//! A copy of the store while it goes on.
//!
//! The active generation is synced and copied while no commit and no upkeep runs: at most as long as copying
//! one generation takes. Sealed generations don't change any more, so they are copied after that; they are only
//! kept from being deleted meanwhile. Manifest and format come last: without them it is no store.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::SledMailbox;
use super::folder::{self, io_error, sync_folder};
use crate::mailbox::MailboxError;

/// A snapshot of sled's is replaced when a generation is opened; then its folder is listed again, so often.
const COPY_TRIES: u32 = 5;
/// sled's half written snapshots; they are not taken along.
const UNFINISHED: &str = ".generating";

impl SledMailbox {
    pub(super) fn backup_to(&self, to: &Path) -> Result<(), MailboxError> {
        let at = |action| move |source| io_error(action, to, source);
        fs::create_dir_all(to).map_err(at("making the backup's folder"))?;
        let mut entries = fs::read_dir(to).map_err(at("reading the backup's folder"))?;
        if entries.next().is_some() {
            let source = io::Error::new(ErrorKind::AlreadyExists, "the folder is not empty");
            return Err(at("making a backup")(source));
        }
        let copy = |name: &str| {
            copy_folder(&self.store.path.join(name), &to.join(name))
                .map_err(at("copying into the backup"))
        };
        let (manifest, pins) = {
            let _no_upkeep = self.compactor();
            let _no_commit = self.log_end();
            self.store.sync()?;
            let manifest = self.store.manifest().clone();
            let pins = self.store.sealed.pin();
            copy(&manifest.active().folder)?;
            (manifest, pins)
        };
        let (_, sealed) = manifest.generations.split_last().expect("it is never empty");
        for entry in sealed {
            copy(&entry.folder)?;
        }
        drop(pins);
        sync_folder(to).map_err(at("syncing the backup's folder"))?;
        manifest.write(to, |action, step| step().map_err(at(action)))?;
        folder::write_format(to)?;
        sync_folder(to.parent().unwrap_or(to)).map_err(at("syncing the backup's folder"))
    }
}

/// All files of a generation's folder.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match copy_files(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound && tries < COPY_TRIES => {
                fs::remove_dir_all(to)?;
            }
            done => return done,
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    sync_folder(to)
}
