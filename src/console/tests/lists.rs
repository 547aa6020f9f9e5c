//! Queues sorted, a convoy by its keys, workers with their pools.

use crate::admin::dto::{PoolState, QueueState, StreamEvent};
use crate::console::command::Screen;
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, pool, queue};

fn names(stage: &Stage) -> Vec<String> {
    stage.model.queues.shown().map(|row| row.view.name.to_string()).collect()
}

#[test]
fn queues_are_sorted_as_the_title_says_and_the_cursor_stays_with_its_queue() {
    let mut stage = Stage::failing((80, 24), |_| {});
    assert_eq!(names(&stage), ["orders", "email", "invoices"]);
    stage.keys(&["j"]);
    for (title, order) in [
        ("by name", ["email", "invoices", "orders"]),
        ("by depth", ["invoices", "orders", "email"]),
        ("by age", ["invoices", "orders", "email"]),
        ("by rate", ["email", "invoices", "orders"]),
    ] {
        stage.keys(&["s"]);
        assert_eq!(names(&stage), order, "{title}");
        let first = stage.screen().lines().next().unwrap_or_default().to_owned();
        assert!(first.ends_with(&format!("1 Queues {title}")), "{first}");
        assert_eq!(stage.model.selected_queue().map(|q| q.to_string()).as_deref(), Some("email"));
    }
    stage.keys(&["s"]);
    assert_eq!(names(&stage), ["orders", "email", "invoices"]);
    stage.hear(StreamEvent::Queues(vec![queue("email", QueueState::Paused, 0, None)]));
    stage.hear(StreamEvent::Queues(vec![queue("orders", QueueState::Running, 0, None)]));
    assert_eq!(names(&stage), ["email", "invoices", "orders"], "what changes finds its place");
}

#[test]
fn the_keys_of_a_convoy_lead_to_the_messages_that_hold_them() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "K"]);
    let screen = stage.screen();
    assert!(
        screen.contains("6 order keys stand, 120 messages wait behind them, 7 not"),
        "{screen}"
    );
    assert!(!screen.contains("x cancel") && screen.contains("r retry"), "{screen}");
    stage.keys(&["j", "<Enter>"]);
    let message = stage.model.message.as_ref().map(|screen| screen.message.to_string());
    assert_eq!((stage.model.screen, message.as_deref()), (Screen::Message, Some("orders #4")));
    stage.keys(&["<Esc>", "<Esc>"]);
    assert!(stage.screen().contains("TRY"), "Esc goes back to the messages: {}", stage.screen());
    stage.keys(&["1", "j", "<Enter>", "K"]);
    assert!(stage.screen().contains("no order keys"), "{}", stage.screen());
}

#[test]
fn enter_is_typed_ahead_of_the_messages_unless_one_goes_elsewhere() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.press(&["<Enter>", "<Enter>"]);
    assert_eq!(stage.model.screen, Screen::Queue);
    stage.serve();
    assert_eq!(stage.model.screen, Screen::Message);
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.press(&["<Enter>", "<Enter>", "<Esc>"]);
    stage.serve();
    assert_eq!(stage.model.screen, Screen::Queues);
}

#[test]
fn a_key_is_retried_by_the_message_that_holds_it() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "K", "r"]);
    assert!(stage.repair().is_some(), "{}", stage.screen());
    stage.effects.clear();
    stage.press(&["x", "^r"]);
    assert!(stage.screen().contains("reading again"), "{}", stage.screen());
    let asks = |effect: &Effect| matches!(effect, Effect::Ask(_, Request::Keys { .. }));
    assert!(stage.effects.iter().any(asks), "{:?}", stage.effects);
}

#[test]
fn a_pool_that_was_given_up_stands_above_the_workers() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["4"]);
    let screen = stage.screen();
    assert!(screen.contains("1 of 2 wait to be started again, 4 restarts"), "{screen}");
    assert!(screen.contains("pool connector: 4 restarts"), "{screen}");
    stage.model.workers.pools = vec![pool(PoolState::GivenUp)];
    let screen = stage.screen();
    assert!(screen.contains("mubroker worker restart connector"), "{screen}");
}
