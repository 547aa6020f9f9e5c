//! Running a process under the recorder, and the recorded process itself.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use mubroker::mailbox::{Mailbox, MailboxError, SledMailbox, SledOptions};

use super::base::Base;
use super::trace::{Event, Trace};
use super::workload::{History, Workload};

const FOLDER: &str = "MUBROKER_POWER_FOLDER";
const HISTORY: &str = "MUBROKER_POWER_HISTORY";
const SEED: &str = "MUBROKER_POWER_SEED";
const BATCHES: &str = "MUBROKER_POWER_BATCHES";
const ROTATE: &str = "MUBROKER_POWER_ROTATE";

/// Batches that may be appended and not synced yet: the broker's pipeline has two.
const MAX_UNSYNCED: usize = 4;

/// Steps of upkeep after each batch, if there is so much to do.
const UPKEEP_STEPS: usize = 6;

/// Where a session's load falls in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// A new part is begun all the time, and old ones are deleted.
    Many,
    /// One part takes all: sled reuses its segments.
    One,
}

impl Parts {
    pub(crate) fn options(self) -> SledOptions {
        let rotate_bytes = match self {
            Self::Many => 5 << 20,
            Self::One => 1 << 30,
        };
        // One of the older parts open: more come and go.
        SledOptions { rotate_bytes, max_open_sealed: 1, ..SledOptions::default() }
    }
}

/// Some of the work that the store does beside batches.
pub(crate) fn upkeep(mailbox: &SledMailbox) -> Result<(), MailboxError> {
    for _ in 0..UPKEEP_STEPS {
        if !mailbox.maintain()? {
            break;
        }
    }
    Ok(())
}

/// The recorder, compiled.
pub(crate) fn library() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let new = tempfile::tempdir_in(folder).expect("a folder for what is built");
    let built = new.path().join("recorder.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/recorder.c");
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"])
        .arg("-o")
        .args([&built, &source])
        .output()
        .expect("a C compiler is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Whole at once: other tests compile it too.
    let library = folder.join("recorder.so");
    std::fs::rename(&built, &library).expect("the recorder can be put in its place");
    library
}

/// `command` will be recorded: what it does in `folder` goes to the file `trace`.
pub(crate) fn record<'a>(command: &'a mut Command, folder: &Path, trace: &Path) -> &'a mut Command {
    command
        .env("LD_PRELOAD", library())
        .env("MUBROKER_RECORD_FOLDER", folder)
        .env("MUBROKER_RECORD_TRACE", trace)
}

/// What the recorded process said of its progress, in the order of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The store was opened, as this generation.
    Opened(u64),
    /// The append of this batch (counted from 1 over all sessions) begins.
    Appending(usize),
    /// A sync that began after this batch's append has returned.
    Synced(usize),
}

/// One recorded run of the workload on a store.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) root: PathBuf,
    pub(crate) base: Base,
    pub(crate) trace: Trace,
    /// What the store held before.
    pub(crate) before: History,
    pub(crate) seed: u64,
    pub(crate) batches: usize,
    pub(crate) parts: Parts,
    /// By place in the trace.
    pub(crate) marks: Vec<(usize, Mark)>,
}

impl Session {
    /// Runs `batches` batches of `seed` on the store in `root`, which holds `before`. `root` is a path without
    /// links; the trace goes beside it.
    pub(crate) fn record(
        root: &Path,
        before: History,
        seed: u64,
        batches: usize,
        parts: Parts,
    ) -> Self {
        let base = Base::read(root);
        let file = root.with_extension("trace");
        let mut command = Command::new(std::env::current_exe().expect("this test's binary"));
        command
            .args(["--ignored", "--exact", "--nocapture", "power::recorder::recorded_process"])
            .env(FOLDER, root)
            .env(HISTORY, before.to_text())
            .env(SEED, seed.to_string())
            .env(BATCHES, batches.to_string())
            .env(ROTATE, format!("{parts:?}"))
            .stdin(Stdio::null());
        let output = record(&mut command, root, &file).output().expect("the process starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{text}", output.status);
        let trace = Trace::read(&file);
        std::fs::remove_file(&file).expect("the trace can be removed");
        let marks = marks(&trace, &root.join("marks"));
        let last = marks.iter().rev().find_map(|(_, mark)| match mark {
            Mark::Synced(batch) => Some(*batch),
            Mark::Opened(_) | Mark::Appending(_) => None,
        });
        assert_eq!(last, Some(before.len() + batches), "all was appended and synced");
        Self { root: root.to_owned(), base, trace, before, seed, batches, parts, marks }
    }

    /// What the store was given up to batch `count`, counted over all sessions.
    pub(crate) fn history(&self, count: usize) -> History {
        let mut history = self.before.clone();
        history.0.push((self.seed, self.batches));
        history.cut(count)
    }
}

fn marks(trace: &Trace, path: &Path) -> Vec<(usize, Mark)> {
    let path = path.to_str().expect("a path is text");
    let inode = trace.events.iter().find_map(|event| match event {
        Event::Opened { inode, path: opened } if opened == path => Some(*inode),
        _ => None,
    });
    let inode = inode.expect("the process opens its marks");
    let mark = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).expect("a mark is text").trim_end();
        let (word, number) = text.split_once(' ').expect("a word and a number");
        let number: usize = number.parse().expect("a number");
        match word {
            "opened" => Mark::Opened(number as u64),
            "appending" => Mark::Appending(number),
            "synced" => Mark::Synced(number),
            other => panic!("unknown mark {other}"),
        }
    };
    let of = |(at, event): (usize, &Event)| match event {
        Event::Written { inode: of, bytes, .. } if *of == inode => {
            Some((at, mark(trace.bytes(bytes))))
        }
        _ => None,
    };
    trace.events.iter().enumerate().filter_map(of).collect()
}

/// The store and its marks, in the recorded process.
struct Recorded {
    folder: PathBuf,
    parts: Parts,
    marks: File,
}

impl Recorded {
    fn mark(&self, word: &str, number: usize) {
        // One call: one event of the trace.
        (&self.marks).write_all(format!("{word} {number}\n").as_bytes()).expect("a mark");
    }

    fn open(&self) -> SledMailbox {
        let store = self.folder.join("store");
        let mailbox = SledMailbox::open(&store, self.parts.options()).expect("the store opens");
        let generation = mailbox.recover().expect("the store is sound").generation;
        self.mark("opened", generation.0 as usize);
        mailbox
    }

    /// Appends on this thread while another syncs, as the broker does; returns when all is synced.
    fn run(&self, mailbox: &SledMailbox, workload: &mut Workload, from: usize, count: usize) {
        let (appended, to_sync) = sync_channel(MAX_UNSYNCED);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(batch) = to_sync.recv() {
                    let batch = to_sync.try_iter().last().unwrap_or(batch);
                    mailbox.sync().expect("the store can be synced");
                    self.mark("synced", batch);
                }
            });
            for batch in from + 1..=from + count {
                let ops = workload.batch();
                self.mark("appending", batch);
                mailbox.append(&ops).expect("the store takes a batch");
                appended.send(batch).expect("the syncing thread goes on");
                upkeep(mailbox).expect("the store can be maintained");
            }
            drop(appended);
        });
    }
}

#[test]
#[ignore = "the recorded process of other tests"]
fn recorded_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let number = |name: &str| -> u64 {
        std::env::var(name).expect("it is set").parse().expect("it is a number")
    };
    let before = History::from_text(&std::env::var(HISTORY).expect("it is set"));
    let (seed, batches) = (number(SEED), number(BATCHES) as usize);
    let mut workload = Workload::after(&before, drop);
    workload.reseed(seed);
    let folder = PathBuf::from(folder);
    let marks = File::create(folder.join("marks")).expect("the marks can be written");
    let parts = std::env::var(ROTATE).expect("it is set");
    let parts = if parts == format!("{:?}", Parts::One) { Parts::One } else { Parts::Many };
    let recorded = Recorded { folder, parts, marks };
    let mailbox = recorded.open();
    let half = batches / 2;
    recorded.run(&mailbox, &mut workload, before.len(), half);
    drop(mailbox);
    let mailbox = recorded.open();
    recorded.run(&mailbox, &mut workload, before.len() + half, batches - half);
    if (seed / 2).is_multiple_of(2) {
        // As if it were killed: sled writes nothing more.
        std::mem::forget(mailbox);
    }
}
