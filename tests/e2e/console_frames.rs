//! How often the console draws: sixty times a second at most, whatever comes, and only what has changed.

use std::time::Duration;

use super::harness::{Broker, Terminal, now};

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(16);

/// Draws while `happens` does: more than none, and no more than the time it took has room for.
fn counted(terminal: &mut Terminal, what: &str, happens: impl FnOnce(&mut Terminal)) {
    let (before, began) = (terminal.frames(), now());
    happens(terminal);
    // One may have begun before, one is at each end.
    let most = u64::try_from(began.elapsed().as_millis() / FRAME.as_millis()).expect("some") + 2;
    let drawn = terminal.frames() - before;
    assert!((1..=most).contains(&drawn), "{what}: {drawn} frames, {most} at most");
}

#[test]
fn a_flood_of_keys_and_of_the_brokers_words_draws_sixty_frames_a_second_at_most() {
    let mut broker = Broker::start("[queues.\"invoices\"]\nordering = \"none\"\n");
    for number in 0..50 {
        broker.run(&["send", "--queue", "invoices"], format!("{{\"n\":{number}}}").as_bytes());
    }
    broker.until("they wait", |broker| broker.queue("invoices").filter(|q| q["depth"] == 50));
    let data = broker.data_dir();
    let environment = [("MUBROKER_DATA_DIR", data.to_str().expect("a plain path"))];
    let mut terminal = Terminal::start((80, 24), broker.folder(), &["console"], &environment);
    terminal.wait_for_text("invoices");
    terminal.keys("\r");
    terminal.wait_for_text("ready");
    counted(&mut terminal, "keys", |terminal| {
        // As many at a time as a terminal keeps for a program that is slow to read.
        for _ in 0..10 {
            terminal.keys(&"jjkkjkGgjk".repeat(30));
            terminal.keys("/no such text");
            terminal.wait_for_text("filter /no such text");
            terminal.keys("\x1b");
            terminal
                .wait_for("the filter is gone", |screen| !screen.contents().contains("/no such"));
        }
    });
    terminal.keys("6");
    terminal.wait_for_text("6 Events");
    // Each message is refused, and each refusal is an event.
    let worker = broker.worker("cat >/dev/null; echo no >&2; exit 3");
    counted(&mut terminal, "events", |terminal| {
        broker.until("all are refused", |broker| {
            broker.queue("invoices").filter(|queue| queue["blocked"] == 50)
        });
        terminal.wait_for_text("invoices #50");
    });
    drop(worker);
    terminal.keys("q");
    assert!(terminal.end().success());
}
