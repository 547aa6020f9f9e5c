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

/// Ids that were done: the last `last` at least, at most twice as many. In RAM some 100 bytes each.
#[derive(Debug)]
pub struct Seen {
    folder: PathBuf,
    last: usize,
    /// The newest in the file that grows; then those in the one before.
    ids: [HashSet<String>; 2],
    file: File,
}

impl Seen {
    /// Opens or makes the folder's files. One worker at a time has a folder: a second one is refused.
    pub fn open(folder: &Path, last: usize) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let ids = [read(&folder.join(FILES[0]))?, read(&folder.join(FILES[1]))?];
        let mut file = append(&folder.join(FILES[0]))?;
        // Behind a line that a crash cut off, the next one begins anew; an empty line says nothing.
        file.write_all(b"\n")?;
        Ok(Self { folder: folder.to_owned(), last: last.max(1), ids, file })
    }

    /// Whether it was done.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.iter().any(|ids| ids.contains(id))
    }

    /// Keeps an id; it is on disk when this returns.
    pub fn insert(&mut self, id: &str) -> io::Result<()> {
        if self.ids[0].len() >= self.last {
            self.rotate()?;
        }
        // JSON, so that an id with a line end stays one line.
        let mut line = serde_json::to_string(id)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.ids[0].insert(id.to_owned());
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let [new, old] = FILES.map(|name| self.folder.join(name));
        std::fs::rename(&new, old)?;
        self.file = append(&new)?;
        File::open(&self.folder)?.sync_all()?;
        self.ids[1] = std::mem::take(&mut self.ids[0]);
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    file.try_lock().map_err(|error| {
        io::Error::new(io::ErrorKind::WouldBlock, format!("{}: {error}", path.display()))
    })?;
    Ok(file)
}

/// A last line that a crash cut off is left out: its ACK never went out.
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
                false => Ok(delivery.content.payload),
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

    #[test]
    fn a_torn_line_is_left_out_and_a_second_worker_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILES[0]), "\"a\"\n\"b").expect("written");
        let mut seen = Seen::open(folder.path(), 10).expect("a folder");
        assert!(seen.contains("a") && !seen.contains("b"));
        assert!(Seen::open(folder.path(), 10).is_err());
        seen.insert("c").expect("written");
        drop(seen);
        let seen = Seen::open(folder.path(), 10).expect("a folder");
        assert!(seen.contains("a") && seen.contains("c"));
    }
}
