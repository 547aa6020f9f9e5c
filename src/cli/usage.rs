//! What a wrong command line is told beside clap's words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Commands that name what they are for by an option, since their payload is what stands alone.
const NAMED: [(&str, &str, &str); 4] = [
    ("send", "-q", "queue"),
    ("call", "-q", "queue"),
    ("publish", "-t", "topic"),
    ("start", "-s", "saga"),
];

/// Reads the command line; ends the program with what is wrong with it, or with the help that was asked for.
pub fn parse() -> Cli {
    let words: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&words).unwrap_or_else(|error| with_tip(error, &words).exit())
}

/// What is to be written instead, where clap says only what it didn't expect.
fn with_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let tip = match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument => name_by_option(&words),
        ErrorKind::ArgumentConflict => command_first(&words),
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// `mubroker send bills '{}'`: the option is missing.
fn name_by_option(words: &[&str]) -> Option<String> {
    let [_, first, name, ..] = words else { return None };
    let (command, option, what) = NAMED.iter().find(|(command, _, _)| command == first)?;
    let is_name = !name.is_empty() && !name.starts_with('-');
    is_name.then(|| {
        format!("name the {what} with {option}: mubroker {command} {option} {name} PAYLOAD")
    })
}

/// `mubroker --config FILE serve`: what stands before the command is the console's.
fn command_first(words: &[&str]) -> Option<String> {
    let [_, options @ ..] = words else { return None };
    let cli = Cli::command();
    let at = options.iter().position(|word| cli.find_subcommand(word).is_some())?;
    let (before, rest) = options.split_at(at);
    let (command, after) = rest.split_first()?;
    let is_before = before.first().is_some_and(|word| word.starts_with('-'));
    let words = [&["mubroker", command], before, after].concat();
    is_before.then(|| format!("options stand after the command: {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &[&str]) -> String {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let error = Cli::try_parse_from(&words).unwrap_err();
        with_tip(error, &words).to_string()
    }

    #[test]
    fn a_name_without_its_option_is_told_which_one() {
        for (line, tip) in [
            (&["mubroker", "send", "bills", "{}"][..], "mubroker send -q bills PAYLOAD"),
            (&["mubroker", "send", "bills"], "name the queue with -q"),
            (&["mubroker", "call", "prices", "{}"], "mubroker call -q prices PAYLOAD"),
            (&["mubroker", "publish", "order.created", "{}"], "mubroker publish -t order.created"),
            (&["mubroker", "start", "trip", "{}"], "mubroker start -s trip PAYLOAD"),
        ] {
            let text = told(line);
            assert!(text.contains(tip), "{line:?}: {text}");
        }
        assert!(!told(&["mubroker", "send", "--quue", "bills"]).contains("name the"));
    }

    #[test]
    fn options_before_the_command_are_told_their_place() {
        let text = told(&["mubroker", "--config", "a.toml", "queue", "ls"]);
        assert!(text.contains("mubroker queue --config a.toml ls"), "{text}");
        let text = told(&["mubroker", "serve", "--store", "x"]);
        assert!(!text.contains("stand after"), "{text}");
    }
}
