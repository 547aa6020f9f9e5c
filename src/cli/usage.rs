//! What a wrong command line is told beside clap's words.

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

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

/// `mubroker send bills '{}'`: the option is missing, and clap says only what it didn't expect.
fn with_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let kinds = [ErrorKind::UnknownArgument, ErrorKind::MissingRequiredArgument];
    if !kinds.contains(&error.kind()) {
        return error;
    }
    let word = |at: usize| words.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let named = NAMED.iter().find(|(command, _, _)| *command == word(1));
    let Some((command, option, what)) = named else { return error };
    let name = word(2);
    if name.is_empty() || name.starts_with('-') {
        return error;
    }
    let tip = format!("name the {what} with {option}: mubroker {command} {option} {name} PAYLOAD");
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tips);
    error
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
}
