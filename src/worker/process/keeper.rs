//! The keeper: a process that outlives the one that started it, only to end what that has left.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::mark::Mark;

/// What lists of processes show, so that whoever kills all that is called `mubroker` spares it.
const NAME: &str = "mub-keeper";
/// The hidden command that runs it.
pub(super) const COMMAND: &str = "__keep";
/// How long it tries: a process that waits for a disk doesn't end sooner.
const LIMIT: Duration = Duration::from_secs(10);

/// Started with the first process that it is for. It reads a pipe that nobody writes into; when this process is gone, by
/// whatever end, the pipe is closed.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Held for its pipe. Ends by itself once that is closed.
    _child: Child,
}

impl Keeper {
    /// `program` is one that knows [`keep`] as its command `__keep`.
    pub(super) fn start(program: &Path, mark: &Mark) -> io::Result<Self> {
        let child = Command::new(program)
            .arg0(NAME)
            .args([COMMAND, mark.as_str()])
            .env_remove(mark.variable().0)
            // A terminal's Ctrl-C is for those whom it keeps.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { _child: child })
    }
}

/// Waits until whoever started this process is gone, then kills all that has the mark.
pub fn keep(mark: &Mark) {
    // What lists show by default; where it can't be set it is the program's.
    let _named = nix::sys::prctl::set_name(c"mub-keeper");
    let mut byte = [0];
    loop {
        match io::stdin().read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    mark.kill_all(LIMIT);
}
