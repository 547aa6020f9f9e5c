//! The console as an operator meets it: the real binary in a pseudo-terminal of 80x24, real keys.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vt100::Screen;

use super::harness::{Broker, Running, Terminal, now};

const SIZE: (u16, u16) = (80, 24);
const END: &str = "\x1b[F";
const LEFT: &str = "\x1b[D";
const BACKSPACE: &str = "\x7f";
const TAB: &str = "\t";
const ENTER: &str = "\r";
const CTRL_S: &str = "\x13";
/// The message that the worker refuses, and what it takes.
const BAD: &str = r#"{"z":1,"price":1.10,"id":12345678901234567890123,"amount":"12,50"}"#;
const FIXED: &str = r#"{"z":1,"price":1.10,"id":12345678901234567890123,"amount":12.50}"#;
/// A worker that refuses an amount in quotes and keeps what it took.
const WORK: &str = r#"payload=$(cat); case $payload in *'amount":"'*) echo "amount is not a number" >&2; exit 3;; esac; printf '%s\n' "$payload" >> "$0""#;
/// What an idle console may draw, in bytes a second.
const IDLE_BYTES: u64 = 1024;
/// How long that is looked at.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// Ports that nobody else has.
const ANY_PORTS: [(&str, &str); 2] = [
    ("MUBROKER_LISTEN__CLIENTS", "tcp://127.0.0.1:0"),
    ("MUBROKER_LISTEN__WORKERS", "tcp://127.0.0.1:0"),
];
/// From the start of the process to something on the screen.
const FIRST_FRAME: Duration = Duration::from_millis(100);
/// From `q` to the end of the process; the console's bar is 200 ms, this machine may be busy.
const QUIT_TIME: Duration = Duration::from_secs(2);

/// A broker whose queue `invoices` is blocked at its second message, two more behind it.
fn blocked() -> (Broker, Running) {
    let mut broker = Broker::start("");
    for payload in [r#"{"amount":1}"#, BAD, r#"{"amount":3}"#, r#"{"amount":4}"#] {
        broker.run(&["send", "--queue", "invoices"], payload.as_bytes());
    }
    let worker = broker.worker(WORK);
    broker.until("the queue is blocked", |broker| {
        broker.queue("invoices").filter(|queue| queue["state"] == "blocked")
    });
    (broker, worker)
}

fn console(broker: &Broker, more: &[&str]) -> Terminal {
    let data = broker.data_dir();
    let mut arguments = vec!["console"];
    arguments.extend(more);
    let data = [("MUBROKER_DATA_DIR", data.to_str().expect("a plain path"))];
    Terminal::start(SIZE, broker.folder(), &arguments, &data)
}

fn row(screen: &Screen, number: u16) -> String {
    screen.rows(0, SIZE.0).nth(usize::from(number)).unwrap_or_default()
}

/// The terminal is as a shell wants it.
fn assert_given_back(terminal: &Terminal, settings: &str) {
    assert_eq!(terminal.settings(), settings, "stty -a differs");
    terminal.wait_for("the main screen with a cursor", |screen| {
        !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
    });
}

#[test]
fn a_blocked_queue_is_repaired_by_keys_and_its_head_advances() {
    let (mut broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.wait_for("the worker's error", |screen| {
        screen.contents().contains("amount is not a number")
    });
    assert!(terminal.screen(|screen| row(screen, 0).starts_with("mubroker")));

    terminal.keys(ENTER); // into the queue
    terminal.wait_for_text("blocked     1   0"); // its row, with attempts and revision
    terminal.keys(ENTER); // the blocked head
    terminal.wait_for_text("3 Message");
    terminal.wait_for_text("\"12,50\"");
    terminal.keys("e");
    terminal.wait_for_text("JSON ok");
    terminal.keys(END);
    terminal.keys(LEFT);
    terminal.keys(&BACKSPACE.repeat("\"12,50\"".len()));
    terminal.keys("12.50");
    terminal.wait_for_text("\"amount\":12.50}");
    terminal.keys(CTRL_S);
    terminal.wait_for_text("Retry with this");
    terminal.wait_for_text("wait behind it");
    terminal.keys(TAB); // the focus is on Back
    terminal.keys(ENTER);
    terminal.wait_for_text("HEAD ADVANCED");
    broker.until("the queue is empty", |broker| {
        broker.queue("invoices").filter(|queue| queue["depth"] == 0)
    });
    terminal.keys("q");
    assert!(terminal.end().success());

    let done =
        std::fs::read_to_string(broker.folder().join("done.txt")).expect("the worker's file");
    let expected = [r#"{"amount":1}"#, FIXED, r#"{"amount":3}"#, r#"{"amount":4}"#];
    assert_eq!(done.lines().collect::<Vec<_>>(), expected);
    let journal = broker.get("/v1/journal").expect("the journal");
    let kinds: Vec<&Value> = journal["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["seq"] == 2)
        .map(|entry| &entry["kind"])
        .collect();
    assert_eq!(kinds, ["saved-and-retried", "blocked"]);
    assert!(broker.stop().success());
}

#[test]
fn a_megabyte_is_pasted_and_the_next_key_is_typed_at_once() {
    let (broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text("blocked     1   0");
    terminal.keys("e");
    terminal.wait_for_text("JSON ok");
    let line = format!("{}\r", "x".repeat(99));
    terminal.keys(&format!("\x1b[200~{}\x1b[201~", line.repeat(10_000)));
    terminal.wait_for_text(" 10001:1 ");
    let asked = now();
    terminal.keys("z");
    terminal.wait_for_text(" 10001:2 ");
    assert!(asked.elapsed() < QUIT_TIME, "{:?}", asked.elapsed());
    terminal.keys("\x15\x15"); // Both are undone.
    terminal.wait_for_text("JSON ok");
    terminal.wait_for_text(" 1:1 ");
    terminal.keys("\x1b");
    terminal.wait_for_text("is as it was");
    terminal.keys("q");
    assert!(terminal.end().success());
}

#[test]
fn quitting_gives_the_terminal_back_at_once() {
    let (broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    let settings = fresh_settings(&broker);
    terminal.wait_for_text("BLOCKED 1");
    assert_ne!(terminal.settings(), settings, "the console reads keys one by one");
    let asked = now();
    terminal.keys("q");
    assert!(terminal.end().success());
    assert!(asked.elapsed() < QUIT_TIME, "{:?}", asked.elapsed());
    assert_given_back(&terminal, &settings);
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let (broker, _worker) = blocked();
    let settings = fresh_settings(&broker);
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut terminal = console(&broker, &[]);
        terminal.wait_for_text("BLOCKED 1");
        terminal.signal(signal);
        terminal.end();
        assert_given_back(&terminal, &settings);
    }
}

#[test]
fn a_panic_gives_the_terminal_back_and_says_what_happened() {
    let (broker, _worker) = blocked();
    let settings = fresh_settings(&broker);
    let mut terminal = console(&broker, &["--debug-panic-key"]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(":");
    terminal.keys("panic");
    terminal.keys(ENTER);
    assert!(!terminal.end().success());
    assert_given_back(&terminal, &settings);
    terminal.wait_for_text("a panic on purpose");
}

#[test]
fn without_its_broker_the_console_keeps_its_data_and_still_quits() {
    let (broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    assert!(broker.stop().success());
    terminal.wait_for_text("RECONNECTING");
    assert!(terminal.screen(|screen| screen.contents().contains("invoices")), "the data stays");
    let asked = now();
    terminal.keys("q");
    assert!(terminal.end().success());
    assert!(asked.elapsed() < QUIT_TIME, "{:?}", asked.elapsed());
}

#[test]
fn an_idle_console_draws_next_to_nothing() {
    let (broker, _worker) = blocked();
    let mut terminal = console(&broker, &[]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys("5");
    terminal.wait_for_text("5 Journal");
    let before = terminal.bytes();
    std::thread::park_timeout(IDLE_TIME); // What is measured is the time itself.
    let drawn = terminal.bytes() - before;
    assert!(drawn < IDLE_BYTES * IDLE_TIME.as_secs(), "{drawn} bytes in {IDLE_TIME:?}");
    terminal.keys("q");
    assert!(terminal.end().success());
}

#[test]
fn the_first_frame_stands_within_a_tenth_of_a_second() {
    let broker = Broker::start("");
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let attached = || console(&broker, &[]);
    let with_its_own = || Terminal::start(SIZE, folder.path(), &[], &ANY_PORTS);
    for start in [&attached as &dyn Fn() -> Terminal, &with_its_own] {
        let took = (0..3).map(|_| {
            let began = now();
            let mut terminal = start();
            terminal.wait_for_text("mubroker");
            let took = began.elapsed();
            terminal.keys("q");
            assert!(terminal.end().success());
            took
        });
        // The quickest: what else the machine does is not the console's.
        let took = took.min().expect("some");
        assert!(took < FIRST_FRAME, "{took:?}");
    }
}

#[test]
fn a_broker_that_does_not_start_ends_the_console_and_says_why() {
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("tcp://{}", listener.local_addr().expect("bound"));
    let ports = [("MUBROKER_LISTEN__CLIENTS", taken.as_str()), ANY_PORTS[1]];
    let mut terminal = Terminal::start(SIZE, folder.path(), &[], &ports);
    terminal.wait_for_text("the broker does not start");
    assert!(!terminal.screen(vt100::Screen::alternate_screen));
    assert!(!terminal.end().success());
}

#[test]
fn keys_of_the_configuration_are_in_the_footer_and_wrong_ones_are_refused_with_their_place() {
    let broker = Broker::start("");
    let file = broker.folder().join("keys.toml");
    let write = |keys: &str| {
        std::fs::write(&file, format!("[console]\ntheme = \"plain\"\n[console.keys]\n{keys}\n"))
            .expect("the folder can be written");
    };
    let named = file.to_str().expect("a plain path");
    write("sort = \"o\"");
    let mut terminal = console(&broker, &["--config", named]);
    terminal.wait_for_text("o sort");
    terminal.keys("o");
    terminal.wait_for_text("1 Queues by name");
    terminal.keys("q");
    assert!(terminal.end().success());
    for (keys, says) in [
        ("sort = \"p\"", "keys.toml:4:1: console.keys: \"p\" is both"),
        (
            "srot = \"o\"",
            "keys.toml:4:1: console.keys: there is no \"srot\"; did you mean \"sort\"?",
        ),
    ] {
        write(keys);
        let output = broker.try_run(&["config", "check", "--config", named], b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(4) && told.contains(says), "{told}");
    }
    std::fs::write(&file, "[console]\ntheme = \"pink\"\n").expect("the folder can be written");
    let output = broker.try_run(&["config", "check", "--config", named], b"");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let says = "keys.toml:2:9: console.theme \"pink\" is unknown; give one of \"default\", ";
    assert!(output.status.code() == Some(4) && told.contains(says), "{told}");
}

#[test]
fn without_arguments_it_opens_on_a_broker_of_its_own() {
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let mut terminal = Terminal::start(SIZE, folder.path(), &[], &ANY_PORTS);
    terminal.wait_for_text("live");
    terminal.keys("q");
    assert!(terminal.end().success());
}

/// What a terminal's settings are before any program ran in it.
fn fresh_settings(broker: &Broker) -> String {
    let mut terminal = Terminal::start(SIZE, broker.folder(), &["--version"], &[]);
    assert!(terminal.end().success());
    terminal.settings()
}
