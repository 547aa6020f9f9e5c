//! Images: what a power cut leaves of a [`Disk`], at random within what the disk promises.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fastrand::Rng;

use super::disk::{Disk, FileCall, FileState, Object, ObjectId, ROOT};
use super::trace::Trace;

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

impl Disk<'_> {
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
        write_sparse(&out, &file.sure);
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

/// Leaves blocks of zeros out: files are allocated ahead.
fn write_sparse(out: &File, bytes: &[u8]) {
    const BLOCK: usize = 64 * 1024;
    out.set_len(bytes.len() as u64).expect("the image can be written");
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        if block != &[0; BLOCK][..block.len()] {
            out.write_all_at(block, (number * BLOCK) as u64).expect("the image can be written");
        }
    }
}

fn grow_by_chance(out: &File, end: u64, random: &mut Rng) {
    if random.u32(0..4) == 0 && out.metadata().expect("the image's file").len() < end {
        out.set_len(end).expect("the image can be written");
    }
}

mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use super::super::base::Base;
    use super::super::disk::Honest;
    use super::super::trace::{Inode, Script};
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
