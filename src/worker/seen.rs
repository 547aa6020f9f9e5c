//! An idempotent receiver: a message that was done is acknowledged, not done again.
//!
//! At least once means that a message may come again after it was done, when its ACK was lost. [`Idempotent`] keeps the ids of
//! what was done on disk, before the ACK goes out. What it can't know: whether work took effect whose worker died before the
//! id was written. That message is done again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::handler::{Failure, Handler, Work};
use crate::wire::Delivery;

/// The file that ids are written to, and the one before it.
const FILES: [&str; 2] = ["seen.new", "seen.old"];
/// What becomes the file that ids are written to, once it has its name.
const NEXT: &str = "seen.next";
/// Held as long as the folder is in use. It is never renamed, as the others are.
const LOCK: &str = "seen.lock";

/// Ids that were done: the last `last` at least, at most twice as many. In RAM some 100 bytes each.
#[derive(Debug)]
pub struct Seen {
    folder: PathBuf,
    last: usize,
    /// The newest in the file that grows; then those in the one before.
    ids: [HashSet<String>; 2],
    file: File,
    /// The file may end within a line: a crash or a full disk cut it off.
    is_torn: bool,
    /// Files have other names than are known to be on disk.
    is_renamed: bool,
    _lock: File,
}

impl Seen {
    /// Opens or makes the folder's files. One worker at a time has a folder: a second one is refused.
    pub fn open(folder: &Path, last: usize) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // First: what is read then is what the worker before has written.
        let lock = lock(&folder.join(LOCK))?;
        let ids = [read(&folder.join(FILES[0]))?, read(&folder.join(FILES[1]))?];
        let file = OpenOptions::new().create(true).append(true).open(folder.join(FILES[0]))?;
        let (folder, last) = (folder.to_owned(), last.max(1));
        Ok(Self { folder, last, ids, file, is_torn: true, is_renamed: true, _lock: lock })
    }

    /// Whether it was done.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.iter().any(|ids| ids.contains(id))
    }

    /// Keeps an id; it is on disk when this returns. After an error it can be tried again.
    pub fn insert(&mut self, id: &str) -> io::Result<()> {
        if self.ids[0].len() >= self.last {
            self.rotate()?;
        }
        if self.is_renamed {
            File::open(&self.folder)?.sync_all()?;
            self.is_renamed = false;
        }
        // JSON, so that an id with a line end stays one line; an empty line says nothing.
        let begin = if self.is_torn { "\n" } else { "" };
        let line = format!("{begin}{}\n", serde_json::to_string(id)?);
        self.is_torn = true;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.ids[0].insert(id.to_owned());
        Ok(())
    }

    /// Nothing is lost wherever it fails: the file that is full keeps one of its two names, and it is done again.
    fn rotate(&mut self) -> io::Result<()> {
        let [new, old] = FILES.map(|name| self.folder.join(name));
        let next = self.folder.join(NEXT);
        let file = OpenOptions::new().create(true).append(true).open(&next)?;
        file.set_len(0)?;
        match std::fs::rename(&new, old) {
            Ok(()) => {}
            // The last time it failed after this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.is_renamed = true;
        std::fs::rename(next, new)?;
        (self.file, self.is_torn) = (file, false);
        self.ids[1] = std::mem::take(&mut self.ids[0]);
        Ok(())
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    file.try_lock().map_err(|error| {
        io::Error::new(io::ErrorKind::WouldBlock, format!("{}: {error}", path.display()))
    })?;
    Ok(file)
}

/// A line that a crash or a full disk cut off is left out: its ACK never went out.
fn read(path: &Path) -> io::Result<HashSet<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let mut ids = HashSet::new();
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(id) = serde_json::from_slice(&line?) {
            ids.insert(id);
        }
    }
    Ok(ids)
}

/// A handler that gives each message to another one until that has done it, and acknowledges it without a reply from then on.
#[derive(Debug)]
pub struct Idempotent<H> {
    handler: H,
    seen: Arc<Mutex<Seen>>,
}

impl<H: Handler> Idempotent<H> {
    /// `seen` is for this worker alone.
    pub fn new(handler: H, seen: Seen) -> Self {
        Self { handler, seen: Arc::new(Mutex::new(seen)) }
    }
}

impl<H: Handler> Handler for Idempotent<H> {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
        // Ids are unique in a queue; two queues may have the same.
        let key = format!("{} {}", delivery.queue, delivery.content.id());
        if self.seen.lock().expect("nobody panics with it").contains(&key) {
            return Ok(Bytes::new());
        }
        let reply = self.handler.handle(delivery, work).await?;
        let seen = Arc::clone(&self.seen);
        let keep = move || seen.lock().expect("nobody panics with it").insert(&key);
        match tokio::task::spawn_blocking(keep).await.expect("it doesn't panic") {
            Ok(()) => Ok(reply),
            Err(error) => {
                Err(Failure::of("seen", format!("it was done, but its id can't be kept: {error}")))
            }
        }
    }

    async fn close(&self) {
        self.handler.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::worker::sample;

    struct Counting(Arc<AtomicU32>);

    impl Handler for Counting {
        async fn handle(&self, delivery: Delivery, _work: Work) -> Result<Bytes, Failure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match delivery.content.payload.is_empty() {
                true => Err(Failure::of("empty", "no payload")),
                false => Ok(delivery.content.payload.clone()),
            }
        }
    }

    fn delivery(id: &str, payload: &'static str) -> Delivery {
        sample::delivery(&serde_json::json!({ "id": id }), payload)
    }

    #[tokio::test]
    async fn what_was_done_is_not_done_again_also_after_a_restart_and_what_failed_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = Arc::new(AtomicU32::new(0));
        let open = || {
            let seen = Seen::open(folder.path(), 10).expect("a folder");
            Idempotent::new(Counting(Arc::clone(&count)), seen)
        };
        let work = || Work::unheard(Duration::from_secs(1));
        let worker = open();
        worker.handle(delivery("a", ""), work()).await.expect_err("it fails");
        assert_eq!(worker.handle(delivery("a", "x"), work()).await, Ok(Bytes::from("x")));
        assert_eq!(worker.handle(delivery("a", "x"), work()).await, Ok(Bytes::new()));
        drop(worker);
        let worker = open();
        assert_eq!(worker.handle(delivery("a", "x"), work()).await, Ok(Bytes::new()));
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_last_ids_are_kept_and_the_files_stay_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut seen = Seen::open(folder.path(), 10).expect("a folder");
        for n in 0..100 {
            seen.insert(&format!("id\n{n}")).expect("written");
            let first = usize::saturating_sub(n, 9);
            assert!((first..=n).all(|n| seen.contains(&format!("id\n{n}"))), "{n}");
        }
        drop(seen);
        let seen = Seen::open(folder.path(), 10).expect("a folder");
        let kept = (0..100).filter(|n| seen.contains(&format!("id\n{n}"))).count();
        assert!((10..=20).contains(&kept), "{kept}");
        let lengths: u64 =
            FILES.map(|f| folder.path().join(f).metadata().expect("there").len()).iter().sum();
        assert!(lengths < 20 * 12, "{lengths}");
    }

    fn open(folder: &Path) -> Seen {
        Seen::open(folder, 10).expect("a folder")
    }

    #[test]
    fn a_torn_line_is_left_out_and_a_second_worker_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILES[0]), "\"a\"\n\"b").expect("written");
        let mut seen = open(folder.path());
        assert!(seen.contains("a") && !seen.contains("b"));
        assert!(Seen::open(folder.path(), 10).is_err());
        seen.insert("c").expect("written");
        drop(seen);
        let seen = open(folder.path());
        assert!(seen.contains("a") && seen.contains("c"));
    }

    #[test]
    fn the_folder_is_held_also_while_its_files_change_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut seen = open(folder.path());
        let early = File::open(folder.path().join(FILES[0])).expect("there");
        for n in 0..25 {
            seen.insert(&n.to_string()).expect("written");
        }
        assert!(early.try_lock().is_ok(), "a lock on a file of ids says nothing");
        assert!(Seen::open(folder.path(), 10).is_err());
    }

    #[test]
    fn an_id_after_one_that_was_half_written_on_a_full_disk_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut seen = open(folder.path());
        seen.insert("a").expect("written");
        // Takes no byte, as a full disk.
        let whole = std::mem::replace(
            &mut seen.file,
            File::options().write(true).open("/dev/full").expect("there"),
        );
        seen.insert("b").expect_err("nothing fits");
        assert!(!seen.contains("b"));
        seen.file = whole;
        // Of the line that failed, this much had gone out.
        seen.file.write_all(b"\"b").expect("written");
        seen.insert("c").expect("written");
        drop(seen);
        let seen = open(folder.path());
        assert_eq!(["a", "b", "c"].map(|id| seen.contains(id)), [true, false, true]);
    }

    #[test]
    fn a_rotation_that_fails_loses_no_id_and_is_done_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let all = |seen: &Seen| (0..10).all(|n| seen.contains(&n.to_string()));
        let mut seen = open(folder.path());
        for n in 0..10 {
            seen.insert(&n.to_string()).expect("written");
        }
        // The name that it begins with is taken.
        std::fs::create_dir(at(NEXT)).expect("made");
        seen.insert("x").expect_err("it can't rotate");
        std::fs::remove_dir(at(NEXT)).expect("removed");
        // The last time it got half the way.
        std::fs::rename(at(FILES[0]), at(FILES[1])).expect("renamed");
        assert!(all(&open_a_copy(folder.path())), "after a crash there");
        seen.insert("x").expect("it rotates");
        assert!(all(&seen) && seen.contains("x"));
        drop(seen);
        let seen = open(folder.path());
        assert!(all(&seen) && seen.contains("x"));
    }

    fn open_a_copy(folder: &Path) -> Seen {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(folder).expect("there") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
        open(copy.path())
    }
}
