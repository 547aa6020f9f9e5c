//! What must be seen whole whatever the size, and what must not be said any longer.

use crate::admin::dto::{Ordering, QueueState, StreamEvent};
use crate::console::command::Screen;
use crate::console::fixtures::{Stage, blocked, head, message, queue};

fn failing(size: (u16, u16), keys: &[&str]) -> Stage {
    let mut stage = Stage::failing(size, |_| {});
    stage.keys(keys);
    stage
}

fn outcome(stage: &Stage) -> String {
    stage.screen().lines().nth(22).unwrap_or_default().to_owned()
}

#[test]
fn a_wide_terminal_has_every_column_of_a_smaller_one() {
    for (key, heads) in [
        ("1", &["DONE PER SEC", "DONE/S", "OLDEST"][..]),
        ("4", &["TRY", "HEARD", "ACKED", "FAILED", "RESTARTS", "SERVES", "PID"]),
        ("5", &["TIME UTC", "WHAT", "WHO", "VIA", "REV", "WHY"]),
    ] {
        let screen = failing((200, 50), &[key]).screen();
        let main: String =
            screen.lines().map(|row| row.chars().take(120).collect::<String>() + "\n").collect();
        for head in heads {
            assert!(main.contains(head), "{head} in\n{screen}");
        }
    }
    let stage = failing((200, 50), &["6"]);
    assert!(stage.screen().contains("gathers, alerts."), "{}", stage.screen());
    let review = failing((200, 50), &["<Enter>", "<Enter>", "e", " ", "^s"]);
    assert!(review.screen().lines().nth(4).unwrap_or_default().matches('│').count() >= 2);
}

#[test]
fn workers_are_told_apart_by_what_they_serve() {
    let screen = failing((80, 24), &["4"]).screen();
    for seen in ["RESTARTS", "SERVES", "orders +1"] {
        assert!(screen.contains(seen), "{seen} in\n{screen}");
    }
}

#[test]
fn what_to_type_is_seen_whole_in_60_columns() {
    let banner = "DEMO: invoices is blocked: Enter Enter e, mend the field, ^S Tab Enter";
    let stage = Stage::failing((60, 15), |setup| setup.banner = Some(banner.to_owned()));
    let seen = |screen: String| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(seen(stage.screen()).contains(banner), "{}", stage.screen());
    let screen = failing((60, 15), &["6"]).screen();
    assert!(
        seen(screen.clone())
            .contains("What comes here: blocked and repaired messages, failed attempts,")
    );
    assert!(seen(screen.clone()).contains("sagas, gathers, alerts."), "{screen}");
    let mut stage = failing((60, 15), &["<Enter>", "<Enter>", "e", "x", "<Esc>"]);
    stage.keys(&["4"]);
    let first = stage.screen().lines().next().unwrap_or_default().to_owned();
    assert!(first.contains("drafts 1") && first.contains("4 "), "{first}");
}

#[test]
fn a_queue_that_runs_beside_blocked_messages_says_so() {
    let mut stage = failing((80, 24), &[]);
    let mut free = queue("free", QueueState::Running, 300, Some(head(&blocked(3))));
    (free.blocked, free.settings.ordering) = (300, Ordering::None);
    stage.hear(StreamEvent::Queues(vec![free]));
    let screen = stage.screen();
    assert!(screen.contains("BLOCKED 2 queues"), "{screen}");
    let row = screen.lines().find(|row| row.contains(" free ")).unwrap_or_default();
    assert!(row.starts_with("▲ running") && row.contains("300 blocked: #3"), "{row}");
}

#[test]
fn no_hidden_queue_is_opened_or_acted_on() {
    let mut stage = failing((80, 24), &["<Enter>", "<Esc>", "/", "qqqq", "<Enter>"]);
    for key in ["<Enter>", "r", "p"] {
        stage.keys(&[key]);
        assert_eq!(stage.model.screen, Screen::Queues);
        assert_eq!(outcome(&stage), "nothing that was read passes the filter; Esc clears it");
    }
    stage.keys(&["<Esc>", "<Enter>", "<Enter>", "<Esc>", "/", "qqqq", "<Enter>", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Queue, "{}", stage.screen());
}

#[test]
fn a_word_goes_with_what_it_was_about() {
    let mut stage = failing((80, 24), &["3"]);
    assert!(outcome(&stage).contains("choose a message first"), "{}", stage.screen());
    stage.keys(&["4"]);
    assert_eq!(outcome(&stage), "");
    // An act's outcome stays.
    stage.keys(&["1", "j", "r", "4"]);
    assert!(outcome(&stage).contains("NOT DONE"), "{}", stage.screen());
    stage.keys(&["7", "g", "<Enter>"]);
    assert!(outcome(&stage).contains("its subscriptions are below"), "{}", stage.screen());
    stage.keys(&["j"]);
    assert_eq!(outcome(&stage), "");
    let mut stage = failing((80, 24), &["<Enter>", "<Enter>", "e", "{", "^s"]);
    assert!(outcome(&stage).contains("mend it first"), "{}", stage.screen());
    stage.keys(&["<Backspace>", " ", "^s"]);
    assert!(
        stage.screen().contains("REVIEW") && !outcome(&stage).contains("mend it"),
        "{}",
        stage.screen()
    );
}

#[test]
fn a_line_is_emptied_and_what_it_began_with_is_typed_over() {
    let mut stage = failing((80, 24), &["/", "abc", "^u", "ord", "<Enter>"]);
    assert_eq!(stage.model.queues.filter.typed(), "ord");
    stage.keys(&[":", "wor", "^u", "jour", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Journal);
    let mut stage = failing((80, 24), &["<Enter>", "R", "<Tab>", "20"]);
    let rate = |stage: &Stage| stage.model.many.campaign.as_ref().unwrap().form.rate().unwrap();
    assert_eq!(rate(&stage), Some(20), "{}", stage.screen());
    stage.keys(&["^u", "1000"]);
    assert_eq!(rate(&stage), Some(1_000));
}

#[test]
fn a_range_is_told_how_to_go_on_while_it_is_marked() {
    let stage = failing((80, 24), &["<Enter>", "V", "j"]);
    assert!(outcome(&stage).contains("other end"), "{}", stage.screen());
}

#[test]
fn what_does_nothing_says_so_or_is_not_offered() {
    let mut stage = failing((80, 24), &[]);
    let bytes = message("orders", blocked(3), b"\xff\xfe");
    stage.messages.insert(("orders".into(), 3), bytes);
    stage.keys(&["<Enter>", "<Enter>"]);
    assert!(!stage.screen().contains("tree/raw/hex"), "{}", stage.screen());
    stage.keys(&["v"]);
    assert!(outcome(&stage).contains("hex is its only form"), "{}", stage.screen());
    stage.keys(&["e"]);
    assert!(!stage.screen().contains("F5 format"), "{}", stage.screen());
}
