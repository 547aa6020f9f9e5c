//! Room kept on the store's disk, so that what waits can be worked off although the disk is full.
//!
//! Two means: a *watermark*, below which nothing new is accepted while acks and repairs go on; and a *ballast*,
//! a file of allocated blocks that is given up when even that room is gone, because somebody else has taken it.
//! Both recover by themselves: once there is room the ballast is allocated again, then publishing goes on.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// The ballast: acks of some hundred thousand messages, and what opening the store writes, fit in.
const BALLAST_BYTES: u64 = 32 * 1024 * 1024;
/// At most this share of the file system: a small one is for messages too.
const BALLAST_SHARE: u64 = 16;
/// Less free than this: nothing new is accepted. It takes what is on its way then (two batches at the store
/// and one that gathers, each up to a `SENDMANY` beyond its bound), and what compaction writes before it removes.
const LOW_BYTES: u64 = 128 * 1024 * 1024;
/// At most this share of the file system.
const LOW_SHARE: u64 = 8;
/// The ballast is given up when less than this share of the watermark is free: before a write fails, since
/// that would cost opening the store again.
const CRITICAL_SHARE: u64 = 4;
/// Upkeep (compaction, a new part of the store) leaves this share of the watermark free: more than the share at which
/// the ballast is given up, so that it costs neither that nor the room that acks need. It writes before it gives
/// back, and what it writes goes on until the disk is looked at again (see `broker/committer.rs`).
const UPKEEP_SHARE: u64 = 3;
/// Publishing goes on once this share of the watermark more than it is free: not at each ack.
const AGAIN_SHARE: u64 = 4;

/// A part of the store takes at most this share of the file system: disk is given back by whole parts, and on a
/// full disk what is being written is what has to be enough.
const PART_SHARE: u64 = 8;

/// Whether the store's disk has room for new messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It has.
    Enough,
    /// It hasn't: only what makes room, and what costs little, goes on.
    Low {
        /// Bytes that are free now.
        free_bytes: u64,
        /// Bytes that must be free before anything new is accepted.
        wanted_bytes: u64,
    },
}

/// Free and total bytes of a file system, as an ordinary user may use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that can be written.
    pub free: u64,
    /// Bytes that there are.
    pub total: u64,
}

impl Disk {
    /// The one that has this folder, now. Blocks as long as the disk does.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let stat = statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(Self { free: bytes(stat.blocks_available()), total: bytes(stat.blocks()) })
    }
}

/// What is to be done about the ballast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Allocate,
    GiveUp,
    Keep,
}

type Measure = Box<dyn Fn(&Path) -> io::Result<Disk> + Send>;

/// The reserve of one store. Used by whoever holds the store's lock, from one thread; its calls may block as
/// long as the disk does.
pub struct DiskReserve {
    folder: PathBuf,
    measure: Measure,
    has_ballast: bool,
    is_low: bool,
    /// The last look failed, and the log says so.
    is_blind: bool,
    /// Bytes that upkeep may take, as of the last look.
    spare: u64,
}

impl DiskReserve {
    /// For the store in this folder, which need not be there yet. Nothing is looked at or written.
    pub fn new(store: &Path) -> Self {
        Self::measured(store, Box::new(Disk::of))
    }

    fn measured(store: &Path, measure: Measure) -> Self {
        let folder = store.to_owned();
        let (has_ballast, is_low, is_blind, spare) = (false, false, false, u64::MAX);
        Self { folder, measure, has_ballast, is_low, is_blind, spare }
    }

    /// A reserve that believes what is in `free`, for tests of what stands above it: of a disk of 1 GiB.
    #[cfg(test)]
    pub(crate) fn believing(
        store: &Path,
        free: std::sync::Arc<std::sync::atomic::AtomicU64>,
    ) -> Self {
        let disk = move |_: &Path| {
            let free = free.load(std::sync::atomic::Ordering::SeqCst);
            Ok(Disk { free, total: 1 << 30 })
        };
        Self::measured(store, Box::new(disk))
    }

    /// Looks at the disk, and allocates the ballast or gives it up, as there is room. A disk that can't be
    /// looked at is taken for having room: a write will tell.
    pub fn look(&mut self) -> Room {
        let disk = match (self.measure)(&self.folder) {
            Ok(disk) => disk,
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    let folder = self.folder.display();
                    tracing::warn!(%folder, %error, "the disk's free space can't be seen");
                }
                self.spare = u64::MAX;
                return Room::Enough;
            }
        };
        self.is_blind = false;
        let marks = Marks::of(disk.total);
        self.spare = disk.free.saturating_sub(marks.low / UPKEEP_SHARE);
        match marks.step(disk.free, self.has_ballast) {
            Step::Allocate => self.allocate(marks.ballast),
            Step::GiveUp => self.give_up(),
            Step::Keep => {}
        }
        self.is_low = marks.is_low(disk.free, self.has_ballast, self.is_low);
        if self.is_low {
            Room::Low { free_bytes: disk.free, wanted_bytes: marks.again() }
        } else {
            Room::Enough
        }
    }

    /// How many bytes the store's upkeep may take before it gives any back, as of the last look.
    pub fn spare_bytes(&self) -> u64 {
        self.spare
    }

    /// Gives the ballast's room to the store, whether this process or an earlier one had allocated it.
    pub fn give_up(&mut self) {
        self.has_ballast = false;
        let path = self.path();
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::warn!(ballast = %path.display(), "the disk is full: the ballast is given up");
                // The blocks are there for others when the removal is on disk.
                if let Err(error) = File::open(&self.folder).and_then(|folder| folder.sync_all()) {
                    tracing::debug!(%error, "syncing the store's folder failed");
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(ballast = %path.display(), %error, "the ballast can't be removed");
            }
        }
    }

    /// The next look tries again if it fails.
    fn allocate(&mut self, bytes: u64) {
        let path = self.path();
        match allocate(&path, bytes) {
            Ok(()) => self.has_ballast = true,
            Err(error) => {
                tracing::debug!(ballast = %path.display(), %error, "no ballast could be allocated");
                self.give_up();
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl std::fmt::Debug for DiskReserve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskReserve").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// How large a part of the store may become on the disk of `folder`, in bytes, and how much of what is not needed any
/// more it may keep: `most`, or less on a small one.
pub fn part_bytes(folder: &Path, most: u64) -> u64 {
    Disk::of(folder).map_or(most, |disk| most.min(disk.total / PART_SHARE))
}

/// Real blocks, not a hole.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(posix_fallocate(&file, 0, bytes)?)
}

/// The bounds of a file system of some size, in bytes.
#[derive(Debug, Clone, Copy)]
struct Marks {
    ballast: u64,
    low: u64,
}

impl Marks {
    fn of(total: u64) -> Self {
        Self {
            ballast: BALLAST_BYTES.min(total / BALLAST_SHARE),
            low: LOW_BYTES.min(total / LOW_SHARE),
        }
    }

    /// So much must be free before publishing goes on.
    fn again(self) -> u64 {
        self.low + self.low / AGAIN_SHARE
    }

    fn step(self, free: u64, has_ballast: bool) -> Step {
        if has_ballast && free < self.low / CRITICAL_SHARE {
            Step::GiveUp
        } else if !has_ballast && free >= self.again() + self.ballast {
            Step::Allocate
        } else {
            Step::Keep
        }
    }

    /// `free` as it was before this look's step: a ballast that was just allocated had its room left over.
    fn is_low(self, free: u64, has_ballast: bool, was_low: bool) -> bool {
        let ballast = if has_ballast { 0 } else { self.ballast };
        free < if was_low { self.again() + ballast } else { self.low }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    struct Rig {
        folder: tempfile::TempDir,
        free: Arc<AtomicU64>,
        reserve: DiskReserve,
    }

    fn rig() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(0));
        let reserve = DiskReserve::believing(folder.path(), Arc::clone(&free));
        Rig { folder, free, reserve }
    }

    impl Rig {
        /// What a look says when so many MiB are free.
        fn look(&mut self, free_mib: u64) -> bool {
            self.free.store(free_mib * MIB, Ordering::SeqCst);
            self.reserve.look() == Room::Enough
        }

        fn ballast(&self) -> u64 {
            let ballast = fs::metadata(self.folder.path().join("ballast"));
            ballast.map_or(0, |file| file.blocks() * 512 / MIB)
        }
    }

    #[test]
    fn the_ballast_takes_real_blocks() {
        let mut rig = rig();
        assert!(rig.look(1_000));
        assert_eq!(rig.ballast(), 32);
    }

    #[test]
    fn below_the_watermark_nothing_is_accepted_until_there_is_clearly_more_room() {
        let mut rig = rig();
        assert!(rig.look(900));
        assert!(rig.look(128));
        assert!(!rig.look(127));
        assert_eq!(rig.ballast(), 32, "acks still have room");
        assert!(!rig.look(159));
        assert!(rig.look(160));
    }

    #[test]
    fn the_ballast_is_given_up_before_the_last_byte_and_taken_back_before_publishing() {
        let mut rig = rig();
        assert!(rig.look(900));
        assert!(!rig.look(31));
        assert_eq!(rig.ballast(), 0);
        assert!(!rig.look(191), "room for the ballast is missing");
        assert_eq!(rig.ballast(), 0);
        assert!(rig.look(192));
        assert_eq!(rig.ballast(), 32);
    }

    #[test]
    fn upkeep_leaves_more_than_what_costs_the_ballast() {
        let mut rig = rig();
        rig.look(300);
        assert_eq!(rig.reserve.spare_bytes() / MIB, 257);
        rig.look(43);
        assert_eq!((rig.reserve.spare_bytes(), rig.ballast()), (MIB / 3 + 1, 32));
        rig.look(42);
        assert_eq!((rig.reserve.spare_bytes(), rig.ballast()), (0, 32));
    }

    #[test]
    fn a_ballast_of_an_earlier_run_is_given_up_too() {
        let mut rig = rig();
        assert!(rig.look(900));
        let mut later = DiskReserve::new(rig.folder.path());
        later.give_up();
        assert_eq!(rig.ballast(), 0);
    }

    #[test]
    fn a_disk_that_cannot_be_seen_is_taken_for_having_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = DiskReserve::new(&folder.path().join("none"));
        assert_eq!(reserve.look(), Room::Enough);
    }

    #[test]
    fn a_small_file_system_keeps_less() {
        let marks = Marks::of(64 * MIB);
        assert_eq!((marks.ballast, marks.low, marks.again()), (4 * MIB, 8 * MIB, 10 * MIB));
    }
}
