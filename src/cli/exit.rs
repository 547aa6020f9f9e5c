//! Exit codes: what a script can tell apart. The README and `--help` list them.

/// How a command ended, as its process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; standard error says what, on what, and what to do.
    Failed = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// Another process holds the store; standard error says which.
    StoreHeld = 3,
    /// The configuration is refused; standard error says where and why.
    Config = 4,
    /// No broker answers.
    Unreachable = 5,
    /// The broker refused, and nothing was changed; or a call's message was accepted, but did not end well.
    Refused = 6,
    /// Ctrl-C; what is under way in the broker goes on.
    Interrupted = 130,
    /// A worker's command can't be started; told to the worker only, as shells tell it.
    NotStarted = 127,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
