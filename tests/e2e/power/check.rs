//! Cutting the power of a recorded session at many points, and what the store must hold after each.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use mubroker::mailbox::{Mailbox, MemoryMailbox, SledMailbox, check_store};

use super::disk::{Disk, Honest};
use super::image::Fate;
use super::number;
use super::recorder::{Mark, Session, upkeep};
use super::workload::{Workload, everything};

/// One cut in so many is opened twice, with work between.
const GO_ON_EVERY: usize = 5;
/// One cut in so many is looked at by `store check` before it is opened; another number with this variable set.
const LOOK_EVERY: usize = 8;
const LOOK_EVERY_VARIABLE: &str = "MUBROKER_LOOK_EVERY";
/// Batches of that work.
const MORE_BATCHES: usize = 5;

/// What is to be found after a cut: the state after one of these batches, as a later run than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    synced: usize,
    begun: usize,
    generation: u64,
}

/// A cut after which the store was not as it must be.
#[derive(Debug)]
pub(crate) struct Loss {
    /// To repeat it on the same trace: which event, what fate, which seed.
    pub(crate) cut: Cut,
    pub(crate) what: String,
}

/// One power cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Before this event.
    pub(crate) at: usize,
    pub(crate) fate: Fate,
    pub(crate) seed: u64,
}

/// The states that a session went through.
#[derive(Debug)]
pub(crate) struct Model {
    first: usize,
    /// After each batch from `first` on: a sum over everything.
    sums: Vec<u64>,
}

fn sum(text: &str) -> u64 {
    // Two of 32 bits, from either end.
    let back = text.as_bytes().rchunks(7).fold(0u32, |sum, part| {
        let mut hasher = crc32fast::Hasher::new_with_initial(sum);
        hasher.update(part);
        hasher.finalize()
    });
    u64::from(crc32fast::hash(text.as_bytes())) << 32 | u64::from(back)
}

impl Model {
    pub(crate) fn of(session: &Session) -> Self {
        let (mut workload, memory) = replayed(session, 0);
        let state = |memory: &MemoryMailbox| sum(&everything(memory).expect("RAM has no errors"));
        let mut sums = vec![state(&memory)];
        for _ in 0..session.batches {
            memory.append(&workload.batch()).expect("a consistent batch");
            sums.push(state(&memory));
        }
        Self { first: session.before.len(), sums }
    }

    /// The newest batch in `synced..=begun` after which everything was as in `text`.
    fn find(&self, expected: &Expected, text: &str) -> Option<usize> {
        let sum = sum(text);
        let is_it = |batch: &usize| self.sums[batch - self.first] == sum;
        (expected.synced..=expected.begun).rev().find(is_it)
    }
}

/// The store as it is in RAM after `batches` of the session, and what comes next.
fn replayed(session: &Session, batches: usize) -> (Workload, MemoryMailbox) {
    let memory = MemoryMailbox::new();
    let take = |batch| memory.append(&batch).expect("a consistent batch");
    let mut workload = Workload::after(&session.before, take);
    workload.reseed(session.seed);
    (0..batches).for_each(|_| memory.append(&workload.batch()).expect("a consistent batch"));
    (workload, memory)
}

/// Where the power is cut: anywhere, and just after something became sure.
pub(crate) fn cuts(session: &Session, count: usize, random: &mut Rng) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = (0..count)
        .map(|_| {
            let anywhere = random.usize(0..=session.trace.events.len());
            let (mark, _) = session.marks[random.usize(0..session.marks.len())];
            let at = if random.bool() { anywhere } else { mark + 1 };
            Cut { at, fate: Fate::any(random), seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

impl Session {
    fn expected(&self, at: usize) -> Expected {
        let known = self.before.len();
        let mut expected = Expected { synced: known, begun: known, generation: 0 };
        for (_, mark) in self.marks.iter().take_while(|(place, _)| *place < at) {
            match *mark {
                Mark::Opened(generation) => expected.generation = generation,
                Mark::Appending(batch) => expected.begun = batch,
                Mark::Synced(batch) => expected.synced = batch,
            }
        }
        expected
    }
}

/// Makes all cuts, on all processors; images come and go in `folder`.
pub(crate) fn losses(
    session: &Session,
    model: &Model,
    cuts: &[Cut],
    honest: Honest,
    folder: &Path,
) -> Vec<Loss> {
    let look_every = number(LOOK_EVERY_VARIABLE, LOOK_EVERY as u64) as usize;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let share = |thread: usize| {
        let mut disk = Disk::new(&session.root, &session.trace, &session.base, honest);
        let mut losses = Vec::new();
        for (at, cut) in cuts.iter().enumerate().skip(thread).step_by(threads) {
            disk.replay_to(cut.at);
            let image = folder.join(format!("image-{thread}"));
            write_image(&disk, cut, &image);
            let goes_on = at.is_multiple_of(GO_ON_EVERY);
            let expected = session.expected(cut.at);
            let is_looked_at = expected.generation > 0 && at % look_every < threads;
            let looked = if is_looked_at { look(&image) } else { Ok(()) };
            let checked = looked.and_then(|()| check(session, model, &expected, &image, goes_on));
            if let Err(what) = checked {
                let what = format!("{}{what}", reports(&image));
                losses.push(Loss { cut: *cut, what });
            }
            fs::remove_dir_all(&image).expect("the image can be removed");
        }
        losses
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no check panics")).collect()
    })
}

/// What the store wrote of what it took for damage.
fn reports(image: &Path) -> String {
    let files = fs::read_dir(image.join("store/quarantine")).into_iter().flatten().flatten();
    let texts = files.filter(|entry| entry.path().extension().is_some_and(|it| it == "txt"));
    texts.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default() + "\n").collect()
}

fn write_image(disk: &Disk<'_>, cut: &Cut, image: &Path) {
    disk.image(image, cut.fate, &mut Rng::with_seed(cut.seed));
}

/// Writes what a cut leaves into folder `image`.
pub(crate) fn leave(session: &Session, cut: &Cut, image: &Path) {
    let mut disk = Disk::new(&session.root, &session.trace, &session.base, Honest::All);
    disk.replay_to(cut.at);
    write_image(&disk, cut, image);
}

/// What a cut leaves, in folder `image`; and which batch it has kept all up to, if it is as it must be.
pub(crate) fn cut_to(
    session: &Session,
    model: &Model,
    cut: &Cut,
    image: &Path,
) -> Result<usize, String> {
    leave(session, cut, image);
    let kept = check(session, model, &session.expected(cut.at), image, false)?;
    // Opening has changed it.
    fs::remove_dir_all(image).expect("the image can be removed");
    leave(session, cut, image);
    Ok(kept)
}

/// A cut leaves no damage, and nobody is told of any.
fn look(image: &Path) -> Result<(), String> {
    let check = check_store(&image.join("store"));
    let check = check.map_err(|error| format!("it can't be checked: {error}"))?;
    if check.sound { Ok(()) } else { Err(format!("said to be damaged: {:?}", check.problems)) }
}

/// Is the store in `image` as expected? Returns the batch up to which it has all.
fn check(
    session: &Session,
    model: &Model,
    expected: &Expected,
    image: &Path,
    goes_on: bool,
) -> Result<usize, String> {
    let found = catch_unwind(AssertUnwindSafe(|| {
        let (mailbox, text) = open(session, image, expected)?;
        let kept =
            model.find(expected, &text).ok_or_else(|| difference(session, expected, &text))?;
        if goes_on {
            go_on(session, mailbox, kept, image)?;
        }
        Ok(kept)
    }));
    found.unwrap_or_else(|_| Err("a panic".to_owned()))
}

fn open(
    session: &Session,
    image: &Path,
    expected: &Expected,
) -> Result<(SledMailbox, String), String> {
    let mailbox = SledMailbox::open(&image.join("store"), session.parts.options());
    let mailbox = mailbox.map_err(|error| format!("it does not open: {error}"))?;
    let blobs = blobs(image);
    if !blobs.is_empty() {
        return Err(format!("a value became a blob file, which is not synced: {blobs:?}"));
    }
    let generation = mailbox.recover().map_err(|e| e.to_string())?.generation.0;
    if generation <= expected.generation {
        return Err(format!("generation {generation} came after {}", expected.generation));
    }
    let text = everything(&mailbox)?;
    Ok((mailbox, text))
}

/// Files in folders named `blobs`.
pub(crate) fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(blobs(&path));
        } else if folder.ends_with("blobs") {
            found.push(path);
        }
    }
    found
}

/// The store takes more batches, and has them after it was opened again.
fn go_on(session: &Session, mailbox: SledMailbox, kept: usize, image: &Path) -> Result<(), String> {
    let (mut workload, memory) = replayed(session, kept - session.before.len());
    for _ in 0..MORE_BATCHES {
        let batch = workload.batch();
        memory.append(&batch).expect("a consistent batch");
        mailbox.append(&batch).map_err(|e| format!("it takes no more batches: {e}"))?;
        upkeep(&mailbox).map_err(|e| format!("it can't be maintained: {e}"))?;
    }
    mailbox.sync().map_err(|e| format!("it can't be synced: {e}"))?;
    drop(mailbox);
    let none = Expected { synced: 0, begun: 0, generation: 0 };
    let (_, text) =
        open(session, image, &none).map_err(|e| format!("opened a second time: {e}"))?;
    let model = everything(&memory).expect("RAM has no errors");
    if text != model {
        return Err(format!("opened a second time: {}", first_difference(&model, &text)));
    }
    Ok(())
}

/// How what was found differs from what the last synced batch left.
fn difference(session: &Session, expected: &Expected, text: &str) -> String {
    let (_, memory) = replayed(session, expected.synced - session.before.len());
    let model = everything(&memory).expect("RAM has no errors");
    format!("not as after any of batches {expected:?}: {}", first_difference(&model, text))
}

fn first_difference(model: &str, text: &str) -> String {
    const SHOWN: usize = 300;
    let mut lines = model.lines().zip(text.lines()).enumerate().filter(|(_, (a, b))| a != b);
    let Some((line, (a, b))) = lines.next() else {
        return format!("{} lines, and {} were found", model.lines().count(), text.lines().count());
    };
    let at = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count().saturating_sub(30);
    let part = |text: &str| text.chars().skip(at).take(SHOWN).collect::<String>();
    format!("line {line} from character {at} on:\n  model: {}\n  found: {}", part(a), part(b))
}
