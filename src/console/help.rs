//! The help: every key by where it works, from the key table.

use super::command::{Command, Mode};
use super::keymap::Keymap;
use super::model::wrap_words;

/// What the keys of a row may take, in columns: two long names.
const KEYS_COLUMNS: usize = 14;

/// What a line of the help is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelpKind {
    /// Where the keys below work.
    Title,
    /// A key.
    Key,
    /// A key that does nothing here.
    Off,
    /// What is no key.
    Words,
}

/// What an operator does most, step by step.
fn repair(table: Keymap) -> [String; 5] {
    let hint = |mode, command, text| table.hint(mode, command, text);
    let tab = hint(Mode::Message, Command::Right, " ({})");
    let retry = hint(Mode::Message, Command::Retry, " {} retries it as it is.");
    let edit = hint(Mode::Message, Command::Edit, "{} edits it in place; ");
    let review = hint(Mode::Editor, Command::Review, "{} shows the difference. ");
    let undo = "{} takes the last act back, as long as that is still true. ";
    let undo = hint(Mode::Message, Command::Undo, undo);
    let enter =
        "{} goes from a blocked queue (they come first) to its messages, again to the message.";
    [
        hint(Mode::Queues, Command::Enter, enter),
        format!("The Error tab{tab} says why it failed.{retry}"),
        format!("{edit}{review}Nothing is sent before a button is pressed."),
        "Retry with this saves and retries. The line below follows it: HEAD ADVANCED, or FAILED \
         AGAIN."
            .to_owned(),
        format!("{undo}A draft is kept, whatever happens."),
    ]
}

/// What else is to be known.
fn good_to_know(table: Keymap) -> [String; 7] {
    let hint = |command, text| table.hint(Mode::Queues, command, text);
    let filter = hint(Command::Filter, "{} filters a list by a text in any column, ")
        + &hint(Command::Filter, "{}! leaves out what has it");
    let clears = if filter.is_empty() { "" } else { "; {} takes the filter away" };
    let all =
        "{} finds every action, queue and message by some of its letters, or by a message's id.";
    let drafts = "{} draft lists the drafts that row 1 counts; on its message it saves one to a file, or throws \
                  it away.";
    [
        format!("{filter}{}.", hint(Command::Back, clears)).trim_start_matches('.').to_owned(),
        hint(Command::Palette, all),
        "Row 1: live or STALE (nothing heard), RECONNECTING, REFUSED; RO is read-only.".to_owned(),
        hint(Command::Palette, drafts),
        "What is dimmed is as it was last heard. Keys that say :off do nothing now.".to_owned(),
        "Ages: 42s, 5m, 3h05m, 2d04h, since a message was accepted or something was heard."
            .to_owned(),
        "Keys and colours can be changed: [console] in the configuration.".to_owned(),
    ]
}

/// The help in lines of at most `width` columns, the keys of `here` first.
pub fn lines(table: Keymap, here: Mode, read_only: bool, width: usize) -> Vec<(HelpKind, String)> {
    let mut lines = Vec::new();
    let modes = std::iter::once(here).chain(Mode::ALL.into_iter().filter(|mode| *mode != here));
    for (n, mode) in modes.enumerate() {
        if n == 1 {
            words(&mut lines, "A repair", &repair(table), width);
            words(&mut lines, "Good to know", &good_to_know(table), width);
        }
        lines.push((HelpKind::Title, mode.title().to_owned()));
        // What is done there comes before how one moves about, which is the same everywhere.
        let acts = table.in_mode(mode).filter(|row| !row.command.is_motion());
        for row in acts.chain(table.in_mode(mode).filter(|row| row.command.is_motion())) {
            let off = row.changes && read_only;
            let (kind, note) =
                if off { (HelpKind::Off, " (off: read-only)") } else { (HelpKind::Key, "") };
            let mut keys = row.keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(" ");
            let text = format!("{}{note}", row.help);
            let room = width.saturating_sub(KEYS_COLUMNS + 3).max(1);
            for range in wrap_words(&text, room) {
                lines.push((kind, format!("  {keys:<KEYS_COLUMNS$} {}", &text[range])));
                keys.clear();
            }
        }
    }
    lines
}

fn words(lines: &mut Vec<(HelpKind, String)>, title: &str, texts: &[String], width: usize) {
    lines.push((HelpKind::Title, title.to_owned()));
    // What would say nothing but a key that isn't there is left out.
    for text in texts.iter().filter(|text| !text.is_empty()) {
        for range in wrap_words(text, width.saturating_sub(2).max(1)) {
            lines.push((HelpKind::Words, format!("  {}", &text[range])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_help_is_cut_off_at_eighty_columns() {
        for (kind, line) in lines(Keymap::default(), Mode::Message, true, 80) {
            assert!(line.chars().count() <= 80, "{line}");
            let keys = line.get(2..2 + KEYS_COLUMNS).unwrap_or_default();
            let is_key = matches!(kind, HelpKind::Key | HelpKind::Off);
            assert!(!is_key || line[2 + keys.len()..].starts_with(' '), "{line}");
        }
    }
}
