//! What is done to many messages is asked for by their number: a key pressed too soon says nothing.

use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::ask;

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
    let Some(answer) = ask(&format!("{what}. Type their number to do it:"))? else {
        let failure = Failure::new(format!("{what}: nobody can be asked here; nothing was done"));
        return Err(failure.advice(format!("say how many with --yes={count}")).exit(Exit::Usage));
    };
    Ok(answer == count.to_string())
}

/// `1 message`, `3 messages`.
pub(super) fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}
