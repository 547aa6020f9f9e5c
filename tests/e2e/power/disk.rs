//! A disk as POSIX promises it: what of a recorded folder is sure at a point of its trace, and what may or
//! may not be there after a power cut at that point.
//!
//! * A file's bytes and size are sure as of the beginning of its last sync (`fsync` or `fdatasync`) that has
//!   ended; what came after may be lost, kept, or kept for some sectors only, each call by itself.
//! * A name in a folder is sure as of the folder's last `fsync`; what came after may be lost or kept, each
//!   change by itself; a rename is lost or kept whole.
//! * Nothing else makes anything sure: not `sync_file_range`, not closing, not time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::trace::{Event, Inode, Trace};

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What survives of writes that no sync has covered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// Nothing of it.
    Lost,
    /// All of it: as after `kill -9`.
    Kept,
    /// The oldest calls up to some point over all files; the one at that point in part.
    Prefix,
    /// Each call by itself: kept with this probability, else lost or kept in part.
    Mixed(f32),
}

impl Fate {
    /// One at random.
    pub(crate) fn any(random: &mut Rng) -> Self {
        match random.u32(0..10) {
            0 | 1 => Self::Lost,
            2 => Self::Kept,
            3 | 4 => Self::Prefix,
            5 => Self::Mixed(0.9),
            6 => Self::Mixed(0.1),
            _ => Self::Mixed(0.5),
        }
    }
}

/// Which calls make bytes sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honest {
    /// `fsync` and `fdatasync`.
    All,
    /// `fdatasync` does nothing, as if the program didn't call it.
    NoDataSync,
}

type ObjectId = usize;

#[derive(Debug)]
enum Object {
    File(FileState),
    Folder(FolderState),
}

#[derive(Debug, Default)]
struct FileState {
    sure: Vec<u8>,
    /// Calls since, by their place in the trace.
    open: Vec<(usize, FileCall)>,
}

#[derive(Debug, Clone)]
enum FileCall {
    Write { at: u64, bytes: std::ops::Range<usize> },
    Zero { at: u64, len: u64 },
    Truncate(u64),
}

#[derive(Debug, Default)]
struct FolderState {
    sure: BTreeMap<String, ObjectId>,
    now: BTreeMap<String, ObjectId>,
    open: Vec<(usize, NameCall)>,
}

#[derive(Debug, Clone)]
enum NameCall {
    Put(String, ObjectId),
    Remove(String),
}

impl NameCall {
    fn apply(&self, names: &mut BTreeMap<String, ObjectId>) {
        match self {
            Self::Put(name, object) => drop(names.insert(name.clone(), *object)),
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

/// The state of a recorded folder while its trace is replayed.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    trace: &'a Trace,
    root: PathBuf,
    honest: Honest,
    objects: Vec<Object>,
    by_inode: HashMap<Inode, ObjectId>,
    /// Syncs that have begun: of what, and where in the trace.
    syncs: HashMap<u64, (ObjectId, usize)>,
    /// Calls of which a part became sure, so that the rest is there too: renames between folders.
    sure_calls: BTreeSet<usize>,
    /// How much of the trace is replayed.
    pub(crate) done: usize,
}

const ROOT: ObjectId = 0;

impl<'a> Disk<'a> {
    /// What is in folder `root` when the recording begins; all of it is sure.
    pub(crate) fn new(root: &Path, trace: &'a Trace, base: &Base, honest: Honest) -> Self {
        let mut disk = Self {
            trace,
            root: root.to_owned(),
            honest,
            objects: vec![Object::Folder(FolderState::default())],
            by_inode: HashMap::from([(base.root, ROOT)]),
            syncs: HashMap::new(),
            sure_calls: BTreeSet::new(),
            done: 0,
        };
        for (path, inode, bytes) in &base.entries {
            let object = match bytes {
                Some(bytes) => Object::File(FileState { sure: bytes.clone(), open: Vec::new() }),
                None => Object::Folder(FolderState::default()),
            };
            let id = disk.add(*inode, object);
            let (folder, name) = disk.place(path).expect("a folder comes before what is in it");
            let folder = disk.folder(folder);
            folder.sure.insert(name.clone(), id);
            folder.now.insert(name, id);
        }
        disk
    }

    fn add(&mut self, inode: Inode, object: Object) -> ObjectId {
        self.objects.push(object);
        self.by_inode.insert(inode, self.objects.len() - 1);
        self.objects.len() - 1
    }

    fn folder(&mut self, id: ObjectId) -> &mut FolderState {
        match &mut self.objects[id] {
            Object::Folder(folder) => folder,
            Object::File(_) => panic!("object {id} is a file"),
        }
    }

    /// The folder that holds `path`, and the name in it. `None`: there is no such folder.
    fn place(&self, path: &str) -> Option<(ObjectId, String)> {
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        let mut names: Vec<&str> = inside.iter().map(|n| n.to_str().expect("text")).collect();
        let name = names.pop()?.to_owned();
        let mut at = ROOT;
        for step in names {
            match &self.objects[at] {
                Object::Folder(folder) => at = *folder.now.get(step)?,
                Object::File(_) => return None,
            }
        }
        Some((at, name))
    }

    fn name(&mut self, path: &str, change: impl FnOnce(String) -> NameCall) {
        let (folder, name) = self.place(path).unwrap_or_else(|| panic!("{path}: no such folder"));
        let (call, at) = (change(name), self.done);
        let folder = self.folder(folder);
        call.apply(&mut folder.now);
        folder.open.push((at, call));
    }

    fn at(&self, path: &str) -> Option<ObjectId> {
        let (folder, name) = self.place(path)?;
        match &self.objects[folder] {
            Object::Folder(folder) => folder.now.get(&name).copied(),
            Object::File(_) => None,
        }
    }

    fn file_call(&mut self, inode: Inode, call: FileCall) {
        let id = self.by_inode[&inode];
        match &mut self.objects[id] {
            Object::File(file) => file.open.push((self.done, call)),
            Object::Folder(_) => panic!("inode {inode} is a folder"),
        }
    }

    /// Replays up to event `end`, not included.
    pub(crate) fn replay_to(&mut self, end: usize) {
        while self.done < end {
            self.take(&self.trace.events[self.done].clone());
            self.done += 1;
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Opened { inode, path } => {
                let known = self.at(path);
                if known.is_none() || known != self.by_inode.get(inode).copied() {
                    let id = self.add(*inode, Object::File(FileState::default()));
                    self.name(path, |name| NameCall::Put(name, id));
                }
            }
            Event::MadeFolder { inode, path } => {
                let id = self.add(*inode, Object::Folder(FolderState::default()));
                self.name(path, |name| NameCall::Put(name, id));
            }
            Event::Written { inode, at, bytes } => {
                self.file_call(*inode, FileCall::Write { at: *at, bytes: bytes.clone() });
            }
            Event::Truncated { inode, size } => self.file_call(*inode, FileCall::Truncate(*size)),
            Event::Zeroed { inode, at, len } => {
                self.file_call(*inode, FileCall::Zero { at: *at, len: *len });
            }
            // A socket's name is made by `bind`, which isn't recorded: it is none of the disk's.
            Event::Renamed { from, to } => {
                if let Some(id) = self.at(from) {
                    self.name(from, NameCall::Remove);
                    self.name(to, |name| NameCall::Put(name, id));
                }
            }
            Event::Linked { from, to } => {
                let id = self.at(from).unwrap_or_else(|| panic!("{from} is not there"));
                self.name(to, |name| NameCall::Put(name, id));
            }
            Event::Unlinked { path } | Event::RemovedFolder { path } => {
                if self.at(path).is_some() {
                    self.name(path, NameCall::Remove);
                }
            }
            Event::SyncBegun { number, inode, is_data } => {
                if !is_data || self.honest == Honest::All {
                    self.syncs.insert(*number, (self.by_inode[inode], self.done));
                }
            }
            Event::SyncEnded { number } => {
                if let Some((object, begun)) = self.syncs.remove(number) {
                    self.settle(object, begun);
                }
            }
            Event::Range | Event::Sent { .. } => {}
        }
    }

    /// What was done to an object before event `end` is sure.
    fn settle(&mut self, id: ObjectId, end: usize) {
        let trace = self.trace;
        match &mut self.objects[id] {
            Object::File(file) => {
                let count = file.open.partition_point(|(at, _)| *at < end);
                for (_, call) in file.open.drain(..count) {
                    call.apply(trace, &mut file.sure);
                }
            }
            Object::Folder(folder) => {
                let count = folder.open.partition_point(|(at, _)| *at < end);
                for (at, call) in folder.open.drain(..count) {
                    call.apply(&mut folder.sure);
                    self.sure_calls.insert(at);
                }
            }
        }
    }

    /// Writes what a power cut now may leave into folder `to`, which is not there yet.
    pub(crate) fn image(&self, to: &Path, fate: Fate, random: &mut Rng) {
        let last = self.done.max(1);
        let dice = Dice { fate, prefix: random.usize(0..=last), seed: random.u64(..) };
        self.write_folder(ROOT, to, &dice);
    }

    fn write_folder(&self, id: ObjectId, to: &Path, dice: &Dice) {
        fs::create_dir_all(to).expect("a folder of the image");
        let Object::Folder(folder) = &self.objects[id] else { panic!("the root is a folder") };
        let mut names = folder.sure.clone();
        for (at, call) in &folder.open {
            if self.sure_calls.contains(at) || dice.keeps_name(*at) {
                call.apply(&mut names);
            }
        }
        for (name, id) in names {
            match &self.objects[id] {
                Object::File(file) => self.write_file(file, &to.join(name), dice),
                Object::Folder(_) => self.write_folder(id, &to.join(name), dice),
            }
        }
    }

    fn write_file(&self, file: &FileState, to: &Path, dice: &Dice) {
        let out = File::create_new(to).expect("a file of the image");
        out.write_all_at(&file.sure, 0).expect("the image can be written");
        let mut random =
            Rng::with_seed(dice.seed ^ file.open.first().map_or(0, |(at, _)| *at as u64));
        for (at, call) in &file.open {
            let part = dice.part(*at, &mut random);
            call.write(self.trace, &out, part, &mut random);
        }
    }
}

/// How much of a call is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    /// Some sectors.
    Some,
    All,
}

/// The decisions of one image. A call that stands in two folders is decided once.
struct Dice {
    fate: Fate,
    prefix: usize,
    seed: u64,
}

impl Dice {
    fn keeps_name(&self, at: usize) -> bool {
        let mut random =
            Rng::with_seed(self.seed ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match self.fate {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Prefix => at < self.prefix,
            Fate::Mixed(kept) => random.f32() < kept,
        }
    }

    fn part(&self, at: usize, random: &mut Rng) -> Part {
        match self.fate {
            Fate::Lost => Part::None,
            Fate::Kept => Part::All,
            Fate::Prefix if at < self.prefix => Part::All,
            Fate::Prefix if at == self.prefix => Part::Some,
            Fate::Prefix => Part::None,
            Fate::Mixed(kept) if random.f32() < kept => Part::All,
            Fate::Mixed(_) if random.bool() => Part::Some,
            Fate::Mixed(_) => Part::None,
        }
    }
}

impl FileCall {
    fn apply(&self, trace: &Trace, file: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let (start, bytes) = (*at as usize, trace.bytes(bytes));
                let end = start + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[start..end].copy_from_slice(bytes);
            }
            Self::Zero { at, len } => {
                let end = ((at + len) as usize).min(file.len());
                if let Some(hole) = file.get_mut(*at as usize..end) {
                    hole.fill(0);
                }
            }
            Self::Truncate(size) => file.resize(*size as usize, 0),
        }
    }

    fn write(&self, trace: &Trace, out: &File, part: Part, random: &mut Rng) {
        let kept = "the image can be written";
        match (self, part) {
            (Self::Truncate(size), Part::All | Part::Some) => out.set_len(*size).expect(kept),
            (Self::Zero { at, len }, Part::All | Part::Some) => {
                let size = out.metadata().expect(kept).len();
                let end = (at + len).min(size);
                let zeros = vec![0; end.saturating_sub(*at) as usize];
                out.write_all_at(&zeros, *at).expect(kept);
            }
            (Self::Write { at, bytes }, Part::All) => {
                out.write_all_at(trace.bytes(bytes), *at).expect(kept);
            }
            (Self::Write { at, bytes }, Part::Some) => {
                let bytes = trace.bytes(bytes);
                let end = at + bytes.len() as u64;
                // A torn write is mostly cut at one place; else each sector is on its own.
                let sectors = (end - at / SECTOR * SECTOR).div_ceil(SECTOR);
                let cut = random.bool().then(|| random.u64(0..=sectors));
                let from_behind = random.bool();
                for sector in 0..sectors {
                    let is_kept = match cut {
                        Some(cut) => (sector < cut) != from_behind,
                        None => random.bool(),
                    };
                    let start = ((at / SECTOR + sector) * SECTOR).max(*at);
                    let stop = ((at / SECTOR + sector + 1) * SECTOR).min(end);
                    if is_kept {
                        let kept_bytes = &bytes[(start - at) as usize..(stop - at) as usize];
                        out.write_all_at(kept_bytes, start).expect(kept);
                    }
                }
                grow_by_chance(out, end, random);
            }
            (Self::Write { at, bytes }, Part::None) => {
                // The size may be there without the bytes.
                grow_by_chance(out, at + bytes.len() as u64, random);
            }
            (Self::Truncate(_) | Self::Zero { .. }, Part::None) => {}
        }
    }
}

fn grow_by_chance(out: &File, end: u64, random: &mut Rng) {
    if random.u32(0..4) == 0 && out.metadata().expect("the image's file").len() < end {
        out.set_len(end).expect("the image can be written");
    }
}

/// A folder as it was when a recording began.
#[derive(Debug)]
pub(crate) struct Base {
    root: Inode,
    /// Folders before what is in them; a file with its bytes.
    entries: Vec<(String, Inode, Option<Vec<u8>>)>,
}

impl Base {
    /// Reads folder `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
        let mut base = Self { root: inode(root), entries: Vec::new() };
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder of the base") {
                let path = entry.expect("an entry of the base").path();
                let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
                let bytes = kind.is_file().then(|| fs::read(&path).expect("a file of the base"));
                if kind.is_dir() {
                    folders.push(path.clone());
                }
                if kind.is_dir() || kind.is_file() {
                    let text = path.to_str().expect("a path is text").to_owned();
                    base.entries.push((text, inode(&path), bytes));
                }
            }
        }
        base
    }

    /// Files and folders with their bytes, by their path below the root.
    pub(crate) fn contents(&self, root: &Path) -> BTreeMap<PathBuf, Option<&[u8]>> {
        self.entries
            .iter()
            .map(|(path, _, bytes)| {
                let path = Path::new(path).strip_prefix(root).expect("below the root");
                (path.to_owned(), bytes.as_deref())
            })
            .collect()
    }
}

mod tests {
    use super::super::trace::Script;
    use super::*;

    const FILE: Inode = 1_000_000_001;
    /// The folder's number is not known before the test runs: scripts are made for it.
    type Made = fn(Script, &dyn Fn(&str) -> String, Inode) -> Script;

    /// What is in an image, by name, for many seeds.
    fn outcomes(script: Made) -> BTreeSet<BTreeMap<PathBuf, Vec<u8>>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a folder");
        let base = Base::read(&root);
        let path = |name: &str| root.join(name).to_str().expect("text").to_owned();
        let trace = script(Script::default(), &path, base.root).trace();
        let mut disk = Disk::new(&root, &trace, &base, Honest::All);
        disk.replay_to(trace.events.len());
        let image = folder.path().join("image");
        let mut outcomes = BTreeSet::new();
        for seed in 0..200 {
            let mut random = Rng::with_seed(seed);
            let fate = Fate::any(&mut random);
            disk.image(&image, fate, &mut random);
            let there = Base::read(&image);
            let file = |(name, bytes): (PathBuf, Option<&[u8]>)| Some((name, bytes?.to_vec()));
            outcomes.insert(there.contents(&image).into_iter().filter_map(file).collect());
            fs::remove_dir_all(&image).expect("the image can be removed");
        }
        outcomes
    }

    fn only(name: &str, bytes: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
        BTreeMap::from([(PathBuf::from(name), bytes.to_vec())])
    }

    #[test]
    fn what_was_synced_is_always_there() {
        let found = outcomes(|script, path, folder| {
            let script = script.opened(FILE, &path("a")).written(FILE, 0, b"kept");
            script.synced(FILE, 1).synced(folder, 2)
        });
        assert_eq!(found, BTreeSet::from([only("a", b"kept")]));
    }

    #[test]
    fn what_was_not_synced_is_lost_kept_or_torn_at_sectors() {
        let found = outcomes(|script, path, folder| {
            let script = script.opened(FILE, &path("a")).written(FILE, 0, &[1; 1024]);
            script.synced(FILE, 1).synced(folder, 2).written(FILE, 100, &[2; 800])
        });
        let (mut first, mut second) = (vec![1; 1024], vec![1; 1024]);
        first[100..512].fill(2);
        second[512..900].fill(2);
        let both = [&first[..512], &second[512..]].concat();
        let all = [&[1; 1024][..], &first, &second, &both].map(|bytes| only("a", bytes));
        assert_eq!(found, BTreeSet::from(all));
    }

    #[test]
    fn a_write_while_a_sync_runs_is_not_covered_by_it() {
        let found = outcomes(|script, path, folder| {
            let script = script.opened(FILE, &path("a")).synced(folder, 2).sync_begun(FILE, 1);
            script.written(FILE, 0, b"late").sync_ended(FILE, 1)
        });
        assert!(found.contains(&only("a", b"")) && found.contains(&only("a", b"late")));
    }

    #[test]
    fn a_sync_of_the_file_is_none_of_its_name() {
        let found = outcomes(|script, path, _| {
            script.opened(FILE, &path("a")).written(FILE, 0, b"kept").synced(FILE, 1)
        });
        assert_eq!(found, BTreeSet::from([BTreeMap::new(), only("a", b"kept")]));
    }

    #[test]
    fn a_rename_is_lost_or_kept_whole() {
        let found = outcomes(|script, path, folder| {
            let script = script.opened(FILE, &path("new")).written(FILE, 0, b"bytes");
            let script = script.synced(FILE, 1).synced(folder, 2);
            script.renamed(&path("new"), &path("name"))
        });
        assert_eq!(found, BTreeSet::from([only("new", b"bytes"), only("name", b"bytes")]));
    }
}
