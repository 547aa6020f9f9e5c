//! Carries effects out in tasks; each comes back as an action.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::action::Action;
use super::effect::{Effect, RequestId, SavedDraft};
use super::link;
use super::many::{self, Job as ManyJob};
use super::model::MessageRef;
use super::text::diff::{self, DIFF_CONTEXT};
use super::text::drafts::{DraftError, DraftId, Drafts};
use crate::admin::client::AdminClient;
use crate::admin::dto::{MAX_PAYLOAD_BYTES, QueueName, SchemaText, Timestamp};
use crate::schema::Checks;

/// Requests under way at once: more would only wait inside the broker.
const MAX_REQUESTS: usize = 8;

/// Does what `update` asks for, except what concerns the terminal.
#[derive(Debug)]
pub(super) struct Runner {
    client: AdminClient,
    own_program: PathBuf,
    actions: mpsc::Sender<Action>,
    reconnect: Arc<Notify>,
    room: Arc<Semaphore>,
    tasks: JoinSet<()>,
    disk: Arc<Disk>,
    watching: JoinHandle<()>,
    /// Stops the change of many that is under way.
    many: watch::Sender<bool>,
    /// The schema that was asked last.
    schema: Option<(SchemaText, QueueName, Arc<Checks>)>,
}

/// The drafts on disk, and the one line of what is to be done with them, in the order of asking.
#[derive(Debug)]
struct Disk {
    drafts: Drafts,
    store: String,
    line: Mutex<Line>,
    /// Held from the taking of a job to its end.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<MessageRef, Jobs>,
    /// A task takes what waits.
    busy: bool,
}

/// What is to be done with a message's draft: a newer write takes an older one's place; it is read after, and copied.
#[derive(Debug, Default)]
struct Jobs {
    write: Option<Job>,
    read: bool,
    copies: Vec<PathBuf>,
}

#[derive(Debug)]
enum Job {
    Save(u64, SavedDraft),
    Delete,
    ThrowAway,
}

impl Runner {
    /// Connects at once, or if the broker is only being started, when `Effect::Reconnect` says so; and for as long as
    /// it lives.
    pub(super) fn start(
        client: AdminClient,
        own_program: PathBuf,
        drafts: Drafts,
        actions: mpsc::Sender<Action>,
        waits: bool,
    ) -> Self {
        let reconnect = Arc::new(Notify::new());
        let watching =
            tokio::spawn(link::watch(client.clone(), actions.clone(), reconnect.clone(), waits));
        Self {
            disk: Arc::new(Disk {
                store: client.endpoint().to_string(),
                drafts,
                line: Mutex::default(),
                turn: Mutex::default(),
            }),
            client,
            own_program,
            actions,
            reconnect,
            room: Arc::new(Semaphore::new(MAX_REQUESTS)),
            tasks: JoinSet::new(),
            watching,
            many: watch::Sender::new(false),
            schema: None,
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
            Effect::LoadDraft(message) => self.queue(message, |jobs| jobs.read = true),
            Effect::SaveDraft { message, version, draft } => {
                self.queue(message, |jobs| jobs.write = Some(Job::Save(version, draft)));
            }
            Effect::DeleteDraft(message) => {
                self.queue(message, |jobs| jobs.write = Some(Job::Delete));
            }
            Effect::ThrowDraftAway(message) => {
                self.queue(message, |jobs| jobs.write = Some(Job::ThrowAway));
            }
            Effect::CopyDraft(message, path) => self.queue(message, |jobs| jobs.copies.push(path)),
            Effect::Compare { request, old, new } => self.blocking(move || Action::Compared {
                request,
                lines: Ok(diff::unified(&old, &new, DIFF_CONTEXT)),
            }),
            Effect::CheckSchema { request, queue, schema, payload } => {
                self.check_schema(request, &queue, schema, payload);
            }
            Effect::WriteFile(path, bytes) => {
                self.blocking(move || Action::FileWritten { result: write_file(&path, &bytes) });
            }
            Effect::ReadFile(message, path) => {
                self.blocking(move || Action::FileRead { message, result: read_file(&path) });
            }
            Effect::Many(job) => self.many(*job),
            Effect::EditOutside(..)
            | Effect::Copy(_)
            | Effect::Redraw
            | Effect::Suspend
            | Effect::Quit => {}
        }
    }

    /// The schema stays compiled until another one is asked.
    fn check_schema(
        &mut self,
        request: RequestId,
        queue: &QueueName,
        schema: SchemaText,
        payload: Bytes,
    ) {
        let known = self.schema.take().filter(|(text, of, _)| *text == schema && of == queue);
        let (_, of, checks) = self.schema.insert(known.unwrap_or_else(|| {
            let checks = Arc::new(Checks::of_one(queue, &schema));
            (schema, queue.clone(), checks)
        }));
        let (of, checks, actions) = (of.clone(), checks.clone(), self.actions.clone());
        self.tasks.spawn(async move {
            let missed = checks.miss(&of, &payload).await;
            let result = missed.map_err(|rejection| rejection.reason);
            let _ = actions.send(Action::SchemaChecked { request, result }).await;
        });
    }

    fn many(&mut self, job: ManyJob) {
        if let ManyJob::Stop(_) = job {
            self.many.send_replace(true);
            return;
        }
        // Each job has its own; one that goes on from before is told by its run's number.
        self.many = watch::Sender::new(false);
        let (stop, client, actions) =
            (self.many.subscribe(), self.client.clone(), self.actions.clone());
        let own_program = self.own_program.clone();
        self.tasks.spawn(many::task::run(client, own_program, job, stop, actions));
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

    fn queue(&mut self, message: MessageRef, change: impl FnOnce(&mut Jobs)) {
        {
            let mut line = self.disk.line.lock().unwrap_or_else(PoisonError::into_inner);
            change(line.waiting.entry(message).or_default());
            if std::mem::replace(&mut line.busy, true) {
                return;
            }
        }
        let disk = self.disk.clone();
        let actions = self.actions.clone();
        self.tasks.spawn(async move {
            loop {
                let disk = disk.clone();
                let done = tokio::task::spawn_blocking(move || disk.next()).await;
                let told = match done {
                    Ok(Some(told)) => told,
                    Ok(None) => return,
                    Err(error) => vec![Action::Trouble(format!("a draft's task failed: {error}"))],
                };
                for action in told {
                    let _ = actions.send(action).await;
                }
            }
        });
    }

    /// Stops everything, but does what drafts still wait for. Blocks for these writes only.
    pub(super) fn stop(mut self) {
        self.watching.abort();
        self.tasks.abort_all();
        // There is no screen any more to tell of an error.
        while self.disk.next().is_some() {}
    }
}

impl Disk {
    /// Does what waits for one message; `None` if nothing does. What is taken first is done first, even if
    /// two threads come here: an older version never takes a newer one's place, nor a deleted one's.
    fn next(&self) -> Option<Vec<Action>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (message, jobs) = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            let next = line.waiting.pop_first();
            line.busy = next.is_some();
            next?
        };
        let written = jobs.write.map(|job| self.write(&message, &job));
        let read = if jobs.read { self.read(&message) } else { Vec::new() };
        let copied = jobs
            .copies
            .iter()
            .map(|path| Action::FileWritten { result: self.copy(&message, path) });
        Some(written.into_iter().chain(read).chain(copied).collect())
    }

    fn write(&self, message: &MessageRef, job: &Job) -> Action {
        let MessageRef { queue, seq } = message;
        match job {
            Job::Save(version, draft) => {
                let id = DraftId {
                    store: self.store.clone(),
                    queue: message.queue.clone(),
                    seq: message.seq,
                    revision: draft.base,
                };
                let result = self.drafts.save(&id, &draft.bytes, wall_clock());
                let result = result.map_err(|error| error.to_string());
                Action::DraftSaved { message: message.clone(), version: *version, result }
            }
            Job::Delete => {
                self.removed(message, self.drafts.delete_own(&self.store, queue, *seq), false)
            }
            Job::ThrowAway => {
                self.removed(message, self.drafts.throw_away(&self.store, queue, *seq), true)
            }
        }
    }

    fn removed(
        &self,
        message: &MessageRef,
        removed: Result<usize, DraftError>,
        by_hand: bool,
    ) -> Action {
        let left = removed
            .and_then(|_| self.drafts.is_kept(&self.store, &message.queue, message.seq))
            .map_err(|error| error.to_string());
        Action::DraftRemoved { message: message.clone(), left, by_hand }
    }

    fn copy(&self, message: &MessageRef, path: &Path) -> Result<String, String> {
        let draft = self.drafts.newest(&self.store, &message.queue, message.seq);
        match draft.map_err(|error| error.to_string())? {
            Some(draft) => write_file(path, &draft.bytes),
            None => Err(format!("there is no draft of {message} any more")),
        }
    }

    fn read(&self, message: &MessageRef) -> Vec<Action> {
        let MessageRef { queue, seq } = message;
        let draft = self.drafts.newest(&self.store, queue, *seq);
        let draft = draft.map_err(|error| error.to_string()).map(|draft| {
            draft.map(|draft| SavedDraft {
                base: draft.entry.id.revision,
                bytes: Bytes::from(draft.bytes),
            })
        });
        let loaded = Action::DraftLoaded { message: message.clone(), draft };
        // What can't be listed was told with the draft.
        let is_elsewhere = self.drafts.is_elsewhere(&self.store, queue, *seq).unwrap_or(false);
        let elsewhere = is_elsewhere.then(|| Action::DraftElsewhere { message: message.clone() });
        [loaded].into_iter().chain(elsewhere).collect()
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

#[cfg(test)]
mod tests;
