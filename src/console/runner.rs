//! Carries effects out in tasks; each comes back as an action.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::action::Action;
use super::effect::{Effect, SavedDraft};
use super::link;
use super::model::MessageRef;
use super::text::drafts::{DraftId, Drafts};
use crate::admin::client::AdminClient;
use crate::admin::dto::{MAX_PAYLOAD_BYTES, Timestamp};

/// Requests under way at once: more would only wait inside the broker.
const MAX_REQUESTS: usize = 8;

/// Does what `update` asks for, except what concerns the terminal.
#[derive(Debug)]
pub(super) struct Runner {
    client: AdminClient,
    drafts: Drafts,
    store: String,
    actions: mpsc::Sender<Action>,
    reconnect: Arc<Notify>,
    room: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// One line of writes for the drafts, so that they happen in the order in which they were asked for.
    disk: Arc<Mutex<Disk>>,
    watching: JoinHandle<()>,
}

/// What is to be written; a newer version of a draft takes an older one's place.
#[derive(Debug, Default)]
struct Disk {
    waiting: BTreeMap<MessageRef, Job>,
    busy: bool,
}

#[derive(Debug)]
enum Job {
    Save(u64, SavedDraft),
    Delete,
}

impl Runner {
    /// Connects at once, and for as long as it lives.
    pub(super) fn start(
        client: AdminClient,
        drafts: Drafts,
        actions: mpsc::Sender<Action>,
    ) -> Self {
        let reconnect = Arc::new(Notify::new());
        let watching =
            tokio::spawn(link::watch(client.clone(), actions.clone(), reconnect.clone()));
        Self {
            store: client.endpoint().to_string(),
            client,
            drafts,
            actions,
            reconnect,
            room: Arc::new(Semaphore::new(MAX_REQUESTS)),
            tasks: JoinSet::new(),
            disk: Arc::default(),
            watching,
        }
    }

    /// Does one effect, or begins to. Effects on the terminal are the caller's.
    pub(super) fn run(&mut self, effect: Effect) {
        // Tasks that have ended are let go of; one that panicked said so in the log.
        while self.tasks.try_join_next().is_some() {}
        match effect {
            Effect::Ask(id, request) => {
                let (client, room) = (self.client.clone(), self.room.clone());
                let actions = self.actions.clone();
                self.tasks.spawn(async move {
                    let _permit = room.acquire().await;
                    let reply = link::ask(&client, request).await;
                    // Nobody takes it when the console has ended.
                    let _ = actions.send(Action::Reply { request: id, reply }).await;
                });
            }
            Effect::Reconnect => self.reconnect.notify_one(),
            Effect::LoadDraft(message) => {
                let (drafts, store) = (self.drafts.clone(), self.store.clone());
                self.blocking(move || {
                    let draft = drafts.newest(&store, &message.queue, message.seq);
                    let draft = draft.map_err(|error| error.to_string()).map(|draft| {
                        draft.map(|draft| SavedDraft {
                            base: draft.entry.id.revision,
                            bytes: Bytes::from(draft.bytes),
                        })
                    });
                    Action::DraftLoaded { message, draft }
                });
            }
            Effect::SaveDraft { message, version, draft } => {
                self.queue_write(message, Job::Save(version, draft));
            }
            Effect::DeleteDraft(message) => self.queue_write(message, Job::Delete),
            Effect::WriteFile(path, bytes) => {
                self.blocking(move || Action::FileWritten { result: write_file(&path, &bytes) });
            }
            Effect::ReadFile(message, path) => {
                self.blocking(move || Action::FileRead { message, result: read_file(&path) });
            }
            Effect::Copy(_) | Effect::Redraw | Effect::Suspend | Effect::Quit => {}
        }
    }

    fn blocking(&mut self, work: impl FnOnce() -> Action + Send + 'static) {
        let actions = self.actions.clone();
        self.tasks.spawn(async move {
            let action = match tokio::task::spawn_blocking(work).await {
                Ok(action) => action,
                Err(error) => Action::Trouble(format!("a task of the console failed: {error}")),
            };
            let _ = actions.send(action).await;
        });
    }

    fn queue_write(&mut self, message: MessageRef, job: Job) {
        let disk = self.disk.clone();
        {
            let mut line = disk.lock().unwrap_or_else(PoisonError::into_inner);
            line.waiting.insert(message, job);
            if std::mem::replace(&mut line.busy, true) {
                return;
            }
        }
        let (drafts, store) = (self.drafts.clone(), self.store.clone());
        let actions = self.actions.clone();
        self.tasks.spawn(async move {
            while let Some((message, job)) = next_job(&disk) {
                let (drafts, store) = (drafts.clone(), store.clone());
                let done =
                    tokio::task::spawn_blocking(move || write(&drafts, &store, message, &job));
                let action = match done.await {
                    Ok(action) => action,
                    Err(error) => Some(Action::Trouble(format!("a draft's task failed: {error}"))),
                };
                if let Some(action) = action {
                    let _ = actions.send(action).await;
                }
            }
        });
    }

    /// Stops everything, but writes what drafts still wait. Blocks for these writes only.
    pub(super) fn stop(mut self) {
        self.watching.abort();
        self.tasks.abort_all();
        while let Some((message, job)) = next_job(&self.disk) {
            // There is no screen any more to tell of an error.
            let _ = write(&self.drafts, &self.store, message, &job);
        }
    }
}

fn next_job(disk: &Mutex<Disk>) -> Option<(MessageRef, Job)> {
    let mut line = disk.lock().unwrap_or_else(PoisonError::into_inner);
    let job = line.waiting.pop_first();
    line.busy = job.is_some();
    job
}

fn write(drafts: &Drafts, store: &str, message: MessageRef, job: &Job) -> Option<Action> {
    match job {
        Job::Save(version, draft) => {
            let id = DraftId {
                store: store.to_owned(),
                queue: message.queue.clone(),
                seq: message.seq,
                revision: draft.base,
            };
            let result = drafts.save(&id, &draft.bytes, wall_clock());
            let result = result.map_err(|error| error.to_string());
            Some(Action::DraftSaved { message, version: *version, result })
        }
        Job::Delete => match drafts.delete_all(store, &message.queue, message.seq) {
            Ok(_) => None,
            Err(error) => Some(Action::Trouble(error.to_string())),
        },
    }
}

/// Only dates drafts, so that old ones can be cleared away.
pub(super) fn wall_clock() -> Timestamp {
    let now = jiff::Timestamp::now().as_millisecond();
    Timestamp(u64::try_from(now).unwrap_or(0))
}

/// Writes a new file that only its owner reads: a payload may hold anything.
fn write_file(path: &Path, bytes: &[u8]) -> Result<String, String> {
    let path = expand_home(path);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(format!("{} bytes written to {}", bytes.len(), path.display()))
}

fn read_file(path: &Path) -> Result<Bytes, String> {
    let path = expand_home(path);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(&path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is no plain file", path.display()));
    }
    let mut bytes = Vec::new();
    let limit = MAX_PAYLOAD_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(format!("{} is longer than {MAX_PAYLOAD_BYTES} bytes", path.display()));
    }
    Ok(Bytes::from(bytes))
}

/// `~/x` as a shell has it.
fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        (_, _) => path.to_owned(),
    }
}
