//! sled's snapshot: up to where its log needs no replay, and where each page is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::files;
use super::message::{take, varint};

/// A snapshot whose checksum is right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::mailbox::sled) struct Snapshot {
    /// sled replays from here on.
    pub(in crate::mailbox::sled) stable_lsn: u64,
    /// By page.
    pub(in crate::mailbox::sled) pages: Vec<PageParts>,
}

/// Where a page's messages are: the lsn and the offset in the file of each, the base first. Empty: free.
type PageParts = Vec<(u64, u64)>;

/// One message of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) struct Part {
    pub(in crate::mailbox::sled) page: u64,
    pub(in crate::mailbox::sled) lsn: u64,
    /// In the file.
    pub(in crate::mailbox::sled) offset: u64,
}

/// What is there of a snapshot.
#[derive(Debug)]
pub(in crate::mailbox::sled) enum Found {
    /// None: sled replays its whole log.
    None,
    Sound(Snapshot),
    /// sled refuses to open with it; without it, it replays its whole log.
    Damaged(PathBuf),
}

impl Snapshot {
    /// Reads the one that sled will take: the last by name of those that are finished. Others are removed
    /// before sled opens.
    pub(in crate::mailbox::sled) fn find(folder: &Path) -> io::Result<Found> {
        let mut newest: Option<PathBuf> = None;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(files::SNAPSHOT) && !name.ends_with(files::UNFINISHED) {
                newest = newest.max(Some(path));
            }
        }
        let Some(path) = newest else { return Ok(Found::None) };
        let bytes = fs::read(&path)?;
        Ok(Self::decode(&bytes).map_or(Found::Damaged(path), Found::Sound))
    }

    /// The parts of pages that were not written anew since, with their page; `anew` says by page where in the log it was.
    pub(in crate::mailbox::sled) fn needed_parts(
        &self,
        anew: &BTreeMap<u64, u64>,
    ) -> impl Iterator<Item = Part> {
        (0..).zip(&self.pages).flat_map(|(page, parts)| {
            let anew = anew.get(&page).copied().unwrap_or(0);
            let parts = parts.iter().filter(move |(lsn, _)| *lsn >= anew);
            parts.map(move |&(lsn, offset)| Part { page, lsn, offset })
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, tail) = bytes.split_at_checked(bytes.len().checked_sub(12)?)?;
        let sum = u32::from_le_bytes(tail[8..].try_into().ok()?);
        if body.is_empty() || crc32fast::hash(body) != sum {
            return None;
        }
        let mut rest = body;
        let stable = i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
        // One more than it is; 0: none.
        let stable_lsn = u64::try_from(stable - 1).unwrap_or(0);
        let _active_segment = varint(&mut rest)?;
        let mut pages = Vec::new();
        while !rest.is_empty() {
            pages.push(page(&mut rest)?);
        }
        Some(Self { stable_lsn, pages })
    }
}

fn page(rest: &mut &[u8]) -> Option<PageParts> {
    let parts = take(rest, 1)?[0];
    if parts == 0 {
        lsn_and_offset(rest)?;
        return Some(PageParts::new());
    }
    (0..parts)
        .map(|_| {
            let part = lsn_and_offset(rest)?;
            varint(rest)?;
            Some(part)
        })
        .collect()
}

fn lsn_and_offset(rest: &mut &[u8]) -> Option<(u64, u64)> {
    let lsn = i64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
    let is_blob = take(rest, 1)?[0] == 1;
    let offset = varint(rest)?;
    if is_blob {
        take(rest, 8)?;
    }
    Some((u64::try_from(lsn).ok()?, offset))
}
