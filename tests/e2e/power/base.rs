//! What is in a folder: where a recording begins, and what its replay is compared with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::trace::Inode;

/// A folder as it was when a recording began.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) root: Inode,
    /// Folders before what is in them; a file with its bytes.
    pub(crate) entries: Vec<(String, Inode, Option<Vec<u8>>)>,
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
