//! How a process ended, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::model::WorkError;

/// A failure's one line for the operator, in characters.
const MAX_LINE_CHARS: usize = 200;

/// A failure by how a process ended and the end of its standard error.
pub(crate) fn exit_error(status: ExitStatus, stderr: &str) -> WorkError {
    let (code, what) = match (status.code(), status.signal()) {
        (Some(code), _) => (format!("exit-{code}"), format!("exit status {code}")),
        (None, Some(number)) => (format!("signal-{number}"), signal_text(number)),
        (None, None) => ("exit-unknown".to_owned(), status.to_string()),
    };
    let message = match last_line(stderr) {
        Some(line) => format!("{what}: {line}"),
        None => what,
    };
    WorkError { code, message, detail: stderr.to_owned() }
}

fn signal_text(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("ended by signal {number} ({signal})"),
        Err(_) => format!("ended by signal {number}"),
    }
}

/// The last line that says something: where programs put their reason.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(MAX_LINE_CHARS).collect())
}
