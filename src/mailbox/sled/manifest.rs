//! The file `manifest`: which generations the store has.

use std::fs;
use std::io;
use std::path::Path;

use super::folder::{io_error, replace_file};
use crate::mailbox::MailboxError;

const FIRST_LINE: &str = "mubroker store manifest 1";
const FOLDER_PREFIX: &str = "gen-";

/// One generation, as it was when it became the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GenerationEntry {
    /// Rising, never used again.
    pub(super) number: u64,
    /// The folder's name.
    pub(super) folder: String,
    /// Its log's ids begin here; they end where the next one's begin.
    pub(super) first_id: u64,
    /// The number of the newest commit before it.
    pub(super) commit: u64,
    /// Bytes of keys and values that were copied into its `state`.
    pub(super) copied: u64,
}

/// All generations by number, and so by first id. The last is the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Never empty.
    pub(super) generations: Vec<GenerationEntry>,
}

/// The folder of generation `number`.
pub(super) fn folder_name(number: u64) -> String {
    format!("{FOLDER_PREFIX}{number}")
}

/// The generation whose folder has this name.
pub(super) fn number_of_folder(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER_PREFIX)?.parse().ok().filter(|&number| folder_name(number) == name)
}

impl Manifest {
    /// Of a store with one generation.
    pub(super) fn first(folder: String) -> Self {
        let first = GenerationEntry { number: 1, folder, first_id: 1, commit: 0, copied: 0 };
        Self { generations: vec![first] }
    }

    pub(super) fn active(&self) -> &GenerationEntry {
        self.generations.last().expect("a manifest is never empty")
    }

    /// The others, each with the newest commit that it must hold; 0 if that is not known: no commit went into it, it
    /// was followed by one that has gone, or an earlier version of the format may have written all of it.
    pub(super) fn sealed(&self) -> impl DoubleEndedIterator<Item = (&GenerationEntry, u64)> {
        self.generations.windows(2).map(|pair| {
            let (entry, next) = (&pair[0], &pair[1]);
            let is_known = next.number == entry.number + 1
                && next.commit > entry.commit
                && number_of_folder(&entry.folder).is_some();
            (entry, if is_known { next.commit } else { 0 })
        })
    }

    /// Reads the file in the store's folder.
    pub(super) fn read(path: &Path) -> Result<Self, MailboxError> {
        let damaged = |what: &str| MailboxError::Damaged {
            path: path.display().to_string(),
            what: format!("the file `manifest` {what}"),
        };
        let bytes = match fs::read(path.join("manifest")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("is not there"));
            }
            Err(source) => return Err(io_error("reading the manifest", path, source)),
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged("is not text"))?;
        Self::parse(&text).map_err(damaged)
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let end = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let (body, last) = text.split_at(end);
        let sum = last.strip_prefix("checksum ").and_then(|rest| rest.strip_suffix('\n'));
        let sum = sum.ok_or("has no checksum")?;
        if sum != checksum(body) {
            return Err("has a wrong checksum");
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err("begins with an unknown line");
        }
        let entries: Option<Vec<GenerationEntry>> = lines.map(parse_entry).collect();
        let generations = entries.ok_or("has a line that can't be read")?;
        let rises = |pair: &[GenerationEntry]| {
            pair[0].number < pair[1].number && pair[0].first_id < pair[1].first_id
        };
        if generations.is_empty() || !generations.windows(2).all(rises) {
            return Err("lists no generations, or not in order");
        }
        Ok(Self { generations })
    }

    fn text(&self) -> String {
        let mut body = format!("{FIRST_LINE}\n");
        for GenerationEntry { number, folder, first_id, commit, copied } in &self.generations {
            body += &format!(
                "generation {number} folder {folder} first-id {first_id} commit {commit} \
                 copied {copied}\n"
            );
        }
        let sum = checksum(&body);
        format!("{body}checksum {sum}\n")
    }

    /// Replaces the file in folder `path`, durably, in steps that are taken by `take`.
    pub(super) fn write(
        &self,
        path: &Path,
        take: impl FnMut(&'static str, &mut dyn FnMut() -> io::Result<()>) -> Result<(), MailboxError>,
    ) -> Result<(), MailboxError> {
        replace_file(path, "manifest", self.text().as_bytes(), take)
    }
}

fn parse_entry(line: &str) -> Option<GenerationEntry> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[
        "generation",
        number,
        "folder",
        folder,
        "first-id",
        first_id,
        "commit",
        commit,
        "copied",
        copied,
    ] = words.as_slice()
    else {
        return None;
    };
    Some(GenerationEntry {
        number: number.parse().ok()?,
        folder: folder.to_owned(),
        first_id: first_id.parse().ok()?,
        commit: commit.parse().ok()?,
        copied: copied.parse().ok()?,
    })
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let entry = |number, first_id| GenerationEntry {
            number,
            folder: folder_name(number),
            first_id,
            commit: 10 * number,
            copied: 5,
        };
        Manifest { generations: vec![entry(2, 7), entry(5, 300)] }
    }

    #[test]
    fn a_manifest_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let take = |_, step: &mut dyn FnMut() -> io::Result<()>| {
            step().map_err(|source| io_error("writing", Path::new("test"), source))
        };
        sample().write(folder.path(), take).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), sample());
        assert_eq!(sample().active().number, 5);
    }

    #[test]
    fn a_changed_or_cut_manifest_is_refused() {
        let text = sample().text();
        for at in 0..text.len() {
            assert!(Manifest::parse(&text[..at]).is_err(), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let flipped = String::from_utf8(bytes).unwrap();
            assert!(Manifest::parse(&flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn only_names_that_are_written_are_folders_of_generations() {
        assert_eq!(number_of_folder("gen-12"), Some(12));
        for name in ["gen-", "gen-012", "gen-1x", "gen-+1", "sled", "quarantine"] {
            assert_eq!(number_of_folder(name), None, "{name}");
        }
    }

    #[test]
    fn the_end_of_a_generation_is_known_while_the_next_one_is_there() {
        let mut manifest = Manifest::first("gen-1".to_owned());
        for (number, commit) in [(2, 50), (3, 50), (5, 90), (6, 99)] {
            let entry = manifest.active().clone();
            let folder = folder_name(number);
            let first_id = entry.first_id + 1;
            manifest.generations.push(GenerationEntry {
                number,
                folder,
                first_id,
                commit,
                ..entry
            });
        }
        let ends = |manifest: &Manifest| {
            manifest.sealed().map(|(entry, commit)| (entry.number, commit)).collect::<Vec<_>>()
        };
        assert_eq!(ends(&manifest), [(1, 50), (2, 0), (3, 0), (5, 99)]);
        manifest.generations[0].folder = "sled".to_owned();
        assert_eq!(ends(&manifest)[0], (1, 0));
    }
}
