//! Power loss. A store under load is recorded (`tests/c/recorder.c`): every call that changes a file, with
//! its bytes, and every sync. Then the power is cut at random points of that record: what no real sync had
//! covered is dropped, kept, or kept in part (`disk`), the store is opened on what is left, and must hold
//! exactly what it held after some batch: none before the last that a finished sync covered, none after the
//! last that was begun.
//!
//! `MUBROKER_CUTS` is how many (default 1,000); `MUBROKER_SEED` repeats batches, cuts and fates (the threads'
//! timing is each run's own). What the first loss left is kept in the target folder's `tmp/power-loss`.

mod base;
mod broker;
mod check;
mod disk;
mod image;
mod recorder;
mod trace;
mod workload;

use std::path::{Path, PathBuf};

use fastrand::Rng;
use tempfile::TempDir;

use self::base::Base;
use self::check::{Loss, Model, cut_to, cuts, leave, losses};
use self::disk::{Disk, Honest};
use self::image::Fate;
use self::recorder::{Parts, Session};
use self::trace::{Event, Trace};
use self::workload::{History, Load};

/// Recorded sessions, each but the first on what a power cut has left of the one before.
const SESSIONS: usize = 4;
/// Batches in each: enough for sled to fill and reuse several of its segments.
const BATCHES: usize = 150;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A folder in RAM if there is one: images are written by the hundreds, and no sync of theirs counts.
fn images() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("mub");
    let in_ram = builder.tempdir_in("/dev/shm");
    in_ram.or_else(|_| builder.tempdir()).expect("a temporary folder")
}

/// A folder for recordings: on a disk, where a sync takes its time. Its path is without links.
fn recordings() -> (TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let path = folder.path().canonicalize().expect("it is there");
    (folder, path)
}

fn new_root(folder: &Path, name: &str) -> PathBuf {
    let root = folder.join(name);
    std::fs::create_dir(&root).expect("a new folder");
    root
}

/// The trace, replayed to its end with everything kept, is what is really there: nothing was missed.
fn assert_complete(root: &Path, trace: &Trace, base: &Base, folder: &Path) {
    let mut disk = Disk::new(root, trace, base, Honest::All);
    disk.replay_to(trace.events.len());
    let image = folder.join("whole");
    disk.image(&image, Fate::Kept, &mut Rng::with_seed(0));
    let (replayed, there) = (Base::read(&image), Base::read(root));
    let (replayed, there) = (replayed.contents(&image), there.contents(root));
    let names: Vec<_> = replayed.keys().collect();
    assert_eq!(names, there.keys().collect::<Vec<_>>());
    for (name, bytes) in &there {
        assert!(replayed[name] == *bytes, "{}: not as recorded", name.display());
    }
    std::fs::remove_dir_all(&image).expect("the image can be removed");
}

/// Keeps what the first of these cuts left, to be looked at.
fn keep(session: &Session, losses: &[Loss]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-loss");
    let _ = std::fs::remove_dir_all(&folder);
    if let Some(loss) = losses.first() {
        leave(session, &loss.cut, &folder);
        std::fs::write(folder.join("trace.txt"), text(&session.trace)).expect("the trace as text");
    }
}

/// The calls of a trace, a line each.
fn text(trace: &Trace) -> String {
    let line = |(at, event): (usize, &Event)| match event {
        Event::Written { inode, at: offset, bytes } => {
            let start = &trace.bytes(bytes)[..bytes.len().min(32)];
            format!("{at} Written {inode} at {offset}, {} bytes: {start:02x?}\n", bytes.len())
        }
        event => format!("{at} {event:?}\n"),
    };
    trace.events.iter().enumerate().map(line).collect()
}

fn describe(losses: &[Loss], of: usize, seed: u64) -> String {
    let shown: Vec<String> =
        losses.iter().take(5).map(|loss| format!("{:?}: {}", loss.cut, loss.what)).collect();
    format!("{} of {of} cuts lost something (seed {seed}):\n{}", losses.len(), shown.join("\n"))
}

#[test]
fn nothing_that_was_synced_is_lost_by_a_power_cut() {
    let seed = number("MUBROKER_SEED", fastrand::u64(..));
    let count = number("MUBROKER_CUTS", 1_000) as usize;
    let mut random = Rng::with_seed(seed);
    let ((_held, folder), shm) = (recordings(), images());
    let mut root = new_root(&folder, "0");
    let mut history = History::default();
    let (mut begun, mut deleted) = (0, 0);
    for number in 1..=SESSIONS {
        let (parts, load, batches) = match number % 2 {
            0 => (Parts::One, Load::Edits, BATCHES / 3),
            _ => (Parts::Many, Load::Messages, BATCHES),
        };
        let session_seed = load.seed(random.u64(..));
        let session = Session::record(&root, history, session_seed, batches, parts);
        assert_complete(&session.root, &session.trace, &session.base, shm.path());
        let model = Model::of(&session);
        let cuts = cuts(&session, count.div_ceil(SESSIONS), &mut random);
        let lost = losses(&session, &model, &cuts, Honest::All, shm.path());
        keep(&session, &lost);
        assert!(lost.is_empty(), "session {number}: {}", describe(&lost, cuts.len(), seed));
        begun += calls(&session.trace, |event| matches!(event, Event::MadeFolder { .. }));
        deleted += calls(&session.trace, |event| matches!(event, Event::RemovedFolder { .. }));
        // The next session goes on after one of these cuts.
        root = folder.join(number.to_string());
        let cut = cuts[random.usize(cuts.len() / 2..cuts.len())];
        let kept = cut_to(&session, &model, &cut, &root).expect("this cut was checked");
        history = session.history(kept);
    }
    assert!(
        begun > SESSIONS && deleted > 1,
        "parts of the store: {begun} begun, {deleted} deleted"
    );
}

fn calls(trace: &Trace, is_counted: fn(&Event) -> bool) -> usize {
    trace.events.iter().filter(|event| is_counted(event)).count()
}

#[test]
fn the_harness_finds_a_missing_fdatasync() {
    let ((_held, folder), shm) = (recordings(), images());
    let seed = number("MUBROKER_SEED", 1);
    let root = new_root(&folder, "0");
    let session = Session::record(&root, History::default(), seed, 60, Parts::Many);
    let model = Model::of(&session);
    let cuts = cuts(&session, 60, &mut Rng::with_seed(seed));
    let lost = losses(&session, &model, &cuts, Honest::NoDataSync, shm.path());
    assert!(lost.len() > cuts.len() / 4, "{}", describe(&lost, cuts.len(), seed));
    let lost = losses(&session, &model, &cuts, Honest::All, shm.path());
    assert!(lost.is_empty(), "{}", describe(&lost, cuts.len(), seed));
}
