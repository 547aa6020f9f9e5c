//! sled's small files, which it doesn't keep sound over a crash.
//!
//! * `conf` holds its parameters in text, and their CRC-32. sled writes it once and never syncs it, and
//!   refuses to open when it reads anything else there. The parameters are always the same here, so what is
//!   torn is removed (sled writes it again), and what is written is synced.
//! * `snap.*.generating` is a snapshot that is being written while sled opens; a finished one is synced and
//!   renamed. sled takes a half written one that a crash left for the newest snapshot, and refuses to open.
//!   It holds nothing that is not in the log, so it is removed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

const PARAMETERS: &str = "conf";
const LOG: &str = "db";
pub(super) const SNAPSHOT: &str = "snap.";
pub(super) const UNFINISHED: &str = ".generating";

/// Before sled opens `folder`, which may not be there yet: removes what a crash has left unfinished.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_unfinished = name.starts_with(SNAPSHOT) && name.ends_with(UNFINISHED);
        if is_unfinished || (name == PARAMETERS && is_torn(&fs::read(entry.path())?)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Before sled opens `folder`: what it will read of its log is durable. After a kill some of it may be in the
/// page cache only, and sled writes over what it finds replaced there.
pub(super) fn sync_log(folder: &Path) -> io::Result<()> {
    match File::open(folder.join(LOG)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        log => log?.sync_data(),
    }
}

fn is_torn(parameters: &[u8]) -> bool {
    parameters
        .split_last_chunk()
        .is_none_or(|(text, sum)| crc32fast::hash(text) != u32::from_le_bytes(*sum))
}

/// After sled has opened `folder`; the folder itself is to be synced after it.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder.join(PARAMETERS))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{SledMailbox, SledOptions};
    use super::*;
    use crate::mailbox::Mailbox as _;
    use crate::mailbox::conformance::sample::{Q, appends, batch, places, put_queue};

    /// A store with three messages, that was opened more than once; its folder and sled's.
    fn store() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = open(folder.path());
        mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
        mailbox.append(&appends(Q, 1..=3)).unwrap();
        mailbox.sync().unwrap();
        drop(mailbox);
        drop(open(folder.path()));
        let sled = folder.path().join("store/gen-1");
        (folder, sled)
    }

    fn open(folder: &Path) -> SledMailbox {
        SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap()
    }

    #[test]
    fn parameters_that_a_power_cut_has_torn_are_written_again() {
        let (folder, sled) = store();
        let conf = sled.join(PARAMETERS);
        let sound = fs::read(&conf).unwrap();
        let zeros = vec![0; sound.len()];
        let half = [&sound[..30], &zeros[30..]].concat();
        for torn in [&[][..], &sound[..10], &sound[..sound.len() - 4], &half, &zeros] {
            fs::write(&conf, torn).unwrap();
            assert_eq!(places(&open(folder.path()), Q), [1, 2, 3]);
            assert_eq!(fs::read(&conf).unwrap(), sound);
        }
    }

    #[test]
    fn a_snapshot_that_a_crash_left_half_written_is_removed() {
        let (folder, sled) = store();
        let snapshots = || -> Vec<String> {
            let names = fs::read_dir(&sled).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|n| n.into_string().unwrap()).filter(|n| n.starts_with(SNAPSHOT)).collect()
        };
        let [finished] = &snapshots()[..] else { panic!("{:?}", snapshots()) };
        let bytes = fs::read(sled.join(finished)).unwrap();
        for half in [&bytes[..0], &bytes[..5], &bytes[..bytes.len() / 2]] {
            fs::write(sled.join("snap.00000000FFFFFFFF.generating"), half).unwrap();
            assert_eq!(places(&open(folder.path()), Q), [1, 2, 3]);
            assert!(!snapshots().iter().any(|name| name.ends_with(UNFINISHED)));
        }
    }
}
