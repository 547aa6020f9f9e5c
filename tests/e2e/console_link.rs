//! The console over a link that is slow, stands still or breaks, and over a broker's restart: what is typed stays, and a repair is
//! done once.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::harness::{Broker, How, Link, Running, Terminal, now};

const SIZE: (u16, u16) = (80, 24);
const ENTER: &str = "\r";
const TAB: &str = "\t";
const END: &str = "\x1b[F";
const LEFT: &str = "\x1b[D";
const CTRL_S: &str = "\x13";
const BAD: &str = r#"{"n":1,"amount":"bad"}"#;
/// A worker that refuses what doesn't say that it was mended.
const WORK: &str = r#"payload=$(cat); case $payload in *mended*) printf '%s\n' "$payload" >> "$0";; *) echo "not mended" >&2; exit 3;; esac"#;
/// A blocked message in its list: its state, its attempts, its revision.
const ROW: &str = "blocked     1   0";
/// One way of the slow link.
const DELAY: Duration = Duration::from_millis(300);
/// From `q` to the end of the process; the console's bar is 200 ms, this machine may be busy.
const QUIT_TIME: Duration = Duration::from_secs(2);

struct Scene {
    broker: Broker,
    link: Link,
    terminal: Terminal,
    _worker: Running,
}

/// A console over a link, in the editor of a message that blocks its queue, with something typed.
fn editing() -> Scene {
    // On sockets, so that the worker finds it after a restart.
    let mut broker = Broker::start_on_sockets("");
    broker.run(&["send", "--queue", "invoices"], BAD.as_bytes());
    let worker = broker.worker(WORK);
    broker.until("the queue is blocked", |broker| {
        broker.queue("invoices").filter(|queue| queue["state"] == "blocked")
    });
    let link = Link::start(&broker.folder().join("link"), &broker.data_dir());
    let data = [("MUBROKER_DATA_DIR", link.folder().to_str().expect("a plain path"))];
    let mut terminal = Terminal::start(SIZE, broker.folder(), &["console"], &data);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text(ROW);
    terminal.keys("e");
    terminal.wait_for_text("JSON ok");
    terminal.keys(END);
    terminal.keys(LEFT);
    terminal.keys(r#","mended":1"#);
    terminal.wait_for_text(r#""mended":1}"#);
    Scene { broker, link, terminal, _worker: worker }
}

impl Scene {
    fn retry(&mut self) {
        self.terminal.keys(CTRL_S);
        self.terminal.wait_for_text("Retry with this");
        self.terminal.keys(TAB);
        self.terminal.keys(ENTER);
    }

    /// The message was done once, with one repair in the journal.
    fn is_mended_once(&mut self) {
        self.broker.until("the queue is empty", |broker| {
            broker.queue("invoices").filter(|queue| queue["depth"] == 0)
        });
        let done = std::fs::read_to_string(self.broker.folder().join("done.txt"));
        assert_eq!(done.expect("the worker's file").lines().count(), 1);
        let journal = self.broker.get("/v1/journal").expect("the journal");
        let entries = journal["entries"].as_array().expect("entries");
        let repairs = entries.iter().filter(|entry| entry["kind"] == "saved-and-retried").count();
        assert_eq!(repairs, 1, "{journal}");
    }

    fn quit(mut self) {
        let asked = now();
        self.terminal.keys("q");
        assert!(self.terminal.end().success());
        assert!(asked.elapsed() < QUIT_TIME, "{:?}", asked.elapsed());
    }
}

#[test]
fn over_a_link_of_300_ms_keys_are_typed_at_once_and_the_repair_is_done() {
    let mut scene = editing();
    scene.link.set(How::Delayed(DELAY));
    let began = now();
    for n in 1..=8 {
        scene.terminal.keys(" ");
        scene.terminal.wait_for_text(&format!("\"mended\":1{}}}", " ".repeat(n)));
    }
    // Eight round trips would take eight times as long as one.
    let one = DELAY * 2;
    assert!(began.elapsed() < one * 4, "{:?}", began.elapsed());
    scene.retry();
    scene.terminal.wait_for_text("HEAD ADVANCED");
    scene.is_mended_once();
    scene.quit();
}

#[test]
fn a_link_that_stands_still_takes_nothing_that_was_typed_and_q_still_quits() {
    let mut scene = editing();
    scene.link.set(How::Frozen);
    scene.terminal.wait_for_text("STALE");
    scene.terminal.keys("  ");
    scene.terminal.wait_for_text(r#""mended":1  }"#);
    scene.terminal.wait_for_text("RECONNECTING");
    scene.link.set(How::Passes);
    scene.terminal.wait_for_text("live");
    scene.retry();
    scene.terminal.wait_for_text("HEAD ADVANCED");
    scene.is_mended_once();
    scene.link.set(How::Frozen);
    scene.terminal.wait_for_text("STALE");
    scene.quit();
}

#[test]
fn a_repair_whose_answer_was_lost_is_unknown_then_known_and_done_once() {
    let mut scene = editing();
    scene.terminal.keys(CTRL_S);
    scene.terminal.wait_for_text("Retry with this");
    scene.terminal.keys(TAB);
    scene.link.set(How::AnswersFrozen);
    scene.terminal.keys(ENTER);
    scene.broker.until("the broker has done it", |broker| {
        broker.queue("invoices").filter(|queue| queue["depth"] == 0)
    });
    scene.link.set(How::Broken);
    scene.terminal.wait_for_text("UNKNOWN");
    scene.link.set(How::Passes);
    scene.terminal.wait_for_text("HEAD ADVANCED");
    scene.is_mended_once();
    scene.quit();
}

#[test]
fn a_broker_that_is_killed_under_an_edit_gets_it_when_it_is_back() {
    let mut scene = editing();
    scene.broker.restart(Signal::SIGKILL);
    scene.terminal.wait_for_text(r#""mended":1}"#);
    scene.terminal.keys(" ");
    scene.terminal.wait_for_text(r#""mended":1 }"#);
    scene.terminal.wait_for_text("live");
    scene.terminal.wait_for_text("held: no automatic retry");
    scene.retry();
    scene.terminal.wait_for_text("HEAD ADVANCED");
    scene.is_mended_once();
    scene.quit();
}

#[test]
fn a_change_of_several_goes_on_while_the_link_is_broken_and_is_told_when_it_is_back() {
    let settings =
        "[queues.\"invoices\"]\nordering = \"none\"\n[queues.\"invoices\".retry]\nattempts = 1\n";
    let mut broker = Broker::start(settings);
    let lines = format!("{BAD}\n").repeat(6);
    broker.run(&["send", "--queue", "invoices", "--lines"], lines.as_bytes());
    let link = Link::start(&broker.folder().join("link"), &broker.data_dir());
    let data = [("MUBROKER_DATA_DIR", link.folder().to_str().expect("a plain path"))];
    let mut terminal = Terminal::start(SIZE, broker.folder(), &["console"], &data);
    terminal.wait_for_text("invoices");
    terminal.keys(ENTER);
    terminal.wait_for_text("ready       0   0");
    terminal.keys("V");
    terminal.keys("G");
    terminal.keys("V");
    terminal.wait_for_text("marked 6");
    terminal.keys("x");
    terminal.wait_for_text("[cancel]");
    terminal.keys("test data");
    terminal.keys(TAB);
    terminal.keys("\x7f\x7f\x7f");
    terminal.keys("2");
    terminal.keys(ENTER);
    terminal.wait_for_text("6 would be done, 0 can't be");
    terminal.keys("6");
    terminal.keys(ENTER);
    terminal.wait_for_text("2 of 6 tried");
    link.set(How::Broken);
    terminal.wait_for_text("the broker goes on by itself");
    broker.until("all are cancelled", |broker| {
        broker.queue("invoices").filter(|queue| queue["depth"] == 0)
    });
    link.set(How::Passes);
    terminal.wait_for_text("done, 6 of 6 done, 0 refused");
    terminal.keys("q");
    assert!(terminal.end().success());
}
