//! What each screen looks like, and that no size breaks it.

use crate::admin::dto::{JournalKind, MessageState, QueueState, Revision, StreamEvent};
use crate::console::action::Action;
use crate::console::command::Mode;
use crate::console::effect::Effect;
use crate::console::fixtures::{Stage, blocked, entry, message, overview, queue};
use crate::console::model::Setup;
use crate::console::text::diff;
use crate::console::theme::Theme;

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 50)];

/// From the first screen to each of the others.
const WAYS: [(&str, &[&str]); 30] = [
    ("queues", &[]),
    ("queue", &["<Enter>"]),
    ("keys", &["<Enter>", "K"]),
    ("message", &["<Enter>", "<Enter>"]),
    ("tree", &["<Enter>", "<Enter>", "v", "G", "k", "<Enter>"]),
    ("hex", &["<Enter>", "<Enter>", "v", "v", "v"]),
    ("search", &["<Enter>", "<Enter>", "/", "total", "<Enter>", "n"]),
    ("headers", &["<Enter>", "<Enter>", "l"]),
    ("error", &["<Enter>", "<Enter>", "l", "l"]),
    ("attempts", &["<Enter>", "<Enter>", "l", "l", "l"]),
    ("history", &["<Enter>", "<Enter>", "h"]),
    ("workers", &["4"]),
    ("journal", &["5"]),
    ("events", &["6"]),
    ("topics", &["7"]),
    ("gathers", &["7", "l"]),
    ("sagas", &["7", "h"]),
    ("saga-given-up", &["7", "h", "x", "000003", "a reason"]),
    ("subscribe", &["7", "j", "a"]),
    ("unsubscribe", &["7", "j", "x", "bil"]),
    ("editor", &["<Enter>", "<Enter>", "e", "<F5>", "x"]),
    ("review", &["<Enter>", "e", "<F5>", "<End>", " ", "^s"]),
    ("cancel", &["<Enter>", "x", "0000", "<Tab>", "a reason"]),
    ("move", &["<Enter>", "m", "0000", "<Tab>", "by-hand"]),
    ("marks", &["<Enter>", " ", "j", "V", "j", "j"]),
    ("several", &["<Enter>", " ", " ", "R", "<Right>", "<Down>"]),
    ("several-looked-at", &["<Enter>", "R", "<Enter>", "17"]),
    ("several-by-jq", &["<Enter>", "V", "G", "V", "J", ".name |= ascii", "<Enter>", "<Right>"]),
    ("several-running", &["<Enter>", " ", " ", "R", "<Enter>", "2", "<Enter>"]),
    ("several-moved", &["<Enter>", " ", "m", "by-hand"]),
];

fn failing(size: (u16, u16), keys: &[&str]) -> Stage {
    let mut stage = Stage::failing(size, |_: &mut Setup| {});
    super::aside::happen(&mut stage);
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
    let mut stage = Stage::new((80, 24), |_| {});
    insta::assert_snapshot!("first-frame", stage.screen());
    stage.act(Action::Connected);
    stage.hear(StreamEvent::Overview(overview(0)));
    stage.hear(StreamEvent::Queues(Vec::new()));
    insta::assert_snapshot!("empty", stage.screen());
}

#[test]
fn queues_that_a_new_connection_does_not_name_are_gone_once_all_are_named() {
    let mut stage = Stage::failing((80, 24), |_| {});
    let reason = "no broker answers".to_owned();
    stage.act(Action::Lost { reason, failures: 1, retry_in_ms: 500, refused: false });
    stage.act(Action::Connected);
    stage.hear(StreamEvent::Queues(vec![queue("orders", QueueState::Running, 41, None)]));
    let before = stage.screen();
    stage.hear(StreamEvent::Queues(vec![queue("parcels", QueueState::Running, 3, None)]));
    stage.hear(StreamEvent::Listed);
    let after = stage.screen();
    for name in ["orders", "parcels"] {
        assert!(after.contains(name), "{after}");
    }
    assert!(before.contains("invoices"), "{before}");
    assert!(!after.contains("invoices"), "{after}");
}

#[test]
fn the_banner_is_there_while_a_queue_is_blocked() {
    let mut stage = Stage::failing((80, 24), |setup| setup.banner = Some("press Enter".into()));
    assert!(stage.screen().contains("press Enter"));
    stage.hear(StreamEvent::Queues(vec![queue("orders", QueueState::Running, 41, None)]));
    assert!(!stage.screen().contains("press Enter"));
}

#[test]
fn a_queue_whose_redis_is_away_says_so() {
    let mut stage = Stage::failing((80, 24), |_| {});
    let mut away = queue("orders", QueueState::Running, 41, None);
    away.unreachable = Some("it does not answer in time".to_owned());
    stage.hear(StreamEvent::Queues(vec![away]));
    let screen = stage.screen();
    assert!(screen.contains("Redis away: it"), "{screen}");
}

#[test]
fn the_end_of_a_journal_whose_oldest_entries_are_gone_says_so() {
    for (height, entries) in [(24, 5), (24, 60)] {
        let mut stage = Stage::failing((80, height), |_| {});
        stage.keys(&["5"]);
        let says = |stage: &Stage| stage.screen().contains("oldest entries are gone");
        let more = (8..8 + entries).map(|n| entry(n, JournalKind::Paused, "email", None, "why"));
        stage.model.journal.merge(more.collect());
        stage.keys(&["G"]);
        assert!(!says(&stage), "{}", stage.screen());
        stage.model.journal.older_removed = true;
        stage.keys(&["g", "g", "G"]);
        let screen = stage.screen();
        assert!(says(&stage) && screen.contains("queue-created"), "below the last: {screen}");
        stage.model.journal.next_before = Some(5);
        assert!(!says(&stage), "there are older ones to be read");
    }
}

#[test]
fn a_message_whose_history_was_cut_says_so() {
    let mut stage = Stage::failing((80, 24), |_| {});
    let mut view = message("orders", blocked(3), b"{}");
    view.history_cut = true;
    stage.messages.insert(("orders".into(), 3), view);
    stage.keys(&["<Enter>", "<Enter>", "h"]);
    let screen = stage.screen();
    assert!(screen.contains("there are or were older entries"), "{screen}");
}

#[test]
fn read_only_shows_which_keys_are_off_and_sends_nothing() {
    let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
    stage.keys(&["<Enter>", "<Enter>", "e", "r", "x", "p", "u"]);
    insta::assert_snapshot!("read-only", stage.screen());
    assert!(stage.effects.is_empty(), "{:?}", stage.effects);
}

#[test]
fn read_only_leaves_prompts_as_they_are() {
    let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
    stage.keys(&["/", "o", "r", "d", "<Enter>"]);
    assert_eq!(stage.model.mode(), Mode::Queues);
    assert_eq!(stage.model.queues.filter.typed(), "ord", "{}", stage.screen());
    stage.keys(&[":", "j", "o", "u", "r", "n", "a", "l", "<Enter>"]);
    assert_eq!(stage.model.mode(), Mode::Journal, "{}", stage.screen());
}

#[test]
fn ascii_and_no_colour_say_the_same_in_words() {
    let stage = Stage::failing((80, 24), |setup| setup.theme = Theme::new(false, true));
    insta::assert_snapshot!("ascii", stage.screen());
}

#[test]
fn an_ascii_terminal_gets_ascii_only() {
    let more: [&[&str]; 5] = [&[":"], &["?"], &["5"], &["<Enter>", "/", "…"], &["9", "p"]];
    for size in SIZES {
        for keys in WAYS.into_iter().map(|(_, keys)| keys).chain(more) {
            let mut stage = Stage::failing(size, |setup| setup.theme = Theme::new(false, true));
            let mut view = message("orders", blocked(3), "{\"żółw\":\"\u{1b}🐢\"}".as_bytes());
            view.summary.preview = "żółw 🐢".to_owned();
            stage.messages.insert(("orders".into(), 3), view);
            stage.keys(keys);
            assert!(stage.screen().is_ascii(), "{keys:?}\n{}", stage.screen());
            for lost in [false, true] {
                stage.act(Action::Lost {
                    reason: "brak dostępu".to_owned(),
                    failures: 3,
                    retry_in_ms: 2_000,
                    refused: lost,
                });
                assert!(stage.screen().is_ascii(), "{keys:?}\n{}", stage.screen());
            }
        }
    }
}

#[test]
fn row_1_keeps_the_drafts_while_it_reconnects() {
    let mut stage = failing((80, 24), &["<Enter>", "<Enter>", "e", "x", "<Esc>"]);
    stage.wait(400_000);
    stage.act(Action::Lost {
        reason: "gone".to_owned(),
        failures: 12,
        retry_in_ms: 15_000,
        refused: false,
    });
    let first = stage.screen().lines().next().unwrap().to_owned();
    assert!(first.contains("RECONNECTING (12") && first.ends_with("drafts 1"), "{first}");
}

#[test]
fn what_is_done_with_is_not_offered_for_repair() {
    let mut stage = failing((80, 24), &["<Enter>", "<Enter>"]);
    let view = stage.messages.get_mut(&("orders".into(), 3)).unwrap();
    view.summary.state = MessageState::Cancelled;
    stage.keys(&["^r"]);
    let screen = stage.screen();
    let rows: Vec<&str> = screen.lines().collect();
    assert_eq!(rows[21], "", "{screen}");
    for key in ["e edit", "x cancel", "r retry"] {
        assert!(!rows[23].contains(key), "{screen}");
    }
}

#[test]
fn the_palette_says_where_else_a_command_works() {
    let mut stage = failing((80, 24), &["4", ":", "pause"]);
    assert!(stage.screen().contains("pause/resume (on Queues, Queue, Message, Patterns)"));
    stage.keys(&["<Enter>"]);
    assert!(stage.screen().contains("pause/resume works on Queues"), "{}", stage.screen());
}

#[test]
fn a_change_beyond_the_edge_is_seen_before_it_is_sent() {
    let mut stage = failing((60, 15), &[]);
    let long = format!("{{\"a\":\"{}\"}}", "word ".repeat(200));
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), long.as_bytes()));
    stage.keys(&["<Enter>", "<Enter>", "e", "<End>", "<Left>", "<Left>", "HERE", "^s"]);
    let mut seen = String::new();
    for _ in 0..80 {
        seen.push_str(&stage.screen());
        stage.keys(&["j"]);
    }
    assert!(seen.contains("HERE"), "{seen}");
}

#[test]
fn a_long_difference_is_made_beside_the_keys_and_nothing_is_sent_unseen() {
    let mut stage = failing((80, 24), &[]);
    let long = format!("[{}0]", "1,\n".repeat(30_000));
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), long.as_bytes()));
    stage.keys(&["<Enter>", "<Enter>", "e", " ", "^s", "<Tab>", "<Enter>"]);
    assert_eq!(stage.repair(), None);
    assert!(stage.screen().contains("comparing"), "{}", stage.screen());
    let made = stage.effects.iter().find_map(|effect| match effect {
        Effect::Compare { request, old, new } => {
            Some((*request, diff::unified(old, new, diff::DIFF_CONTEXT)))
        }
        _ => None,
    });
    let (request, lines) = made.expect("it is asked for");
    stage.act(Action::Compared { request, lines: Ok(lines) });
    assert!(!stage.screen().contains("comparing"), "{}", stage.screen());
    stage.keys(&["<Enter>"]);
    assert!(stage.repair().is_some());
}

#[test]
fn headers_changed_meanwhile_are_named_in_the_review() {
    let mut stage = failing((80, 24), &["<Enter>", "<Enter>", "e", " "]);
    let view = stage.messages.get_mut(&("orders".into(), 3)).unwrap();
    view.header.insert("source".to_owned(), "till".into());
    view.summary.revision = Revision(1);
    stage.keys(&["^l"]);
    stage.act(Action::Connected);
    stage.serve();
    stage.keys(&["^s"]);
    let screen = stage.screen();
    assert!(screen.contains("header ~ source: \"shop\" → \"till\""), "{screen}");
}

#[test]
fn a_list_that_hides_rows_says_by_what() {
    for (screen, way) in [("1 Queues", &[][..]), ("2 Queue orders", &["<Enter>"])] {
        let mut stage = failing((80, 24), way);
        stage.keys(&["/", "ord", "<Enter>"]);
        let first = stage.screen().lines().next().unwrap_or_default().to_owned();
        assert!(first.ends_with(&format!("{screen}  /ord")), "{first}");
        stage.keys(&["<Esc>"]);
        assert!(!stage.screen().contains("/ord"));
    }
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
