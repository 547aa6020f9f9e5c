//! Starts processes that end with this one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use tokio::process::Command;

use super::keeper::Keeper;
use super::mark::Mark;

/// The hidden command that becomes another one.
const COMMAND: &str = "__become";

/// How processes are started: by a program that knows [`become_command`] and [`super::keep`], as `mubroker` does. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    mark: Mark,
    /// None if whoever started this process has one that sees to ours as well.
    _keeper: Option<Arc<Keeper>>,
}

impl Launcher {
    /// Starts the keeper, unless this process has a mark itself: then whoever gave it has one.
    pub fn new(program: &Path) -> io::Result<Self> {
        if let Some(mark) = Mark::inherited() {
            return Ok(Self { program: program.to_owned(), mark, _keeper: None });
        }
        Self::with_mark(program, Mark::unique())
    }

    /// Starts a keeper for this mark and all below it.
    pub fn with_mark(program: &Path, mark: Mark) -> io::Result<Self> {
        let keeper = Keeper::start(program, &mark)?;
        Ok(Self { program: program.to_owned(), mark, _keeper: Some(Arc::new(keeper)) })
    }

    /// The same for processes under a mark of their own, below this one's.
    #[must_use]
    pub fn below(&self, part: &str) -> Self {
        Self { mark: self.mark.below(part), ..self.clone() }
    }

    /// The mark of what it starts.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// A command, not yet started, that leads a process group of its own. It ends with the *thread* that starts it:
    /// start it from one that lasts.
    pub fn command(&self, program: &OsStr, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        let (name, value) = self.mark.variable();
        command
            .arg(COMMAND)
            .arg(Pid::this().to_string())
            .arg(program)
            .args(arguments)
            .env(name, value)
            .process_group(0);
        command
    }
}

/// Sees to it that the kernel kills this process with its parent, `parent`, and becomes the command: returns only if that
/// can't be done.
pub fn become_command(parent: i32, program: &OsStr, arguments: &[OsString]) -> io::Error {
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    // Before the signal was set, the parent may have gone: nobody would send it.
    if getppid() != Pid::from_raw(parent) {
        return io::Error::other("whoever wanted it is gone");
    }
    std::process::Command::new(program).args(arguments).exec()
}
