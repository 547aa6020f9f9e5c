//! Keys of the operator's own: `[console.keys]` in the configuration, by the names of what they do.

use std::collections::BTreeMap;

use crossterm::event::KeyCode;

use super::super::command::{Command, Mode};
use super::{BROWSE, EVERYWHERE, Key, Keymap, Row, TABLE};

/// How alike two names must be for one to be meant by the other (1: the same).
const ALIKE: f64 = 0.7;

/// One line of `[console.keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// What the keys are to do.
    pub name: String,
    /// All its keys; none: it has no key, and is in the palette alone.
    pub keys: Vec<String>,
}

/// Why the lines are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct KeyProblem {
    /// Which of the lines, from 0.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Row {
    /// Its name in `[console.keys]`; `None` of what can't have other keys: those of questions that are asked, and `^C`.
    pub fn name(&self) -> Option<String> {
        let is_screen = self.modes.iter().any(|mode| BROWSE.contains(mode));
        let is_editor = self.modes == [Mode::Editor];
        let is_last_resort = self.modes == EVERYWHERE && self.command == Command::Quit;
        if is_last_resort || !(is_screen || is_editor) {
            return None;
        }
        let slug = self.label.replace(['/', ' '], "-");
        Some(if is_editor { format!("editor-{slug}") } else { slug })
    }
}

impl Keymap {
    /// The table with these changes. Lives as long as the process, of which it is a part once: it is not given back.
    pub fn changed(changes: &[KeyChange]) -> Result<Self, KeyProblem> {
        if changes.is_empty() {
            return Ok(Self::default());
        }
        let mut rows = TABLE.to_vec();
        for (line, change) in changes.iter().enumerate() {
            let problem = |reason| KeyProblem { line, reason };
            let keys: Result<Vec<Key>, String> = change.keys.iter().map(|key| parse(key)).collect();
            let keys: &'static [Key] = Vec::leak(keys.map_err(problem)?);
            let mut found = false;
            for row in rows.iter_mut().filter(|row| row.name().as_ref() == Some(&change.name)) {
                found = true;
                row.keys = keys;
            }
            if !found {
                return Err(problem(unknown(&change.name)));
            }
        }
        check(&rows, changes)?;
        Ok(Self(Vec::leak(rows)))
    }

    /// All names that `[console.keys]` may have, in the table's order.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in TABLE.iter().filter_map(Row::name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn unknown(name: &str) -> String {
    let names = Keymap::names();
    let alike = |known: &&String| strsim::jaro_winkler(name, known);
    let nearest = names.iter().filter(|known| alike(known) >= ALIKE);
    match nearest.max_by(|a, b| alike(a).total_cmp(&alike(b))) {
        Some(nearest) => format!("there is no {name:?}; did you mean {nearest:?}?"),
        None => format!("there is no {name:?}; there are {}", names.join(", ")),
    }
}

/// `j`, `^D`, `Space`, `PgDn`, `F5`: as the help has them.
fn parse(text: &str) -> Result<Key, String> {
    let named = [
        ("Space", KeyCode::Char(' ')),
        ("Enter", KeyCode::Enter),
        ("Esc", KeyCode::Esc),
        ("Tab", KeyCode::Tab),
        ("S-Tab", KeyCode::BackTab),
        ("Backspace", KeyCode::Backspace),
        ("Del", KeyCode::Delete),
        ("Ins", KeyCode::Insert),
        ("Home", KeyCode::Home),
        ("End", KeyCode::End),
        ("PgUp", KeyCode::PageUp),
        ("PgDn", KeyCode::PageDown),
        ("Up", KeyCode::Up),
        ("Down", KeyCode::Down),
        ("Left", KeyCode::Left),
        ("Right", KeyCode::Right),
    ];
    let plain = |code| Ok(Key { code, ctrl: false });
    if let Some((_, code)) = named.iter().find(|(name, _)| *name == text) {
        return plain(*code);
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some(c), None, None) if !c.is_control() => return plain(KeyCode::Char(c)),
        // The same bytes.
        (Some('^'), Some('i' | 'I'), None) => {
            return Err(format!("a terminal sends {text} as Tab; write Tab"));
        }
        (Some('^'), Some('m' | 'M'), None) => {
            return Err(format!("a terminal sends {text} as Enter; write Enter"));
        }
        (Some('^'), Some(c), None) if c.is_ascii_alphabetic() => {
            return Ok(Key { code: KeyCode::Char(c.to_ascii_lowercase()), ctrl: true });
        }
        _ => {}
    }
    match text.strip_prefix('F').and_then(|n| n.parse().ok()) {
        Some(n @ 1..=12) => plain(KeyCode::F(n)),
        _ => Err(format!("{text:?} is no key; write j, J, ^D, F5, Space, Enter, PgDn, Left")),
    }
}

/// In each mode a key means one thing, and letters are text where text is typed.
fn check(rows: &[Row], changes: &[KeyChange]) -> Result<(), KeyProblem> {
    // The line that gave a row its keys; a conflict is always of at least one that was changed.
    let line_of = |row: &Row| {
        let name = row.name()?;
        changes.iter().position(|change| change.name == name)
    };
    for mode in Mode::ALL {
        let mut seen: BTreeMap<String, &Row> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.modes.contains(&mode)) {
            for key in row.keys {
                let name = key.name();
                let is_text = !key.ctrl && matches!(key.code, KeyCode::Char(_));
                if let (Some(line), true) = (line_of(row), is_text && mode.takes_text()) {
                    let reason = format!(
                        "{name:?} is text in {}; write ^{} or F6",
                        mode.title(),
                        name.to_uppercase().chars().next().unwrap_or('X')
                    );
                    return Err(KeyProblem { line, reason });
                }
                let Some(other) = seen.insert(name.clone(), row) else { continue };
                if let Some(line) = line_of(row).or_else(|| line_of(other)) {
                    let (one, two) = (called(other), called(row));
                    let reason = format!(
                        "{name:?} is both {one} and {two} on {}; give one of them another key",
                        mode.title()
                    );
                    return Err(KeyProblem { line, reason });
                }
            }
        }
    }
    Ok(())
}

fn called(row: &Row) -> String {
    row.name().unwrap_or_else(|| row.label.to_owned())
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyEvent, KeyModifiers};

    use super::*;

    fn change(name: &str, keys: &[&str]) -> KeyChange {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        KeyChange { name: name.to_owned(), keys }
    }

    fn refused(changes: &[KeyChange]) -> (usize, String) {
        let problem = Keymap::changed(changes).unwrap_err();
        (problem.line, problem.reason)
    }

    #[test]
    fn a_key_does_what_it_was_given_and_no_more_what_it_did() {
        let keys = [change("retry", &["t", "F6"]), change("sort", &["r"])];
        let keys = Keymap::changed(&keys).unwrap();
        let press = |code| keys.command(Mode::Queues, &KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(press(KeyCode::Char('t')), Some(Command::Retry));
        assert_eq!(press(KeyCode::F(6)), Some(Command::Retry));
        assert_eq!(press(KeyCode::Char('r')), Some(Command::Sort));
        assert_eq!(press(KeyCode::Char('s')), None);
        let footer: Vec<String> =
            keys.footer(Mode::Queues).iter().filter_map(|r| Some(r.keys.first()?.name())).collect();
        assert!(footer.contains(&"t".to_owned()), "{footer:?}");
    }

    #[test]
    fn a_conflict_names_both_and_the_line() {
        let (line, reason) = refused(&[change("sort", &["o"]), change("retry", &["p"])]);
        assert_eq!(line, 1);
        assert!(reason.contains("both retry and pause-resume on Queues"), "{reason}");
        let (_, reason) = refused(&[change("retry", &["^C"])]);
        assert!(reason.contains("quit"), "{reason}");
    }

    #[test]
    fn what_is_no_name_or_no_key_says_what_to_write() {
        let (_, reason) = refused(&[change("retrry", &["t"])]);
        assert_eq!(reason, "there is no \"retrry\"; did you mean \"retry\"?");
        let (_, reason) = refused(&[change("retry", &["Ctrl+T"])]);
        assert!(reason.contains("write j, J, ^D"), "{reason}");
        let (_, reason) = refused(&[change("editor-undo", &["z"])]);
        assert!(reason.contains("is text in Editor; write ^Z"), "{reason}");
        let (_, reason) = refused(&[change("retry", &["^M"])]);
        assert_eq!(reason.split(": ").last(), Some("a terminal sends ^M as Enter; write Enter"));
    }

    #[test]
    fn every_key_of_the_table_can_be_written_as_it_is_shown() {
        for key in TABLE.iter().flat_map(|row| row.keys) {
            assert_eq!(parse(&key.name()), Ok(*key));
        }
    }

    #[test]
    fn what_has_a_name_keeps_it() {
        insta::assert_snapshot!(Keymap::names().join("\n"));
    }
}
