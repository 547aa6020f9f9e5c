//! The palette, keys of the operator's own, the mouse.

use crossterm::event::KeyCode;

use crate::console::action::{Action, Pointed};
use crate::console::command::Screen;
use crate::console::fixtures::{Stage, id};
use crate::console::keymap::{KeyChange, Keymap};

fn failing(keys: &[&str]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(keys);
    stage
}

#[test]
fn the_palette_goes_to_a_message_by_its_id_or_its_place() {
    let message = |stage: &Stage| {
        stage.model.message.as_ref().map(|screen| screen.message.to_string()).unwrap_or_default()
    };
    let stage = failing(&["<Enter>", "<Esc>", ":", "000000000007", "<Enter>"]);
    assert_eq!(message(&stage), "orders #7", "one that was read");
    let stage = failing(&[":", "orders 9", "<Enter>"]);
    assert_eq!(message(&stage), "orders #9");
    let all = id(11).to_string();
    let stage = failing(&[":", &all, "<Enter>"]);
    assert_eq!((stage.model.screen, message(&stage).as_str()), (Screen::Message, "orders #11"));
}

#[test]
fn the_palette_has_every_action_and_says_what_it_does() {
    let stage = failing(&[":", "dead"]);
    let screen = stage.screen();
    assert!(screen.contains("dead-letter (on Queue, Message)"), "{screen}");
    let stage = failing(&[":", "sort", "<Enter>"]);
    assert!(stage.screen().contains("by name"), "{}", stage.screen());
    let stage = failing(&[":", "evts", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Events);
}

#[test]
fn changed_keys_are_in_the_footer_the_help_and_the_palette() {
    let keys = vec![KeyChange { name: "pause-resume".to_owned(), keys: vec!["z".to_owned()] }];
    let keys = Keymap::changed(&keys).unwrap();
    let mut stage = Stage::failing((80, 24), |setup| setup.keys = keys);
    assert!(stage.screen().contains("z pause"), "{}", stage.screen());
    stage.keys(&[":", "pause"]);
    assert!(
        stage.screen().lines().any(|line| line.contains("pause/resume") && line.contains(" z "))
    );
    stage.keys(&["<Esc>", "z"]);
    assert!(!stage.screen().contains("z pause") || stage.model.acts.last.is_some());
    let help = crate::console::help::lines(keys, crate::console::command::Mode::Queues, false, 80);
    assert!(help.iter().any(|(_, line)| line.starts_with("  z ")), "{help:?}");
}

#[test]
fn the_wheel_moves_and_a_click_selects_and_opens_nothing() {
    let mut stage = failing(&["<Enter>"]);
    let point = |stage: &mut Stage, what, x, y| {
        stage.act(Action::Pointed { what, x, y });
        stage.serve();
    };
    let at = |stage: &Stage| stage.model.queue.as_ref().unwrap().selected().unwrap().seq.0;
    point(&mut stage, Pointed::Down, 5, 10);
    assert_eq!(at(&stage), 6);
    point(&mut stage, Pointed::Up, 5, 10);
    assert_eq!(at(&stage), 3);
    // Row 1 are the heads, row 2 the first message.
    point(&mut stage, Pointed::Click, 5, 4);
    assert_eq!((at(&stage), stage.model.screen), (5, Screen::Queue));
    for (x, y) in [(0, 0), (79, 23), (5, 1), (200, 200)] {
        point(&mut stage, Pointed::Click, x, y);
        assert_eq!(at(&stage), 5);
    }
    stage.keys(&["e"]);
    let before = stage.screen();
    point(&mut stage, Pointed::Click, 5, 5);
    assert_eq!(stage.screen(), before, "the editor has the keys");
}

#[test]
fn a_click_on_another_pane_goes_there() {
    let mut stage = Stage::failing((200, 50), |_| {});
    stage.act(Action::Pointed { what: Pointed::Click, x: 160, y: 19 });
    assert_eq!(stage.model.screen, Screen::Workers);
    assert_eq!(stage.model.workers.cursor.at, 1);
}

#[test]
fn escape_is_a_key_like_others() {
    let keys = vec![KeyChange { name: "back".to_owned(), keys: vec!["b".to_owned()] }];
    let keys = Keymap::changed(&keys).unwrap();
    let mut stage = Stage::failing((80, 24), |setup| setup.keys = keys);
    stage.keys(&["<Enter>"]);
    stage.key(crossterm::event::KeyEvent::from(KeyCode::Esc));
    assert_eq!(stage.model.screen, Screen::Queue);
    stage.keys(&["b"]);
    assert_eq!(stage.model.screen, Screen::Queues);
}
