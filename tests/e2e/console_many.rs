//! Several messages at once, and two operators: the real binary in a pseudo-terminal.

use std::os::unix::fs::PermissionsExt as _;

use super::harness::{Broker, Running, Terminal};

const SIZE: (u16, u16) = (80, 24);
const ENTER: &str = "\r";
const TAB: &str = "\t";
const RIGHT: &str = "\x1b[C";
const END: &str = "\x1b[F";
const CTRL_S: &str = "\x13";
/// A blocked message in its list: its state, its attempts, its revision.
pub(super) const ROW: &str = "blocked     1   0";
/// Messages that the worker refuses.
const BAD: usize = 12;
/// Each blocked message is set aside, the others go on.
const SETTINGS: &str =
    "[queues.\"invoices\"]\nordering = \"none\"\n[queues.\"invoices\".retry]\nattempts = 1\n";
/// A worker that refuses an amount in quotes, and says the number of what it refuses.
const WORK: &str = r#"payload=$(cat); case $payload in *'amount":"'*) echo "$payload: no number" >&2; exit 3;; esac; printf '%s\n' "$payload" >> "$0""#;

fn bad(number: usize) -> String {
    format!(r#"{{"n":{number},"price":1.10,"amount":"{number},50"}}"#)
}

/// A broker with `BAD` blocked messages.
pub(super) fn blocked() -> (Broker, Running) {
    let mut broker = Broker::start(SETTINGS);
    for number in 1..=BAD {
        broker.run(&["send", "--queue", "invoices"], bad(number).as_bytes());
    }
    let worker = broker.worker(WORK);
    broker.until("all are blocked", |broker| {
        broker.queue("invoices").filter(|queue| queue["blocked"] == BAD)
    });
    (broker, worker)
}

pub(super) fn console(broker: &Broker, more: &[(&str, &str)]) -> Terminal {
    let data = broker.data_dir();
    let mut environment = vec![("MUBROKER_DATA_DIR", data.to_str().expect("a plain path"))];
    environment.extend(more);
    Terminal::start(SIZE, broker.folder(), &["console"], &environment)
}

#[test]
fn all_that_are_blocked_are_mended_by_one_expression_after_their_number_was_typed() {
    let (mut broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text(ROW);
    terminal.keys("J");
    terminal.wait_for_text("[jq, save and retry]");
    // One group: the numbers are taken out, what is quoted too.
    terminal.wait_for_text("exit-3");
    terminal.keys(r#".amount |= (gsub(",";".")|tonumber)"#);
    terminal.keys(ENTER);
    terminal.wait_for_text("12 would be done, 0 can't be");
    terminal.wait_for_text("difference 1 of 12");
    terminal.keys(RIGHT);
    terminal.wait_for_text("difference 2 of 12");
    terminal.keys(ENTER);
    terminal.wait_for_text("type 12 to do it");
    terminal.keys("12");
    terminal.keys(ENTER);
    terminal.wait_for_text("done, 12 of 12 done, 0 refused");
    broker.until("the queue is empty", |broker| {
        broker.queue("invoices").filter(|queue| queue["depth"] == 0)
    });
    terminal.keys("q");
    assert!(terminal.end().success());
    let done =
        std::fs::read_to_string(broker.folder().join("done.txt")).expect("the worker's file");
    let mut done: Vec<&str> = done.lines().collect();
    done.sort_unstable();
    let mut expected: Vec<String> =
        (1..=BAD).map(|n| format!(r#"{{"n":{n},"price":1.10,"amount":{n}.50}}"#)).collect();
    expected.sort();
    assert_eq!(done, expected, "what was not asked for keeps its bytes");
}

#[test]
fn what_changed_since_it_was_counted_is_left_alone_told_and_saved_to_a_file() {
    let (broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text(ROW);
    terminal.keys("  "); // The first two are marked.
    terminal.wait_for_text("marked 2");
    terminal.keys("x");
    terminal.wait_for_text("[cancel]");
    terminal.keys("test data");
    terminal.keys(ENTER);
    terminal.wait_for_text("2 would be done, 0 can't be");
    let edit = ["message", "edit", "invoices", "1", "--file", "-", "--yes"];
    broker.run(&edit, br#"{"n":1,"amount":"other"}"#);
    terminal.keys("2");
    terminal.keys(ENTER);
    terminal.wait_for_text("done, 1 of 2 done, 1 refused");
    terminal.wait_for_text("the message changed");
    terminal.keys("o");
    terminal.keys("failed.jsonl");
    terminal.keys(ENTER);
    terminal.wait_for_text("bytes written to failed.jsonl");
    let path = broker.folder().join("failed.jsonl");
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let saved = std::fs::read_to_string(&path).expect("the file");
    assert!(saved.contains(r#""seq":1"#) && saved.lines().count() == 1, "{saved}");
    terminal.keys("o");
    terminal.keys("failed.jsonl");
    terminal.keys(ENTER);
    terminal.wait_for_text("the file was not written");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), saved, "nothing is overwritten");
    // The cancelled one comes back by its number.
    terminal.keys("\x1b");
    terminal.wait_for_text("u undo");
    terminal.wait_for_text("marked 1");
    terminal.keys("u");
    terminal.wait_for_text("type 1 to restore them");
    terminal.keys("1");
    terminal.keys(ENTER);
    terminal.wait_for_text("done, 1 of 1 done");
    assert_eq!(broker.queue("invoices").expect("the queue")["blocked"], BAD);
    terminal.keys("q");
    assert!(terminal.end().success());
}

#[test]
fn of_two_operators_one_wins_and_the_other_keeps_the_draft_and_sees_both_texts() {
    let (broker, _worker) = blocked();
    let mut both = [console(&broker, &[]), console(&broker, &[])];
    for (terminal, typed) in both.iter_mut().zip([",\"by\":\"ann\"", ",\"by\":\"bob\""]) {
        terminal.wait_for_text("BLOCKED 1");
        terminal.keys(ENTER);
        terminal.wait_for_text(ROW);
        terminal.keys("e");
        terminal.wait_for_text("JSON ok");
        terminal.keys(END);
        terminal.keys("\x1b[D");
        terminal.keys(typed);
        terminal.wait_for_text(&typed[1..]);
    }
    let [ann, bob] = &mut both;
    ann.keys(CTRL_S);
    ann.wait_for_text("Save only");
    ann.keys(TAB);
    ann.keys(TAB);
    ann.keys(ENTER);
    ann.wait_for_text("revision 1 is the newest");
    // It has been read again, too.
    bob.wait_for_text("saved revision 1");
    bob.keys(CTRL_S);
    bob.wait_for_text("CHANGED MEANWHILE");
    bob.wait_for("both texts", |screen| {
        let shown = screen.contents();
        shown.contains("ann") && shown.contains("bob")
    });
    bob.keys(ENTER); // Back: the draft is still there.
    bob.wait_for_text("\"by\":\"bob\"}");
    for terminal in &mut both {
        terminal.keys("\x03");
    }
    both[1].keys("y");
    for terminal in &mut both {
        assert!(terminal.end().success());
    }
}

#[test]
fn edits_that_miss_the_schema_are_refused_before_anything_is_done() {
    let (broker, _worker) = blocked();
    let schema = r#"schema={"properties":{"amount":{"type":"number"}}}"#;
    broker.run(&["queue", "set", "invoices", schema], b"");
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text(ROW);
    terminal.keys("J");
    terminal.wait_for_text("exit-3");
    terminal.keys(r#".amount = "x""#);
    terminal.keys(ENTER);
    terminal.wait_for_text("0 would be done, 12 can't be");
    terminal.wait_for_text("misses the schema at /amount");
    terminal.keys("q");
    drop(terminal);
    assert_eq!(broker.queue("invoices").expect("the queue")["blocked"], BAD);
}
