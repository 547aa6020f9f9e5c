//! What monitoring asks for.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::commands::Command;
use super::handle::{BrokerHandle, QUEUES_PAGE};
use super::operator_error::OperatorError;
use crate::mailbox::Disk;
use crate::model::{DiskFigures, Figures, Pulse, QueueFigures, QueueId};

/// Bytes of a block in which a file's place on the disk is counted, on every file system (stat(2)).
const BLOCK_BYTES: u64 = 512;
/// How long a look may take; without it the page has no figures of the disk. Prometheus waits ten seconds for all of it.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
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
            spans: view.facts.spans.as_ref().map(|it| it.totals()).unwrap_or_default(),
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
        let (folder, look) =
            self.ask(|view| (view.facts.store_dir.clone(), view.facts.disk_look.clone())).await?;
        let Some(folder) = folder else { return Ok(None) };
        Ok(look.figures(move || of(&folder)).await)
    }
}

/// Hundreds of files at most, but a disk may take its time.
fn of(folder: &Path) -> io::Result<DiskFigures> {
    let Disk { free, total } = Disk::of(folder)?;
    let store_bytes = taken(folder, MAX_DEPTH)?;
    Ok(DiskFigures { store_bytes, free_bytes: free, total_bytes: total })
}

/// Looks at the disk, on a thread of its own: one that hangs holds up neither who asks nor the process's end. All who ask
/// meanwhile share one look.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskLook {
    under_way: Arc<Mutex<Option<Looking>>>,
}

/// `None` until it has come back.
type Looking = watch::Receiver<Option<Option<DiskFigures>>>;

impl DiskLook {
    /// What `look` says, or the one that is under way; `None` if that can't look, or takes too long.
    async fn figures(
        &self,
        look: impl FnOnce() -> io::Result<DiskFigures> + Send + 'static,
    ) -> Option<DiskFigures> {
        let mut looking = match self.begin(look) {
            Ok(looking) => looking,
            Err(error) => {
                tracing::debug!(%error, "there is no thread to look at the store's folder");
                return None;
            }
        };
        let found = timeout(LOOK_LIMIT, looking.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.flatten()
    }

    fn begin(
        &self,
        look: impl FnOnce() -> io::Result<DiskFigures> + Send + 'static,
    ) -> io::Result<Looking> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is over, or whose thread is gone, is no more.
        let is_open =
            |looking: &&Looking| looking.borrow().is_none() && looking.has_changed().is_ok();
        if let Some(looking) = under_way.as_ref().filter(is_open) {
            return Ok(looking.clone());
        }
        let (told, looking) = watch::channel(None);
        std::thread::Builder::new().name("disk-look".to_owned()).spawn(move || {
            let found = look().inspect_err(|error| {
                tracing::debug!(%error, "the store's folder can't be looked at");
            });
            told.send_replace(Some(found.ok()));
        })?;
        Ok(under_way.insert(looking).clone())
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

    const FIGURES: DiskFigures = DiskFigures { store_bytes: 1, free_bytes: 2, total_bytes: 3 };

    #[tokio::test]
    async fn a_disk_that_hangs_is_looked_at_once_and_not_waited_for() {
        let disk = DiskLook::default();
        let (comes_back, hangs) = std::sync::mpsc::sync_channel::<()>(1);
        let first = move || {
            let _ = hangs.recv();
            Ok(FIGURES)
        };
        assert_eq!(disk.figures(first).await, None, "it takes too long");
        let mut more = disk.begin(|| panic!("there is one under way")).expect("no thread is made");
        comes_back.send(()).expect("it waits");
        more.wait_for(Option::is_some).await.expect("it comes back");
        assert_eq!(disk.figures(|| Ok(FIGURES)).await, Some(FIGURES), "a new look");
        assert_eq!(disk.figures(|| Err(ErrorKind::NotFound.into())).await, None);
    }

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
