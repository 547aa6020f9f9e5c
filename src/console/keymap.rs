//! The key table: every key is one row. The footer, the help, the palette and the README's table are
//! made from it, so a key can't be in one and missing in another.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::command::{Command, Mode, Screen};

mod remap;

pub use remap::{KeyChange, KeyProblem};

/// A key as it is pressed. Shift is in the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

impl Key {
    /// The key's name: `j`, `^D`, `PgDn`.
    pub fn name(self) -> String {
        match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => format!("^{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::BackTab => "S-Tab".to_owned(),
            KeyCode::F(n) => format!("F{n}"),
            other => other.to_string(),
        }
    }

    fn is(self, event: &KeyEvent) -> bool {
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        let code = match event.code {
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        !alt && self.ctrl == ctrl && self.code == code
    }
}

const fn key(code: KeyCode) -> Key {
    Key { code, ctrl: false }
}
const fn ch(c: char) -> Key {
    key(KeyCode::Char(c))
}
const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: true }
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it works.
    pub modes: &'static [Mode],
    /// Any of these.
    pub keys: &'static [Key],
    /// What it does.
    pub command: Command,
    /// One or two words for the footer and the palette.
    pub label: &'static str,
    /// A sentence for the help.
    pub help: &'static str,
    /// It changes something at the broker: off when read-only or not connected.
    pub changes: bool,
    /// Place in the footer: the lowest comes first; 0 is not shown there.
    pub footer: u8,
}

const BROWSE: &[Mode] = &[
    Mode::Queues,
    Mode::Queue,
    Mode::Message,
    Mode::Workers,
    Mode::Journal,
    Mode::Events,
    Mode::Patterns,
];
const SCROLL: &[Mode] = &[
    Mode::Queues,
    Mode::Queue,
    Mode::Message,
    Mode::Workers,
    Mode::Journal,
    Mode::Events,
    Mode::Patterns,
    Mode::Review,
    Mode::Difference,
    Mode::Bulk,
    Mode::Help,
];
const LISTS: &[Mode] =
    &[Mode::Queues, Mode::Queue, Mode::Workers, Mode::Journal, Mode::Events, Mode::Patterns];
const ON_MESSAGE: &[Mode] = &[Mode::Queue, Mode::Message];
const ON_QUEUE: &[Mode] = &[Mode::Queues, Mode::Queue, Mode::Message];
/// Where there may be a queue under the cursor.
const QUEUES_TOO: &[Mode] = &[Mode::Queues, Mode::Queue, Mode::Message, Mode::Patterns];
const ACTS: &[Mode] = &[Mode::Queues, Mode::Queue, Mode::Message];
const SEVERAL: &[Mode] = &[Mode::Many, Mode::Agree];
const PROMPTS: &[Mode] = &[Mode::Filter, Mode::Palette, Mode::Leave, Mode::Find, Mode::File];
const TYPING: &[Mode] =
    &[Mode::Filter, Mode::Palette, Mode::Leave, Mode::Find, Mode::File, Mode::Many, Mode::Agree];
const NOT_TYPING: &[Mode] = &[
    Mode::Queues,
    Mode::Queue,
    Mode::Message,
    Mode::Workers,
    Mode::Journal,
    Mode::Events,
    Mode::Patterns,
    Mode::Difference,
];
const QUITTING: &[Mode] = &[
    Mode::Queues,
    Mode::Queue,
    Mode::Message,
    Mode::Workers,
    Mode::Journal,
    Mode::Events,
    Mode::Patterns,
    Mode::Review,
    Mode::Difference,
    Mode::Bulk,
];
const EVERYWHERE: &[Mode] = &Mode::ALL;

macro_rules! rows {
    ($($modes:expr, [$($key:expr),*], $command:expr, $label:literal, $help:literal, $changes:literal, $footer:literal;)*) => {
        &[$(Row {
            modes: $modes, keys: &[$($key),*], command: $command, label: $label, help: $help,
            changes: $changes, footer: $footer,
        }),*]
    };
}

/// The table. Columns: modes, keys, command, label, help, changes something, place in the footer.
pub const TABLE: &[Row] = rows! {
    &[Mode::Quit], [ch('y'), key(KeyCode::Enter)], Command::Accept, "quit", "Quit; the draft is kept.", false, 1;
    &[Mode::Quit], [ch('n'), key(KeyCode::Esc)], Command::Dismiss, "stay", "Stay.", false, 2;
    &[Mode::Review], [key(KeyCode::Enter)], Command::Accept, "press the button", "Press the chosen button.", false, 1;
    &[Mode::Review], [key(KeyCode::Tab), key(KeyCode::Right)], Command::NextField, "next button", "Choose the next button: Back, Retry with this, Save only.", false, 2;
    &[Mode::Review], [key(KeyCode::BackTab), key(KeyCode::Left)], Command::Left, "previous button", "Choose the button before.", false, 0;
    &[Mode::Review, Mode::Difference, Mode::Help], [key(KeyCode::Esc)], Command::Dismiss, "back", "Close this.", false, 3;
    &[Mode::Difference], [ch('d')], Command::NextField, "compare with the other", "From the original instead of the revision before, and back.", false, 1;
    &[Mode::Difference], [key(KeyCode::Left), ch('h')], Command::Left, "older on the left", "An older revision on the left side.", false, 2;
    &[Mode::Difference], [key(KeyCode::Right), ch('l')], Command::Right, "newer on the left", "A newer revision on the left side.", false, 0;
    &[Mode::Difference], [ch('[')], Command::NewerBefore, "older on the right", "An older revision on the right side.", false, 4;
    &[Mode::Difference], [ch(']')], Command::NewerAfter, "newer on the right", "A newer revision on the right side.", false, 0;
    &[Mode::Help], [ch('?'), ch('q')], Command::Dismiss, "back", "Close this.", false, 0;
    &[Mode::Find], [key(KeyCode::Enter)], Command::Accept, "find", "Go to the next place that has it.", false, 1;
    &[Mode::Filter], [key(KeyCode::Enter)], Command::Accept, "keep", "Keep the filter; a leading ! shows what does not match.", false, 1;
    &[Mode::Palette], [key(KeyCode::Enter)], Command::Accept, "do it", "Do what is chosen.", false, 1;
    &[Mode::Leave], [key(KeyCode::Enter)], Command::Accept, "do it", "Do it, once the short id and what else is needed are typed.", true, 1;
    &[Mode::File], [key(KeyCode::Enter)], Command::Accept, "use this file", "Write to, or read from, the file that is typed.", false, 1;
    &[Mode::Palette], [key(KeyCode::Down), ctrl('n')], Command::Down, "down", "The next entry.", false, 3;
    &[Mode::Palette], [key(KeyCode::Up), ctrl('p')], Command::Up, "up", "The entry before.", false, 4;
    &[Mode::Leave], [key(KeyCode::Tab)], Command::NextField, "next field", "Between the short id, the queue and the reason.", false, 2;
    &[Mode::Many], [key(KeyCode::Enter)], Command::Accept, "look", "Look at what would be done to each; nothing is changed by it.", false, 1;
    &[Mode::Many], [key(KeyCode::Tab)], Command::NextField, "next line", "Between the lines that are typed.", false, 3;
    &[Mode::Many], [key(KeyCode::Right)], Command::Right, "what", "What is done: retry, cancel, dead-letter, move, or a jq expression.", false, 4;
    &[Mode::Many], [key(KeyCode::Left)], Command::Left, "what before", "The same, backwards.", false, 0;
    &[Mode::Agree], [key(KeyCode::Enter)], Command::Accept, "do it", "Do it, once the number of messages is typed.", true, 1;
    &[Mode::Agree], [key(KeyCode::Right)], Command::Right, "next difference", "The next message's difference.", false, 3;
    &[Mode::Agree], [key(KeyCode::Left)], Command::Left, "difference before", "The difference of the message before.", false, 0;
    SEVERAL, [key(KeyCode::Down), ctrl('n')], Command::Down, "down", "The next choice, or the next row.", false, 5;
    SEVERAL, [key(KeyCode::Up), ctrl('p')], Command::Up, "up", "The one before.", false, 6;
    SEVERAL, [key(KeyCode::PageDown)], Command::PageDown, "page down", "Some rows down.", false, 0;
    SEVERAL, [key(KeyCode::PageUp)], Command::PageUp, "page up", "Some rows up.", false, 0;
    SEVERAL, [key(KeyCode::Esc)], Command::Dismiss, "never mind", "One step back; nothing is done.", false, 2;
    &[Mode::Bulk], [ch('s')], Command::StopMany, "stop", "Begin nothing more; what is done stays.", false, 1;
    &[Mode::Bulk], [ch('r')], Command::GoOn, "go on", "Go on with those that were not tried; nothing is done twice.", true, 3;
    &[Mode::Bulk], [ch('f')], Command::FailedOnly, "failed only", "List only what failed, or all.", false, 4;
    &[Mode::Bulk], [ch('o')], Command::SaveFailed, "save what failed", "Write what failed into a new file, one JSON object a line.", false, 5;
    &[Mode::Bulk], [key(KeyCode::Esc)], Command::Dismiss, "close", "Close this; what runs goes on.", false, 2;
    TYPING, [ctrl('u')], Command::ClearLine, "clear", "Empty the line that is typed.", false, 0;
    PROMPTS, [key(KeyCode::Esc)], Command::Dismiss, "never mind", "Close this; nothing is done.", false, 2;
    &[Mode::Editor], [ctrl('s')], Command::Review, "review", "Show the difference, then choose: retry with this, save only, or back.", false, 1;
    &[Mode::Editor], [key(KeyCode::Esc)], Command::Back, "back", "Back to the message; the draft stays.", false, 2;
    &[Mode::Editor], [ctrl('u')], Command::EditUndo, "undo", "Undo the last change.", false, 3;
    &[Mode::Editor], [ctrl('r')], Command::EditRedo, "redo", "Do it again.", false, 4;
    &[Mode::Editor], [key(KeyCode::F(5))], Command::Format, "format", "Indent the JSON, token by token: numbers, order and duplicates stay as they are.", false, 5;
    &[Mode::Editor], [ctrl('f')], Command::Find, "find", "Find text.", false, 6;
    &[Mode::Editor], [ctrl('o')], Command::EditOutside, "outside", "Go on in your own editor ($VISUAL or $EDITOR), and come back here.", false, 8;
    &[Mode::Editor], [key(KeyCode::F(3))], Command::FindNext, "find next", "The next place that has it.", false, 0;
    &[Mode::Editor], [key(KeyCode::F(4))], Command::GoToFault, "to the fault", "Go to where the JSON is broken.", false, 7;
    &[Mode::Editor], [key(KeyCode::F(8))], Command::Discard, "discard", "The message as the broker has it, in the draft's place; again: the draft.", false, 0;
    SCROLL, [ch('j'), key(KeyCode::Down)], Command::Down, "down", "One row down.", false, 0;
    SCROLL, [ch('k'), key(KeyCode::Up)], Command::Up, "up", "One row up.", false, 0;
    SCROLL, [ch('g'), key(KeyCode::Home)], Command::Top, "first", "To the first row.", false, 0;
    SCROLL, [ch('G'), key(KeyCode::End)], Command::Bottom, "last", "To the last row.", false, 0;
    SCROLL, [ctrl('d')], Command::HalfDown, "half down", "Half a page down.", false, 0;
    SCROLL, [ctrl('u')], Command::HalfUp, "half up", "Half a page up.", false, 0;
    SCROLL, [key(KeyCode::PageDown)], Command::PageDown, "page down", "A page down.", false, 0;
    SCROLL, [key(KeyCode::PageUp)], Command::PageUp, "page up", "A page up.", false, 0;
    &[Mode::Message], [key(KeyCode::Right), ch('l')], Command::Right, "next tab", "The next of Body, Headers, Error, Attempts, History.", false, 0;
    &[Mode::Message], [key(KeyCode::Left), ch('h')], Command::Left, "previous tab", "The tab before.", false, 0;
    &[Mode::Message], [ch('v')], Command::BodyForm, "tree/raw/hex", "The payload indented, as a tree, as it is, or in hex.", false, 11;
    &[Mode::Message], [key(KeyCode::Enter), ch(' ')], Command::Fold, "fold", "Fold a branch of the tree, or unfold it.", false, 0;
    &[Mode::Message], [ch('f')], Command::FoldAll, "fold all", "Fold all branches of the tree, or unfold them.", false, 0;
    &[Mode::Message], [ch('/')], Command::Find, "search", "Search the payload.", false, 9;
    &[Mode::Message], [ch('n'), key(KeyCode::F(3))], Command::FindNext, "find next", "The next place that has it.", false, 0;
    &[Mode::Message], [ch('N')], Command::FindBefore, "find before", "The place before that has it.", false, 0;
    &[Mode::Patterns], [ch('l'), key(KeyCode::Right)], Command::Right, "next tab", "The next of Topics, Gathers, Sagas.", false, 2;
    &[Mode::Patterns], [ch('h'), key(KeyCode::Left)], Command::Left, "previous tab", "The tab before.", false, 0;
    LISTS, [key(KeyCode::Enter)], Command::Enter, "open", "Into what is selected.", false, 1;
    ON_MESSAGE, [ch('e')], Command::Edit, "edit", "Edit the payload here: the message's own bytes. No automatic retry fires meanwhile.", true, 2;
    ON_MESSAGE, [ch('E')], Command::EditOutside, "edit outside", "Edit the payload in your own editor ($VISUAL or $EDITOR); nothing is sent before the review.", true, 0;
    ACTS, [ch('r')], Command::Retry, "retry", "Retry the message as it is; on Queues, the blocked head.", true, 3;
    ON_QUEUE, [ch('R')], Command::RetryMany, "several", "Retry several: the marked ones, all that are blocked, or a group of errors; also cancel, dead-letter, move.", true, 6;
    ON_QUEUE, [ch('J')], Command::EditMany, "several by jq", "Change several by a jq expression: their differences first, then their number.", true, 0;
    ON_QUEUE, [ch('L')], Command::LastMany, "last results", "What came of each message of the last change of several.", false, 0;
    &[Mode::Patterns], [ch('r')], Command::RetrySaga, "retry saga", "Let a parked saga try again the compensation that failed.", true, 3;
    &[Mode::Patterns], [ch('S')], Command::SkipSaga, "skip", "Let a parked saga go on as if that had been done: type its short id and a reason.", true, 4;
    &[Mode::Patterns], [ch('x')], Command::EndPattern, "abort/unsubscribe", "Abort the saga: type its short id and a reason; or take the subscription back: type its queue's name.", true, 5;
    &[Mode::Patterns], [ch('a')], Command::Subscribe, "subscribe", "Give a queue a topic's events: type the queue and, if you like, a filter; on a subscription, change its filter.", true, 6;
    &[Mode::Queue], [ch(' ')], Command::Mark, "mark", "Mark the message, or take its mark away; cancel, dead-letter and move are then for the marked ones.", false, 15;
    &[Mode::Queue], [ch('V')], Command::MarkRange, "mark a range", "Begin a range at the cursor; again: mark what is in it.", false, 16;
    &[Mode::Queue], [ch('U')], Command::Unmark, "unmark all", "Take all marks away.", false, 0;
    QUEUES_TOO, [ch('p')], Command::PauseResume, "pause/resume", "Stop or go on delivering from the queue; on Patterns, from the subscription's.", true, 6;
    ON_MESSAGE, [ch('x')], Command::Cancel, "cancel", "Take the message out: type its short id and a reason.", true, 5;
    ON_MESSAGE, [ch('D')], Command::DeadLetter, "dead-letter", "Send the message to the dead-letter queue: type its short id.", true, 0;
    ON_MESSAGE, [ch('m')], Command::Move, "move", "Send the message to another queue, or a dead letter back to its own: type its short id and the queue.", true, 0;
    QUEUES_TOO, [ch('u')], Command::Undo, "undo", "Undo the last act, while that is still true.", true, 4;
    &[Mode::Message], [ch('d')], Command::Difference, "difference", "What changed since the original or the revision before.", false, 7;
    BROWSE, [key(KeyCode::Esc), key(KeyCode::Backspace)], Command::Back, "back", "Back to where you came from; on a list first clears the filter.", false, 8;
    BROWSE, [key(KeyCode::Tab)], Command::NextPane, "next pane", "The next pane, or the next tab of a message.", false, 14;
    LISTS, [ch('/')], Command::Filter, "filter", "Show only rows that have a text; a leading ! those that don't.", false, 9;
    &[Mode::Queues], [ch('s')], Command::Sort, "sort", "Blocked first, by name, by depth, by age, by rate, and round again; the title says which.", false, 9;
    &[Mode::Queue], [ch('K')], Command::Keys, "order keys", "The order keys that stand and how much waits behind each, and back to the messages.", false, 7;
    NOT_TYPING, [ch(':')], Command::Palette, "palette", "Every command, queue, draft and message id, by some letters.", false, 11;
    BROWSE, [ch('?'), key(KeyCode::F(1))], Command::Help, "help", "All keys.", false, 10;
    EVERYWHERE, [ctrl('c')], Command::Quit, "quit", "Quit; asks once if an edit is open. A draft is kept.", false, 0;
    QUITTING, [ch('q')], Command::Quit, "quit", "Quit at once; asks only if an edit is open.", false, 12;
    BROWSE, [ch('1')], Command::Go(Screen::Queues), "queues", "All queues, blocked first.", false, 0;
    BROWSE, [ch('2')], Command::Go(Screen::Queue), "queue", "The selected queue's messages.", false, 0;
    BROWSE, [ch('3')], Command::Go(Screen::Message), "message", "The selected message.", false, 0;
    BROWSE, [ch('4'), ch('w')], Command::Go(Screen::Workers), "workers", "All workers.", false, 0;
    BROWSE, [ch('5'), ch('A')], Command::Go(Screen::Journal), "journal", "Who did what, when and why.", false, 0;
    BROWSE, [ch('6')], Command::Go(Screen::Events), "events", "What happens, as it happens; the list stands still while the cursor isn't on its last row.", false, 0;
    BROWSE, [ch('7')], Command::Go(Screen::Patterns), "patterns", "Topics with subscriptions, gathers with progress, sagas with their steps.", false, 0;
    QUEUES_TOO, [ch('y')], Command::Copy, "copy", "Copy through the terminal (OSC 52): the payload, or the row's name or id.", false, 13;
    &[Mode::Message], [], Command::SavePayload, "save the payload to a file", "Write the payload's own bytes into a new file.", false, 0;
    &[Mode::Message], [], Command::ReplacePayload, "replace the payload from a file", "Read a file into the editor; nothing is sent before the review.", true, 0;
    &[Mode::Message], [], Command::SaveDraft, "save the draft to a file", "Write what was typed for the message into a new file; the draft stays.", false, 0;
    &[Mode::Message], [], Command::ThrowDraftAway, "throw the draft away", "Remove what was typed for the message, for good: type its place.", true, 0;
    NOT_TYPING, [ctrl('r')], Command::Refresh, "refresh", "Read again what is shown.", false, 0;
    EVERYWHERE, [ctrl('l')], Command::Redraw, "redraw", "Draw the whole screen again.", false, 0;
    EVERYWHERE, [ctrl('z')], Command::Suspend, "suspend", "Give the terminal back to the shell; fg returns.", false, 0;
};

/// The rows as they count in this console: the table's, or with keys of the operator's own.
#[derive(Debug, Clone, Copy)]
pub struct Keymap(&'static [Row]);

impl Default for Keymap {
    fn default() -> Self {
        Self(TABLE)
    }
}

impl Keymap {
    /// What `event` means in `mode`.
    pub fn command(self, mode: Mode, event: &KeyEvent) -> Option<Command> {
        self.0
            .iter()
            .find(|row| row.modes.contains(&mode) && row.keys.iter().any(|key| key.is(event)))
            .map(|row| row.command)
    }

    /// The footer's rows in `mode`, the most wanted first.
    pub fn footer(self, mode: Mode) -> Vec<&'static Row> {
        let mut rows: Vec<&Row> =
            self.0.iter().filter(|row| row.footer > 0 && row.modes.contains(&mode)).collect();
        rows.sort_by_key(|row| row.footer);
        rows
    }

    /// The key that does `command` in `mode`, by its name; of several the first.
    pub fn key_of(self, mode: Mode, command: Command) -> Option<String> {
        let mut rows = self.0.iter();
        let row = rows.find(|row| row.command == command && row.modes.contains(&mode))?;
        Some(row.keys.first()?.name())
    }

    /// A hint with the name of that key in the place of `{}`; empty where the command has no key.
    pub fn hint(self, mode: Mode, command: Command, text: &str) -> String {
        self.key_of(mode, command).map_or(String::new(), |key| text.replacen("{}", &key, 1))
    }

    /// Every key's row by where it works, as the help lists them: the rows under each mode's title.
    pub fn in_mode(self, mode: Mode) -> impl Iterator<Item = &'static Row> {
        self.0.iter().filter(move |row| row.modes.contains(&mode) && !row.keys.is_empty())
    }

    /// The rows that the palette offers on a screen: all that can be done there but moving about.
    pub fn palette(self, mode: Mode) -> impl Iterator<Item = &'static Row> {
        self.0.iter().filter(move |row| row.modes.contains(&mode) && !row.command.is_motion())
    }

    /// What the palette finds of other screens, to say where it works.
    pub fn elsewhere(self, mode: Mode) -> impl Iterator<Item = &'static Row> {
        self.0.iter().filter(move |row| {
            !row.modes.contains(&mode)
                && !row.command.is_motion()
                && row.modes.iter().any(|mode| BROWSE.contains(mode) || *mode == Mode::Editor)
        })
    }
}

/// Whether `command` changes something at the broker, where it works in `mode`; else, where it works at all.
pub fn changes(mode: Mode, command: Command) -> bool {
    let mut rows = TABLE.iter().filter(|row| row.command == command);
    match rows.clone().find(|row| row.modes.contains(&mode)) {
        Some(row) => row.changes,
        None => rows.any(|row| row.changes),
    }
}

/// Where a row works, in words.
pub fn places(row: &Row) -> String {
    row.modes.iter().map(|mode| mode.title()).collect::<Vec<_>>().join(", ")
}

/// The README's key table, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| key | where | what it does |\n|---|---|---|\n");
    for row in TABLE.iter().filter(|row| !row.keys.is_empty()) {
        let keys: Vec<String> =
            row.keys.iter().map(|key| format!("`{}`", key.name().replace('|', "\\|"))).collect();
        let place = if row.modes == EVERYWHERE {
            "everywhere".to_owned()
        } else if row.modes == BROWSE {
            "every screen".to_owned()
        } else {
            places(row)
        };
        text.push_str(&format!("| {} | {place} | {} |\n", keys.join(" "), row.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_means_one_thing_in_a_mode() {
        for mode in Mode::ALL {
            let mut seen = BTreeSet::new();
            for row in TABLE.iter().filter(|row| row.modes.contains(&mode)) {
                for key in row.keys {
                    assert!(seen.insert(key.name()), "{} twice in {mode:?}", key.name());
                }
            }
        }
    }

    #[test]
    fn plain_letters_are_text_where_text_is_typed() {
        for mode in Mode::ALL.into_iter().filter(|mode| mode.takes_text()) {
            for letter in ('a'..='z').chain('A'..='Z').chain('0'..='9') {
                let event = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE);
                assert_eq!(Keymap::default().command(mode, &event), None, "{letter} in {mode:?}");
            }
        }
    }

    #[test]
    fn every_mode_can_be_left_and_every_screen_can_quit() {
        for mode in Mode::ALL {
            let esc = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
            let keys = Keymap::default();
            assert!(keys.command(mode, &esc).is_some(), "Esc in {mode:?}");
            let quit = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(keys.command(mode, &quit), Some(Command::Quit));
        }
    }

    #[test]
    fn the_key_table_is_the_documented_one() {
        insta::assert_snapshot!(markdown());
    }
}
