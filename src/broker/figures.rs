//! What monitoring asks for.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::sync::oneshot;

use super::event_loop::Command;
use super::handle::{BrokerHandle, OperatorError, QUEUES_PAGE};
use crate::mailbox::Disk;
use crate::model::{DiskFigures, Figures, Pulse, QueueFigures, QueueId};

/// Bytes of a block in which a file's place on the disk is counted, on every file system (stat(2)).
const BLOCK_BYTES: u64 = 512;
/// Folders within folders of a store: parts, and what a salvage has put aside.
const MAX_DEPTH: u32 = 8;

impl BrokerHandle {
    /// Whether the loop turns. Answered without waiting for any commit; but while a full batch waits for the disk the loop
    /// hears nobody, for as long as the disk takes.
    pub async fn pulse(&self) -> Result<Pulse, OperatorError> {
        let (answer, pulse) = oneshot::channel();
        self.send(Command::Pulse(answer)).await?;
        pulse.await.map_err(|_| OperatorError::Stopped)
    }

    /// The broker in numbers, without its queues.
    pub async fn figures(&self) -> Result<Figures, OperatorError> {
        let store = self.reads.meter().view();
        self.ask(move |view| Figures {
            overview: view.overview(),
            totals: view.engine.totals(),
            delivered: view.engine.delivered(),
            workers: view.engine.worker_states(),
            doors: view.facts.doors.views(),
            store,
        })
        .await
    }

    /// Queues in numbers, page by page as [`BrokerHandle::queues`].
    pub async fn queue_figures(
        &self,
        after: QueueId,
    ) -> Result<(Vec<QueueFigures>, QueueId), OperatorError> {
        self.ask(move |view| view.engine.queue_figures(after, QUEUES_PAGE)).await
    }

    /// The store's disk; `None` if the store has none, or it can't be looked at.
    pub async fn disk_figures(&self) -> Result<Option<DiskFigures>, OperatorError> {
        let Some(folder) = self.ask(|view| view.facts.store_dir.clone()).await? else {
            return Ok(None);
        };
        // Hundreds of files at most, but a disk may take its time.
        let look = tokio::task::spawn_blocking(move || -> io::Result<DiskFigures> {
            let Disk { free, total } = Disk::of(&folder)?;
            let store_bytes = taken(&folder, MAX_DEPTH)?;
            Ok(DiskFigures { store_bytes, free_bytes: free, total_bytes: total })
        });
        match look.await {
            Ok(Ok(figures)) => Ok(Some(figures)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store's folder can't be looked at");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }
}

/// What a folder takes of its disk. Files that go meanwhile don't count.
fn taken(folder: &Path, depth: u32) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let added = match entry.metadata() {
            Ok(found) if found.is_dir() && depth > 0 => taken(&entry.path(), depth - 1),
            Ok(found) if found.is_file() => Ok(found.blocks().saturating_mul(BLOCK_BYTES)),
            Ok(_) => Ok(0),
            Err(error) => Err(error),
        };
        match added {
            Ok(added) => bytes = bytes.saturating_add(added),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_what_its_files_take_however_deep() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("parts/1");
        fs::create_dir_all(&within).unwrap();
        let before = taken(folder.path(), MAX_DEPTH).unwrap();
        fs::write(within.join("db"), vec![7; 100_000]).unwrap();
        let after = taken(folder.path(), MAX_DEPTH).unwrap();
        // A file system may count what it compresses, or is still to write, later.
        assert!((before..before + 1_000_000).contains(&after), "{before} {after}");
    }
}
