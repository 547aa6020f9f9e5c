//! The whole broker under the recorder: what a client was told is ACCEPTED is there after a power cut. The
//! answers stand in the same record as the calls, just before they go into the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use mubroker::client::{Client, NewMessage};
use mubroker::mailbox::{Mailbox, SledMailbox, SledOptions};
use mubroker::model::{Accepted, QueueName, Seq, WorkerInfo};
use mubroker::wire::Delivery;
use mubroker::worker::{self, Failure, Handler, Pace, WorkerOptions};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::check::{Cut, blobs};
use super::disk::{Base, Disk, Fate, Honest};
use super::trace::{Event, Trace};
use super::{assert_complete, images, new_root, number, recorder, recordings};
use crate::daemon::{Daemon, serve};

/// The queues; a worker serves the last.
const QUEUES: [&str; 3] = ["a", "b", "worked"];
const MESSAGES: usize = 500;
/// As many messages are under way at once.
const WINDOW: usize = 64;
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

fn number_of(id: &str) -> Option<usize> {
    id.strip_prefix('m')?.parse().ok()
}

/// Remembers what it was given.
struct Seen(Arc<Mutex<BTreeSet<usize>>>);

impl Handler for Seen {
    async fn handle(&self, delivery: Delivery, _limit: Duration) -> Result<Bytes, Failure> {
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
    /// What the worker was given.
    worked: BTreeSet<usize>,
}

impl Run {
    fn record(root: &Path, seed: u64) -> Self {
        let base = Base::read(root);
        let file = root.with_extension("trace");
        let data = root.join("data");
        let mut command = serve(&data);
        recorder::record(&mut command, root, &file).stderr(Stdio::null());
        let daemon = Daemon::start_with(command, &data);
        let mut random = Rng::with_seed(seed);
        let sent: Vec<_> = (0..MESSAGES).map(|_| QUEUES[random.usize(0..QUEUES.len())]).collect();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (worked, told) = runtime.block_on(load(&daemon, &sent));
        drop(runtime);
        assert_eq!(daemon.end(Signal::SIGTERM, STOP_LIMIT).code(), Some(0));
        let trace = Trace::read(&file);
        std::fs::remove_file(&file).expect("the trace can be removed");
        let accepted = answers(&trace);
        let seen: BTreeSet<_> = accepted.iter().map(|(_, a)| a.id.as_str().to_owned()).collect();
        assert_eq!(seen, told, "each answer that the client has read was recorded");
        Self { root: root.to_owned(), base, trace, sent, accepted, worked }
    }

    /// Is the store in `image` as it must be after a cut before event `at`?
    fn check(&self, at: usize, image: &Path) -> Result<(), String> {
        let store = SledMailbox::open(&image.join("data/store"), SledOptions::default());
        let store = store.map_err(|error| format!("it does not open: {error}"))?;
        if !blobs(image).is_empty() {
            return Err("a value became a blob file, which is not synced".to_owned());
        }
        let recovered = store.recover().map_err(|error| error.to_string())?;
        let mut held = BTreeMap::new();
        let mut next = BTreeMap::new();
        for backlog in &recovered.queues {
            let name = backlog.record.name.clone();
            next.insert(name.clone(), backlog.next_seq);
            let (mut before, id) = (None, backlog.record.id);
            let messages = store.read(id, Seq(0), usize::MAX, usize::MAX);
            for message in messages.map_err(|error| error.to_string())? {
                let n = number_of(message.content.id().as_str()).ok_or("an invented id")?;
                if self.sent.get(n).is_none_or(|queue| *queue != name.as_str()) {
                    return Err(format!("message {n} was never sent to {name}"));
                }
                if before.replace(n).is_some_and(|before| before >= n) {
                    return Err(format!("message {n} is not in the order of sending"));
                }
                if message.content.payload != payload(n) {
                    return Err(format!("message {n} has other bytes"));
                }
                held.insert((name.clone(), message.seq), n);
            }
        }
        for (_, accepted) in self.accepted.iter().take_while(|(place, _)| *place < at) {
            let n = number_of(accepted.id.as_str()).expect("one of ours");
            let (name, seq) = (&accepted.queue, accepted.seq);
            let is_done = name.as_str() == "worked"
                && self.worked.contains(&n)
                && next.get(name).is_some_and(|next| seq < *next);
            match held.get(&(name.clone(), seq)) {
                Some(found) if *found == n => {}
                Some(found) => return Err(format!("{found} is where {n} was accepted: {seq}")),
                None if is_done => {}
                None => return Err(format!("message {n}, accepted in {name} at {seq}, is lost")),
            }
        }
        Ok(())
    }
}

/// Sends everything in order, with a window, while a worker takes what comes in its queue. Returns what it
/// was given, and the ids that were accepted.
async fn load(daemon: &Daemon, sent: &[&str]) -> (BTreeSet<usize>, BTreeSet<String>) {
    let worked = Arc::new(Mutex::new(BTreeSet::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let options = WorkerOptions {
        endpoint: daemon.workers.clone(),
        queues: vec![queue("worked")],
        credit: 1,
        info: WorkerInfo::default(),
        max_execution: Duration::from_secs(9),
        stop_grace: Duration::from_secs(9),
        pace: Pace::new(1),
    };
    let handler = Seen(Arc::clone(&worked));
    let worker = tokio::spawn(worker::run(
        options,
        handler,
        async {
            let _ = stopped.await;
        },
        |_| {},
    ));
    let client = Client::connect(&daemon.clients).await.expect("the broker listens");
    let mut under_way = std::collections::VecDeque::new();
    let mut told = BTreeSet::new();
    for (n, name) in sent.iter().enumerate() {
        if under_way.len() == WINDOW {
            told.insert(next_answer(&mut under_way).await);
        }
        let content = NewMessage::new(payload(n)).id(&format!("m{n}")).build().expect("a header");
        under_way.push_back(client.submit(&queue(name), content).await.expect("it is sent"));
    }
    while !under_way.is_empty() {
        told.insert(next_answer(&mut under_way).await);
    }
    let _ = stop.send(());
    worker.await.expect("the worker doesn't panic").expect("the worker stops");
    let worked = worked.lock().expect("no test thread panics with it").clone();
    (worked, told)
}

async fn next_answer(
    under_way: &mut std::collections::VecDeque<mubroker::client::Confirm>,
) -> String {
    let confirm = under_way.pop_front().expect("something is under way");
    confirm.accepted().await.expect("it is accepted").id.as_str().to_owned()
}

/// The first time that each message's answer was sent, on any socket: the broker has some between its parts.
fn answers(trace: &Trace) -> Vec<(usize, Accepted)> {
    const VERB: &[u8] = b"ACCEPTED";
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let mut streams: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for (at, event) in trace.events.iter().enumerate() {
        let Event::Sent { socket, bytes } = event else { continue };
        let text = streams.entry(socket).or_default();
        text.extend(trace.bytes(bytes));
        while let Some(start) = position(text, VERB) {
            let Some(brace) = position(&text[start..], b"{") else { break };
            let json = serde_json::Deserializer::from_slice(&text[start + brace..]);
            let mut json = json.into_iter::<Accepted>();
            let Some(Ok(accepted)) = json.next() else { break };
            let end = start + brace + json.byte_offset();
            text.drain(..end);
            if known.insert(accepted.id.clone()) {
                found.push((at, accepted));
            }
        }
        if position(text, VERB).is_none() {
            text.drain(..text.len().saturating_sub(VERB.len()));
        }
    }
    found
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}

#[test]
fn nothing_that_a_client_was_told_is_accepted_is_lost_by_a_power_cut() {
    let seed = number("MUBROKER_SEED", fastrand::u64(..));
    let count = number("MUBROKER_CUTS", 1_000) as usize / 5;
    let mut random = Rng::with_seed(seed);
    let ((_held, folder), shm) = (recordings(), images());
    let run = Run::record(&new_root(&folder, "0"), random.u64(..));
    assert_complete(&run.root, &run.trace, &run.base, shm.path());
    let mut cuts: Vec<Cut> = (0..count)
        .map(|_| {
            let anywhere = random.usize(0..=run.trace.events.len());
            let answer = run.accepted[random.usize(0..run.accepted.len())].0 + 1;
            let at = if random.bool() { anywhere } else { answer };
            Cut { at, fate: Fate::any(&mut random), seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.at);
    let mut disk = Disk::new(&run.root, &run.trace, &run.base, Honest::All);
    let image = shm.path().join("image");
    for cut in cuts {
        disk.replay_to(cut.at);
        disk.image(&image, cut.fate, &mut Rng::with_seed(cut.seed));
        if let Err(what) = run.check(cut.at, &image) {
            panic!("seed {seed}, {cut:?}: {what}");
        }
        std::fs::remove_dir_all(&image).expect("the image can be removed");
    }
}
