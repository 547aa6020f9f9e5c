//! What is done to many messages is asked for by their number: a key pressed too soon says nothing.

use std::io::{BufRead, IsTerminal, Write};

use crate::cli::Exit;
use crate::cli::failure::Failure;

/// Whether `count` messages are to be done: by `--yes COUNT`, or the number typed. `what` is as in "Retry 3 messages of bills".
pub(super) fn agreed(what: &str, count: usize, yes: Option<u64>) -> Result<bool, Failure> {
    match yes {
        Some(yes) if yes == count as u64 => return Ok(true),
        Some(yes) => {
            let text = format!("{what}: {count} are meant, --yes says {yes}; nothing was done");
            return Err(Failure::new(text).exit(Exit::Refused));
        }
        None => {}
    }
    if !std::io::stdin().is_terminal() {
        let failure = Failure::new(format!("{what}: nobody can be asked here; nothing was done"));
        return Err(failure.advice(format!("say how many with --yes={count}")).exit(Exit::Usage));
    }
    let mut err = std::io::stderr().lock();
    let asked = write!(err, "{what}. Type their number to do it: ").and_then(|()| err.flush());
    asked.map_err(|error| Failure::io("standard error", &error))?;
    drop(err);
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::io("standard input", &error))?;
    Ok(answer.trim() == count.to_string())
}

/// `1 message`, `3 messages`.
pub(super) fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}
