//! Keys of the operator's own: every hint names the key that works, none the one that did.

use std::collections::BTreeSet;

use crate::admin::dto::{JournalKind, Notice, Revision, StreamEvent, told};
use crate::console::action::{Action, Failure, Reply};
use crate::console::command::{Command, Mode, Screen};
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, blocked, entry, message, name};
use crate::console::keymap::{KeyChange, Keymap, TABLE};
use crate::console::model::Setup;

/// Keys that take no letter away from a text: no terminal sends most of them.
const OF_THE_EDITOR: [&str; 12] =
    ["^A", "^B", "^E", "^G", "^K", "^N", "^P", "^Q", "^T", "^V", "^W", "^X"];

/// Another key for everything that can have one; letters that stand nowhere else.
fn other_keys() -> Keymap {
    let mut letters = ('\u{410}'..='\u{44f}').chain('\u{531}'..='\u{556}');
    let mut chords = OF_THE_EDITOR.into_iter();
    let change = |name: String| {
        let typed = name.starts_with("editor-") || name == "redraw" || name == "suspend";
        let key = match typed {
            true => chords.next().expect("enough of them").to_owned(),
            false => letters.next().expect("enough of them").to_string(),
        };
        KeyChange { name, keys: vec![key] }
    };
    let changes: Vec<KeyChange> = Keymap::names().into_iter().map(change).collect();
    Keymap::changed(&changes).expect("no two are the same")
}

/// No key for anything that can do without.
fn no_keys() -> Keymap {
    let change = |name| KeyChange { name, keys: Vec::new() };
    let changes: Vec<KeyChange> = Keymap::names().into_iter().map(change).collect();
    Keymap::changed(&changes).expect("nothing is both")
}

/// The names of keys that do nothing any more in a mode.
fn gone(mode: Mode, keys: Keymap) -> BTreeSet<String> {
    let of = |rows: &mut dyn Iterator<Item = &crate::console::keymap::Row>| {
        rows.flat_map(|row| row.keys).map(|key| key.name()).collect::<BTreeSet<String>>()
    };
    let now = of(&mut keys.in_mode(mode));
    // Some keep their keys whatever is configured.
    &of(&mut TABLE.iter().filter(|row| row.name().is_some())) - &now
}

/// Words that look like keys: the screens' digits stand among what is counted, too, and are looked for in brackets.
fn named(text: &str, gone: &BTreeSet<String>) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || ";,.:()".contains(c));
    // That is an article, too.
    let is_article = |word: &str| word.eq_ignore_ascii_case("a");
    let is_number = |word: &str| word.chars().all(|c| c.is_numeric());
    let words = words.filter(|word| gone.contains(*word) && !is_number(word) && !is_article(word));
    let digits = gone.iter().filter(|key| text.contains(&format!("({key})")));
    words.map(str::to_owned).chain(digits.cloned()).collect()
}

/// Where one gets to by keys as they are in the table.
const WAYS: [&[&str]; 36] = [
    &[],
    &["<Esc>"],
    &["3"],
    &["?"],
    &[":"],
    &[":", "pau"],
    &["/", "nothing has this", "<Enter>"],
    &["4", "/", "nothing has this", "<Enter>"],
    &["5", "/", "nothing has this", "<Enter>"],
    &["6", "/", "nothing has this", "<Enter>"],
    &["6", "k"],
    &["7", "/", "nothing has this", "<Enter>"],
    &["7", "<Enter>"],
    &["7", "l"],
    &["7", "h"],
    &["7", "h", "x"],
    &["7", "a"],
    &["p"],
    &["<Enter>"],
    &["<Enter>", "/", "nothing has this", "<Enter>"],
    &["<Enter>", "V"],
    &["<Enter>", "K"],
    &["<Enter>", "K", " "],
    &["<Enter>", "K", "/", "nothing has this", "<Enter>"],
    &["<Enter>", "K", "x"],
    &["<Enter>", "x"],
    &["<Enter>", "R"],
    &["<Enter>", "R", "<Enter>"],
    &["<Enter>", "<Enter>"],
    &["<Enter>", "<Enter>", "v"],
    &["<Enter>", "<Enter>", "e"],
    &["<Enter>", "<Enter>", "e", "{"],
    &["<Enter>", "<Enter>", "e", "{", "<F8>"],
    &["<Enter>", "<Enter>", "e", " ", "<Esc>"],
    &["<Enter>", "<Enter>", "e", " ", "<Esc>", "e"],
    &["<Enter>", "<Enter>", "e", " ", "^s"],
];

/// Answers what is asked for, but no reads of these.
fn fail(stage: &mut Stage, is: fn(&Request) -> bool) {
    let asked = stage.effects.iter().filter_map(|effect| match effect {
        Effect::Ask(id, request) if is(request) => Some(*id),
        _ => None,
    });
    for request in asked.collect::<Vec<_>>() {
        let reply = Err(Failure::NotSent("nobody there".to_owned()));
        stage.act(Action::Reply { request, reply });
    }
    stage.serve();
}

/// What keys alone don't lead to.
fn more(keys: Keymap, size: (u16, u16)) -> Vec<Stage> {
    let stage = |way: &[&str]| {
        let mut stage = Stage::failing(size, |setup: &mut Setup| setup.keys = keys);
        stage.hands = Keymap::default();
        super::aside::happen(&mut stage);
        stage.keys(way);
        stage
    };
    let mut all = vec![Stage::new(size, |setup| setup.keys = keys)];
    for way in [&["5"][..], &["7"], &["<Enter>"], &["<Enter>", "K"]] {
        let mut unread = Stage::failing(size, |setup| setup.keys = keys);
        unread.hands = Keymap::default();
        let (last, before) = way.split_last().expect("a way");
        unread.keys(before);
        unread.press(&[*last]);
        fail(&mut unread, |request| {
            matches!(
                request,
                Request::Journal { .. }
                    | Request::Patterns(_)
                    | Request::Page { .. }
                    | Request::Keys { .. }
            )
        });
        all.push(unread);
    }
    let mut missed = stage(&["6"]);
    missed.hear(StreamEvent::Lagged { missed: 7 });
    all.push(missed);
    // Somebody else saves while it is edited here; then it is compared, while it is being read again.
    let mut changed = stage(&["<Enter>", "<Enter>", "e", " "]);
    let mut saved = entry(9, JournalKind::Saved, "orders", Some(3), "why");
    saved.revision = Some(Revision(1));
    changed.hear(told(Notice::Journal { entry: saved }));
    all.push(changed);
    let mut outdated = stage(&["<Enter>", "<Enter>", "e", " "]);
    if let Some(screen) = &mut outdated.model.message {
        screen.outdated = true;
    }
    outdated.act(Action::Do(Command::Review));
    all.push(outdated);
    let mut binary = stage(&[]);
    binary.messages.insert(("orders".into(), 3), message("orders", blocked(3), b"\xff"));
    binary.keys(&["<Enter>", "<Enter>", "e"]);
    all.push(binary);
    let mut cancelled = stage(&["<Enter>", "x", "000003", "why", "<Enter>"]);
    let (request, sent) = cancelled.repair().expect("it was sent");
    let outcome = crate::admin::dto::RepairOutcome {
        key: sent.key,
        queue: name("orders"),
        seq: crate::admin::dto::Seq(3),
        id: crate::console::fixtures::id(3),
        revision: Revision(0),
        state: crate::admin::dto::MessageState::Cancelled,
        moved: None,
        journal: 8,
        repeated: false,
    };
    cancelled.act(Action::Reply { request, reply: Ok(Reply::Repaired(outcome)) });
    all.push(cancelled);
    all
}

fn check(keys: Keymap) {
    for size in [(80, 24), (200, 50)] {
        let ways = WAYS.iter().map(|way| {
            let mut stage = Stage::failing(size, |setup: &mut Setup| setup.keys = keys);
            stage.hands = Keymap::default();
            super::aside::happen(&mut stage);
            stage.keys(way);
            stage
        });
        for stage in ways.chain(more(keys, size)) {
            let screen = stage.screen();
            // On wide screens several screens stand side by side, and the help has all modes: what works in one is named.
            let modes = match stage.model.mode() {
                Mode::Help => Mode::ALL.to_vec(),
                mode => Screen::ALL.map(Screen::mode).into_iter().chain([mode]).collect(),
            };
            let modes = modes.into_iter();
            let gone = modes.map(|mode| gone(mode, keys)).reduce(|a, b| &a & &b);
            let gone = gone.expect("there are screens");
            let found = named(&screen, &gone);
            assert!(found.is_empty(), "{found:?} in\n{screen}");
        }
    }
}

#[test]
fn no_hint_names_a_key_that_was_given_away() {
    check(other_keys());
}

#[test]
fn of_a_command_without_a_key_no_hint_is_given() {
    check(no_keys());
}

#[test]
fn a_hint_names_the_key_that_works() {
    let keys = other_keys();
    let is_there = |way: &[&str], mode, command| {
        let mut stage = Stage::failing((80, 60), |setup: &mut Setup| setup.keys = keys);
        stage.hands = Keymap::default();
        stage.keys(way);
        let (screen, key) = (stage.screen(), keys.key_of(mode, command).expect("it has one"));
        assert!(screen.contains(&key), "{key} for {command:?}\n{screen}");
    };
    is_there(&["/", "nothing has this", "<Enter>"], Mode::Queues, Command::Back);
    is_there(&["<Enter>", "<Enter>", "e", "{"], Mode::Editor, Command::GoToFault);
    is_there(&["<Enter>", "<Enter>", "e", " ", "<Esc>"], Mode::Message, Command::Edit);
    is_there(&["p"], Mode::Queues, Command::PauseResume);
    is_there(&["?"], Mode::Editor, Command::Review);
}
