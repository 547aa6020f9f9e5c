//! A disk as POSIX promises it: what of a recorded folder is sure at a point of its trace, and what may or
//! may not be there after a power cut at that point.
//!
//! * A file's bytes and size are sure as of the beginning of its last sync (`fsync` or `fdatasync`) that has
//!   ended; what came after may be lost, kept, or kept for some sectors only, each call by itself.
//! * A name in a folder is sure as of the folder's last `fsync`; what came after may be lost or kept, each
//!   change by itself; a rename is lost or kept whole.
//! * Nothing else makes anything sure: not `sync_file_range`, not closing, not time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::base::Base;
use super::trace::{Event, Inode, Trace};

/// Which calls make bytes sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honest {
    /// `fsync` and `fdatasync`.
    All,
    /// `fdatasync` does nothing, as if the program didn't call it.
    NoDataSync,
}

pub(super) type ObjectId = usize;

#[derive(Debug)]
pub(super) enum Object {
    File(FileState),
    Folder(FolderState),
}

#[derive(Debug, Default)]
pub(super) struct FileState {
    pub(super) sure: Vec<u8>,
    /// Calls since, by their place in the trace.
    pub(super) open: Vec<(usize, FileCall)>,
}

#[derive(Debug, Clone)]
pub(super) enum FileCall {
    Write { at: u64, bytes: std::ops::Range<usize> },
    Zero { at: u64, len: u64 },
    Truncate(u64),
}

#[derive(Debug, Default)]
pub(super) struct FolderState {
    pub(super) sure: BTreeMap<String, ObjectId>,
    now: BTreeMap<String, ObjectId>,
    pub(super) open: Vec<(usize, NameCall)>,
}

#[derive(Debug, Clone)]
pub(super) enum NameCall {
    Put(String, ObjectId),
    Remove(String),
}

impl NameCall {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, ObjectId>) {
        match self {
            Self::Put(name, object) => drop(names.insert(name.clone(), *object)),
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

/// The state of a recorded folder while its trace is replayed.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    pub(super) trace: &'a Trace,
    root: PathBuf,
    honest: Honest,
    pub(super) objects: Vec<Object>,
    by_inode: HashMap<Inode, ObjectId>,
    /// Syncs that have begun: of what, and where in the trace.
    syncs: HashMap<u64, (ObjectId, usize)>,
    /// Calls of which a part became sure, so that the rest is there too: renames between folders.
    pub(super) sure_calls: BTreeSet<usize>,
    /// How much of the trace is replayed.
    pub(crate) done: usize,
}

pub(super) const ROOT: ObjectId = 0;

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
}
