//! The whole broker under the recorder: what a client was told is ACCEPTED, and what an operator was told is
//! saved, is there after a power cut, as far as its queue's mailbox promises it (README, "Guarantees"). The answers stand
//! in the same record as the calls.

mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use mubroker::admin::client::AdminClient;
use mubroker::admin::dto::{QueueView, RepairRequest, RepairVerb, SettingsRequest};
use mubroker::client::{Client, Confirm, NewMessage};
use mubroker::model::{
    Accepted, IdempotencyKey, MailboxKind, MessageId, Payload, QueueName, RepairOutcome, Revision,
    WorkerInfo,
};
use mubroker::wire::Delivery;
use mubroker::worker::{self, Failure, Handler, Pace, Work, WorkerOptions};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::base::Base;
use super::check::Cut;
use super::disk::{Disk, Honest};
use super::image::Fate;
use super::trace::{Event, Trace};
use super::{assert_complete, images, new_root, number, recorder, recordings};
use crate::daemon::{Daemon, serve};

/// The queues; a worker serves the third, an operator edits in the others. The last one is moved from RAM to disk.
const QUEUES: [&str; 5] = ["a", "b", "worked", "mixed", "moving"];
/// So many messages of `mixed` wait in RAM: the first ones, since nobody takes any.
const IN_RAM: u64 = 10;
/// So few that entries are removed all the time.
const JOURNAL_ENTRIES: u64 = 16;
const CONFIG: &str = "[queues.'*']
[queues.mixed]
mailbox = 'mixed'
memory_messages = 10
[queues.moving]
mailbox = 'memory'
[store]
journal_entries = 16
";
const MESSAGES: usize = 500;
/// As many messages are under way at once.
const WINDOW: usize = 64;
/// So many messages, and one is edited.
const EDIT_EVERY: usize = 5;
/// A clean stop's bound.
const STOP_LIMIT: Duration = Duration::from_secs(20);

fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

/// The bytes of message `n`: from nothing to more than the store keeps in one piece.
fn payload(n: usize) -> Bytes {
    let mut random = Rng::with_seed(n as u64);
    let len = if n.is_multiple_of(97) { 700_000 } else { random.usize(0..4_000) };
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    Bytes::from(bytes)
}

/// What an operator makes of it.
fn edited(n: usize) -> String {
    format!("edited {n} ").repeat(n)
}

fn number_of(id: &str) -> Option<usize> {
    id.strip_prefix('m')?.parse().ok()
}

/// Remembers what it was given.
struct Seen(Arc<Mutex<BTreeSet<usize>>>);

impl Handler for Seen {
    async fn handle(&self, delivery: Delivery, _work: Work) -> Result<Bytes, Failure> {
        let n = number_of(delivery.content.id().as_str()).expect("one of ours");
        self.0.lock().expect("no test thread panics with it").insert(n);
        Ok(Bytes::new())
    }
}

/// A recorded run of the broker.
struct Run {
    root: PathBuf,
    base: Base,
    trace: Trace,
    /// Each message's queue.
    sent: Vec<&'static str>,
    /// What the broker said, by place in the trace.
    accepted: Vec<(usize, Accepted)>,
    /// Edits that were answered, by place in the trace.
    saved: Vec<(usize, RepairOutcome)>,
    /// Where in the trace it was told that queue `moving` is on disk.
    moved: usize,
    /// What the worker was given.
    worked: BTreeSet<usize>,
}

impl Run {
    fn record(root: &Path, seed: u64) -> Self {
        let base = Base::read(root);
        let file = root.with_extension("trace");
        let data = root.join("data");
        let config = root.with_extension("toml");
        std::fs::write(&config, CONFIG).expect("the configuration");
        let mut command = serve(&data);
        command.arg("--config").arg(&config);
        recorder::record(&mut command, root, &file).stderr(Stdio::null());
        let daemon = Daemon::start_with(command, &data);
        let mut random = Rng::with_seed(seed);
        let sent: Vec<_> = (0..MESSAGES).map(|_| QUEUES[random.usize(0..QUEUES.len())]).collect();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let told = runtime.block_on(load(&daemon, &sent));
        drop(runtime);
        assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));
        let trace = Trace::read(&file);
        std::fs::remove_file(&file).expect("the trace can be removed");
        let accepted: Vec<(usize, Accepted)> =
            answers(&trace, b"ACCEPTED", |a: &Accepted| a.id.clone());
        let saved = answers(&trace, br#"{"key":"edit-"#, |a: &RepairOutcome| a.id.clone());
        let views = answers(&trace, br#"{"number":"#, |view: &QueueView| {
            MessageId::new(&format!("{}-{:?}", view.name, view.settings.mailbox)).expect("an id")
        });
        let on_disk = |(_, view): &&(usize, QueueView)| {
            view.name.as_str() == "moving" && view.settings.mailbox == MailboxKind::File
        };
        let moved = views.iter().find(on_disk).expect("the operator looked").0;
        let ids: BTreeSet<_> = accepted.iter().map(|(_, accepted)| accepted.id.clone()).collect();
        assert_eq!(ids, told.accepted, "each answer that the client has read was recorded");
        let ids: BTreeSet<_> = saved.iter().map(|(_, saved)| saved.id.clone()).collect();
        assert_eq!(ids, told.saved, "each answer that the operator has read was recorded");
        let worked = told.worked;
        Self { root: root.to_owned(), base, trace, sent, accepted, saved, moved, worked }
    }
}

/// What the broker's peers were told.
#[derive(Default)]
struct Told {
    accepted: BTreeSet<MessageId>,
    saved: BTreeSet<MessageId>,
    worked: BTreeSet<usize>,
}

/// Sends everything in order, with a window, while a worker takes what comes in its queue and an operator
/// edits some of what waits.
async fn load(daemon: &Daemon, sent: &[&str]) -> Told {
    let worked = Arc::new(Mutex::new(BTreeSet::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let options = WorkerOptions {
        endpoint: daemon.workers.clone(),
        token: None,
        queues: vec![queue("worked")],
        credit: 1,
        info: WorkerInfo::default(),
        max_execution: Duration::from_secs(9),
        overrun_grace: Duration::ZERO,
        stop_grace: Duration::from_secs(9),
        pace: Pace::new(1),
    };
    let handler = Seen(Arc::clone(&worked));
    let stopped = async {
        let _ = stopped.await;
    };
    let worker = tokio::spawn(worker::run(options, handler, stopped, |_| {}));
    let client = Client::connect(&daemon.clients).await.expect("the broker listens");
    let admin = daemon.admin();
    let mut under_way = VecDeque::new();
    let mut told = Told::default();
    for (n, name) in sent.iter().enumerate() {
        if under_way.len() == WINDOW {
            next_answer(&mut under_way, &admin, &mut told).await;
        }
        let content = NewMessage::new(payload(n)).id(&format!("m{n}")).build().expect("a header");
        if n == MESSAGES / 2 {
            move_to_disk(&admin).await;
        }
        under_way.push_back(client.submit(&queue(name), content).await.expect("it is sent"));
    }
    while !under_way.is_empty() {
        next_answer(&mut under_way, &admin, &mut told).await;
    }
    let _ = stop.send(());
    worker.await.expect("the worker doesn't panic").expect("the worker stops");
    told.worked = worked.lock().expect("no test thread panics with it").clone();
    told
}

/// Moves queue `moving` with what waits in it, while more is on its way to it.
async fn move_to_disk(admin: &AdminClient) {
    let moving = queue("moving");
    admin.pause(&moving, "it moves").await.expect("it is paused");
    let set = [("mailbox".to_owned(), "file".into())].into_iter().collect();
    let request = SettingsRequest { set, reason: "a power cut may come".to_owned() };
    admin.set_queue(&moving, &request).await.expect("it is moved");
    let view = admin.queue(&moving).await.expect("it is shown");
    assert_eq!(view.settings.mailbox, MailboxKind::File);
}

async fn next_answer(under_way: &mut VecDeque<Confirm>, admin: &AdminClient, told: &mut Told) {
    let confirm = under_way.pop_front().expect("something is under way");
    let accepted = confirm.accepted().await.expect("it is accepted");
    let n = number_of(accepted.id.as_str()).expect("one of ours");
    told.accepted.insert(accepted.id);
    if accepted.queue.as_str() != "worked" && n.is_multiple_of(EDIT_EVERY) {
        let request = RepairRequest {
            key: IdempotencyKey::new(&format!("edit-{n}")).expect("a key"),
            expect_revision: Revision(0),
            action: RepairVerb::Save,
            payload: Some(Payload::Utf8(edited(n))),
            header: None,
            to: None,
            reason: "a power cut may come".to_owned(),
        };
        let saved = admin.repair(&accepted.queue, accepted.seq, &request).await;
        told.saved.insert(saved.expect("it is saved").id);
        // Entries that nothing needs.
        admin.pause(&queue("b"), "for the journal").await.expect("it is paused");
        admin.resume(&queue("b"), "").await.expect("it is resumed");
    }
}

/// The JSON of answers that begin at or after `word`, each when it was first sent, on any socket: the broker
/// has some between its parts. `of` says of what it is.
fn answers<T: DeserializeOwned>(
    trace: &Trace,
    word: &[u8],
    of: impl Fn(&T) -> MessageId,
) -> Vec<(usize, T)> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let mut streams: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for (at, event) in trace.events.iter().enumerate() {
        let Event::Sent { socket, bytes } = event else { continue };
        let text = streams.entry(socket).or_default();
        text.extend(trace.bytes(bytes));
        while let Some(start) = position(text, word) {
            let Some(brace) = position(&text[start..], b"{") else { break };
            let json = serde_json::Deserializer::from_slice(&text[start + brace..]);
            let mut json = json.into_iter::<T>();
            let Some(Ok(answer)) = json.next() else { break };
            let end = start + brace + json.byte_offset();
            text.drain(..end);
            if known.insert(of(&answer)) {
                found.push((at, answer));
            }
        }
        if position(text, word).is_none() {
            text.drain(..text.len().saturating_sub(word.len()));
        }
    }
    found
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}

#[test]
fn nothing_that_a_peer_was_told_is_durable_is_lost_by_a_power_cut() {
    let seed = number("MUBROKER_SEED", fastrand::u64(..));
    let count = number("MUBROKER_CUTS", 1_000) as usize / 5;
    let mut random = Rng::with_seed(seed);
    let ((_held, folder), shm) = (recordings(), images());
    let run = Run::record(&new_root(&folder, "0"), random.u64(..));
    assert_complete(&run.root, &run.trace, &run.base, shm.path());
    let accepted = run.accepted.iter().map(|(at, _)| *at);
    let answered: Vec<usize> = accepted.chain(run.saved.iter().map(|(at, _)| *at)).collect();
    let mut cuts: Vec<Cut> = (0..count)
        .map(|_| {
            let anywhere = random.usize(0..=run.trace.events.len());
            let answer = answered[random.usize(0..answered.len())] + 1;
            let at = if random.bool() { anywhere } else { answer };
            Cut { at, fate: Fate::any(&mut random), seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.at);
    let losses = |cuts: &[Cut], honest| {
        let mut disk = Disk::new(&run.root, &run.trace, &run.base, honest);
        let image = shm.path().join("image");
        let mut losses = Vec::new();
        for cut in cuts {
            disk.replay_to(cut.at);
            disk.image(&image, cut.fate, &mut Rng::with_seed(cut.seed));
            if let Err(what) = run.check(cut.at, &image) {
                losses.push(format!("{cut:?}: {what}"));
            }
            std::fs::remove_dir_all(&image).expect("the image can be removed");
        }
        losses
    };
    let lost = losses(&cuts, Honest::All);
    assert!(lost.is_empty(), "{} of {count} cuts (seed {seed}): {:?}", lost.len(), lost.first());
    // The check can fail.
    let some = &cuts[cuts.len() / 2..][..cuts.len().min(40) / 2];
    assert!(!losses(some, Honest::NoDataSync).is_empty(), "a missing fdatasync is not found");
}
