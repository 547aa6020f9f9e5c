//! The help: every key by where it works, from the key table.

use super::command::Mode;
use super::keymap;
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
}

/// The help in lines of at most `width` columns, the keys of `here` first.
pub fn lines(here: Mode, read_only: bool, width: usize) -> Vec<(HelpKind, String)> {
    let mut lines = Vec::new();
    let modes = std::iter::once(here).chain(Mode::ALL.into_iter().filter(|mode| *mode != here));
    for mode in modes {
        lines.push((HelpKind::Title, mode.title().to_owned()));
        for row in keymap::in_mode(mode) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_help_is_cut_off_at_eighty_columns() {
        for (kind, line) in lines(Mode::Message, true, 80) {
            assert!(line.chars().count() <= 80, "{line}");
            let keys = line.get(2..2 + KEYS_COLUMNS).unwrap_or_default();
            assert!(kind == HelpKind::Title || line[2 + keys.len()..].starts_with(' '), "{line}");
        }
    }
}
