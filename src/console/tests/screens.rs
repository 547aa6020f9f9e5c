//! What each screen looks like, and that no size breaks it.

use crate::admin::dto::StreamEvent;
use crate::console::action::Action;
use crate::console::fixtures::{Stage, overview};
use crate::console::model::Setup;
use crate::console::theme::Theme;

const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (200, 50)];

/// From the first screen to each of the others.
const WAYS: [(&str, &[&str]); 12] = [
    ("queues", &[]),
    ("queue", &["<Enter>"]),
    ("message", &["<Enter>", "<Enter>"]),
    ("headers", &["<Enter>", "<Enter>", "l"]),
    ("error", &["<Enter>", "<Enter>", "l", "l"]),
    ("attempts", &["<Enter>", "<Enter>", "l", "l", "l"]),
    ("history", &["<Enter>", "<Enter>", "h"]),
    ("workers", &["4"]),
    ("journal", &["5"]),
    ("editor", &["<Enter>", "<Enter>", "e", "<F5>", "x"]),
    ("review", &["<Enter>", "e", "<F5>", "<End>", " ", "^s"]),
    ("cancel", &["<Enter>", "x", "0000", "<Tab>", "a reason"]),
];

fn failing(size: (u16, u16), keys: &[&str]) -> Stage {
    let mut stage = Stage::failing(size, |_: &mut Setup| {});
    stage.keys(keys);
    stage
}

#[test]
fn each_screen_while_a_queue_is_blocked() {
    for size in SIZES {
        for (name, keys) in WAYS {
            let name = format!("{name}-{}x{}", size.0, size.1);
            insta::assert_snapshot!(name, failing(size, keys).screen());
        }
    }
}

#[test]
fn the_connection_states_are_told_apart_and_the_data_stays() {
    let mut stage = failing((80, 24), &[]);
    stage.wait(400);
    insta::assert_snapshot!("live", stage.screen());
    stage.wait(5_000);
    insta::assert_snapshot!("stale", stage.screen());
    let lost = |refused| Action::Lost {
        reason: "no broker answers at unix:/run/mubroker/admin.sock".to_owned(),
        failures: 3,
        retry_in_ms: 2_000,
        refused,
    };
    stage.act(lost(false));
    stage.keys(&["p"]);
    insta::assert_snapshot!("reconnecting", stage.screen());
    stage.act(lost(true));
    insta::assert_snapshot!("refused", stage.screen());
}

#[test]
fn an_empty_broker_says_what_to_type_next() {
    let mut stage = Stage::new((80, 24), |setup| setup.banner = Some("demo: press Enter".into()));
    insta::assert_snapshot!("first-frame", stage.screen());
    stage.act(Action::Connected);
    stage.hear(StreamEvent::Overview(overview(0)));
    stage.hear(StreamEvent::Queues(Vec::new()));
    insta::assert_snapshot!("empty", stage.screen());
}

#[test]
fn read_only_shows_which_keys_are_off_and_sends_nothing() {
    let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
    stage.keys(&["<Enter>", "<Enter>", "e", "r", "x", "p", "u"]);
    insta::assert_snapshot!("read-only", stage.screen());
    assert!(stage.effects.is_empty(), "{:?}", stage.effects);
}

#[test]
fn ascii_and_no_colour_say_the_same_in_words() {
    let mut stage = Stage::failing((80, 24), |setup| setup.theme = Theme::new(false, true));
    insta::assert_snapshot!("ascii", stage.screen());
    stage.keys(&[":"]);
    assert!(stage.screen().is_ascii(), "{}", stage.screen());
}

#[test]
fn the_help_and_the_palette() {
    insta::assert_snapshot!("help", failing((80, 24), &["?"]).screen());
    insta::assert_snapshot!("palette", failing((80, 24), &[":", "ord"]).screen());
}

#[test]
fn no_size_breaks_any_screen() {
    for (_, keys) in WAYS {
        let mut stage = failing((80, 24), keys);
        for height in 1..=30 {
            for width in 1..=90 {
                stage.act(Action::Resize { width, height });
                stage.screen();
            }
        }
    }
}

#[test]
fn nothing_from_a_peer_reaches_the_terminal_as_control() {
    for (name, keys) in WAYS {
        let screen = failing((200, 50), keys).screen();
        let bad = screen.chars().find(|&c| {
            (c.is_control() && c != '\n')
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
        });
        assert_eq!(bad, None, "in {name}");
    }
}
