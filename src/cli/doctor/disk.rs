//! The data folder, its disk, the store in it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::Uid;
use tokio::time::Instant;

use super::Finding;
use crate::cli::alerts::disk_low;
use crate::cli::embedded::STORE;
use crate::config::Config;
use crate::mailbox::{Disk, MailboxError, store_format};
use crate::model::with_causes;

/// Flushes that are measured, and bytes of each: what a commit of a few messages writes.
const FLUSHES: usize = 32;
const FLUSH_BYTES: usize = 4096;
/// A disk that hangs isn't waited for any longer.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Slower than this is a disk without a cache that survives a power cut, or one that is busy.
const SLOW: Duration = Duration::from_millis(20);

/// The checks' names.
pub(super) const FOLDER: &str = "data folder";
pub(super) const STORE_CHECK: &str = "store";
pub(super) const ROOM: &str = "disk";
pub(super) const SYNC: &str = "fsync";

/// How long a disk may take for one check: a hung one never comes back, and this command says so.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// What `look` finds; that nothing came back as the error. It is on a thread of its own, which is left alone then.
pub(super) fn within(
    limit: Duration,
    check: &'static str,
    look: impl FnOnce() -> Finding + Send + 'static,
) -> Result<Finding, Finding> {
    let (tell, told) = mpsc::sync_channel(1);
    let looking = thread::Builder::new().name("look".to_owned()).spawn(move || {
        // Nobody asks any more if it took too long.
        let _ = tell.send(look());
    });
    let found = match looking {
        Ok(_) => told.recv_timeout(limit).map_err(|_| {
            let seconds = limit.as_secs();
            format!("the disk has not answered within {seconds} s")
        }),
        Err(error) => Err(format!("there is no thread to look: {error}")),
    };
    found.map_err(|why| {
        let advice =
            "it hangs, or a network file system's server is away: look at `dmesg` and at `mount`";
        Finding::wrong(check, why, advice)
    })
}

/// The folder itself, or the nearest one above that is there.
fn nearest(folder: &Path) -> PathBuf {
    // A relative path has no folder above its first name.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether this user can keep a store there, and nobody else look at it.
pub(super) fn folder(folder: &Path) -> Finding {
    const CHECK: &str = FOLDER;
    let name = folder.display();
    let there = nearest(folder);
    if let Err(error) = tempfile::Builder::new().prefix(".mubroker-doctor").tempfile_in(&there) {
        let found = format!("{} can't be written: {error}", there.display());
        let advice = "let this user write there, or choose another data_dir";
        return Finding::wrong(CHECK, found, advice);
    }
    let Ok(found) = fs::metadata(folder) else {
        return Finding::ok(CHECK, format!("{name} isn't there yet; the broker makes it"));
    };
    let (mode, owner) = (found.permissions().mode() & 0o777, found.uid());
    if owner != Uid::effective().as_raw() {
        let found = format!("{name} is of another user (uid {owner})");
        let advice = "run the broker, and its commands, as the user whose folder it is";
        return Finding::warning(CHECK, found, advice);
    }
    if mode & 0o077 != 0 {
        let found = format!("{name} has mode {mode:o}: others may read messages, or connect");
        return Finding::warning(CHECK, found, format!("chmod 700 {name}"));
    }
    Finding::ok(CHECK, format!("{name} is this user's alone, and can be written"))
}

/// Whether this version opens it.
pub(super) fn store(data_dir: &Path) -> Finding {
    const CHECK: &str = STORE_CHECK;
    let path = data_dir.join(STORE);
    match store_format(&path) {
        Ok(None) => Finding::ok(CHECK, "there is none yet"),
        Ok(Some((found, newest))) if found == newest => {
            Finding::ok(CHECK, format!("format {found}, this version's"))
        }
        Ok(Some((found, newest))) => Finding::warning(
            CHECK,
            format!("format {found}; this version writes {newest}"),
            "it is upgraded when the broker opens it, and earlier versions don't open it then: copy it first if you may \
             want to go back",
        ),
        Err(error @ MailboxError::TooNew { .. }) => Finding::wrong(
            CHECK,
            with_causes(&error),
            "start the version of mubroker that wrote it, or a later one",
        ),
        Err(error) => Finding::wrong(
            CHECK,
            with_causes(&error),
            "`mubroker store check` reads all of it, and says what is lost",
        ),
    }
}

/// Whether its disk has room, by what `[alerts]` calls nearly full.
pub(super) fn room(config: &Config) -> Finding {
    const CHECK: &str = ROOM;
    const MIB: u64 = 1024 * 1024;
    let folder = nearest(&config.data_dir);
    match Disk::of(&folder) {
        Err(error) => {
            let found = format!("the disk of {} can't be looked at: {error}", folder.display());
            Finding::warning(CHECK, found, "look whether it is mounted")
        }
        Ok(disk) => match disk_low(&config.alerts, &config.data_dir, disk) {
            Some(low) => {
                let advice = "make room, or move data_dir to a larger disk: what waits is safe";
                Finding::warning(CHECK, low.text, advice)
            }
            None => {
                let found = format!("{} of {} MiB are free", disk.free / MIB, disk.total / MIB);
                Finding::ok(CHECK, found)
            }
        },
    }
}

/// How long it takes until something is on it: each confirmed message waits for that once.
pub(super) fn sync(data_dir: &Path) -> Finding {
    const CHECK: &str = SYNC;
    let there = nearest(data_dir);
    let mut took = match flushes(&there) {
        Ok(took) => took,
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            return Finding::wrong(CHECK, "the disk is full", "make room");
        }
        Err(error) => {
            let found = format!("a file in {} can't be synced: {error}", there.display());
            return Finding::wrong(CHECK, found, "the broker needs a disk that can");
        }
    };
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let slowest = took.last().copied().unwrap_or_default();
    let found = format!(
        "{:.1} ms in the middle, {:.1} ms at most, of {}",
        median.as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3,
        took.len()
    );
    if median > SLOW {
        let advice = "a queue in order does a message in one or two of these: use a disk with a protected write cache \
                      (an NVMe of a server), or one that is less busy";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::ok(CHECK, found)
}

fn flushes(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::Builder::new().prefix(".mubroker-doctor").tempfile_in(folder)?;
    let bytes = [b'x'; FLUSH_BYTES];
    let began = Instant::now();
    let mut took = Vec::with_capacity(FLUSHES);
    while took.len() < FLUSHES && began.elapsed() < FLUSH_LIMIT {
        let from = Instant::now();
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        took.push(from.elapsed());
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn a_disk_that_hangs_is_told_and_not_waited_for() {
        let (_comes_back, hangs) = mpsc::sync_channel::<()>(1);
        let hung = within(Duration::from_millis(20), SYNC, move || {
            let _ = hangs.recv();
            Finding::ok(SYNC, "never")
        });
        let hung = hung.expect_err("nothing comes back");
        assert_eq!((hung.check, hung.state), (SYNC, State::Wrong));
        assert!(hung.found.contains("has not answered"), "{}", hung.found);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let found = within(LIMIT, SYNC, move || sync(&path)).expect("it comes back");
        assert_ne!(found.state, State::Wrong);
    }
}
