//! Processes that are started here, and their certain end.
//!
//! Each leads a process group of its own, which is ended as a whole. For the case that this process is ended
//! itself, by `kill -9` too, there are two nets: the kernel kills each one that we started directly (`PR_SET_PDEATHSIG`), and
//! a *keeper*, a process of its own, finds by a mark in their environment those that they started in turn,
//! whatever group or session these are in by now.
//!
//! Setting the kernel's net takes code between `fork` and `exec`, which isn't safe Rust; so a program of ours is started that
//! sets it for itself and then becomes the wanted one ([`become_command`]).

mod exit;
mod group;
mod keeper;
mod last_words;
mod launcher;
mod mark;
mod program;

pub(crate) use exit::exit_error;
pub(crate) use group::Group;
pub use keeper::keep;
pub(crate) use last_words::{LastWords, STDERR_TAIL_BYTES};
pub use launcher::{Launcher, become_command};
pub use mark::Mark;
pub(crate) use program::TOKEN;
pub use program::{Program, ProgramError};

/// How long a group may take to end after SIGTERM before it gets SIGKILL: time to write a line and close
/// a file, short beside a lease.
pub(crate) const KILL_GRACE: std::time::Duration = std::time::Duration::from_secs(2);
