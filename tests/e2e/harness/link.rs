//! A link to the admin API's socket that can be slow, stand still or break.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// As if it weren't there.
    Passes,
    /// Each piece takes so long, in both directions.
    Delayed(Duration),
    /// Nothing moves, nothing ends.
    Frozen,
    /// What is asked goes through, no answer comes.
    AnswersFrozen,
    /// All connections are gone, new ones end at once.
    Broken,
}

/// A folder with a socket that leads to a broker's.
pub(crate) struct Link {
    folder: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    how: Mutex<How>,
    changed: Condvar,
    open: Mutex<Vec<UnixStream>>,
}

impl Link {
    /// In `folder`, to the socket in `data`.
    pub(crate) fn start(folder: &Path, data: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the link's folder");
        let listener = UnixListener::bind(folder.join("admin.sock")).expect("the link's socket");
        let shared = Arc::new(Shared {
            how: Mutex::new(How::Passes),
            changed: Condvar::new(),
            open: Mutex::default(),
        });
        let (there, to) = (Arc::clone(&shared), data.join("admin.sock"));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Without a broker the connection ends at once, as there.
                if *there.how.lock().expect("no link panicked") != How::Broken
                    && let Ok(far) = UnixStream::connect(&to)
                {
                    pair(&there, near, far);
                }
            }
        });
        Self { folder: folder.to_owned(), shared }
    }

    /// For `MUBROKER_DATA_DIR`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on.
    pub(crate) fn set(&self, how: How) {
        *self.shared.how.lock().expect("no link panicked") = how;
        self.shared.changed.notify_all();
        if how == How::Broken {
            for stream in self.shared.open.lock().expect("no link panicked").drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(How::Broken);
    }
}

fn pair(shared: &Arc<Shared>, near: UnixStream, far: UnixStream) {
    let clone = |stream: &UnixStream| stream.try_clone().expect("a socket can be shared");
    shared.open.lock().expect("no link panicked").extend([clone(&near), clone(&far)]);
    let ways = [(clone(&near), clone(&far), false), (far, near, true)];
    for (from, to, answers) in ways {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pump(&shared, &from, &to, answers);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}

fn pump(shared: &Shared, mut from: &UnixStream, mut to: &UnixStream, answers: bool) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let stands = |how: &mut How| match how {
            How::Frozen => true,
            How::AnswersFrozen => answers,
            How::Passes | How::Delayed(_) | How::Broken => false,
        };
        let how = shared.how.lock().expect("no link panicked");
        let how = *shared.changed.wait_while(how, stands).expect("no link panicked");
        if let How::Delayed(time) = how {
            std::thread::park_timeout(time); // The delay is what is tested.
        }
        if how == How::Broken || to.write_all(&chunk[..count]).is_err() {
            return;
        }
    }
}
