//! Programs that run away, a jq expression or a JSON Patch: who started them goes on, and says what happened.

use std::process::Stdio;
use std::time::Duration;

use mubroker::console::sandbox::{Limits, Sandbox, SandboxError, Source};
use nix::sys::signal::Signal;

use super::harness::{Broker, MUBROKER, Terminal, signal, wait_for_end};

/// Tight enough that a test needn't wait for the usual ones.
const LIMITS: Limits = Limits { memory_bytes: 64 * 1024 * 1024, time: Duration::from_secs(20) };
/// Calls itself, and has something to do after each call.
const CALLS: &str = "def f: 1 + f; f";
const BUILDS: &str = "[range(1e12)]";
/// Calls itself at its end, which needs no stack.
const LOOPS: &str = "def f: f; f";

/// What comes of a payload, or how the program ended.
fn run(source: Source<'_>, limits: Limits, payload: &[u8]) -> Result<Vec<u8>, SandboxError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut program = Sandbox::start(MUBROKER.as_ref(), source, limits).await?;
        Ok(program.apply(payload, false).await?.expect("the program gives a payload"))
    })
}

#[test]
fn what_an_expression_gives_comes_back_with_its_digits() {
    let new = run(Source::Jq(".a = 2"), LIMITS, br#"{ "a":1, "b": 1.10 }"#);
    assert_eq!(new.expect("a payload"), br#"{ "a":2, "b": 1.10 }"#);
    let refused = run(Source::Jq(".a |"), LIMITS, b"1").expect_err("no expression");
    assert!(matches!(&refused, SandboxError::NoProgram(why) if why.contains("expected")));
}

#[test]
fn a_payload_of_nearly_sixteen_mebibytes_fits_into_the_usual_memory() {
    let order = |n| format!(r#"{{"id": {n:06}, "name": "customer {n:06}", "total": 12.50}}"#);
    let order = |n: u32| order(n + 100_000);
    let large = format!("[{}]", (0..260_000).map(order).collect::<Vec<_>>().join(",\n"));
    assert!((15_000_000..16 * 1024 * 1024).contains(&large.len()), "{}", large.len());
    let usual = Limits { time: Duration::from_secs(100), ..Limits::default() };
    let new = run(Source::Jq(".[0].total = 1"), usual, large.as_bytes()).expect("a payload");
    let text = String::from_utf8(new).expect("JSON is UTF-8");
    assert_eq!(text, large.replacen("12.50", "1", 1));
}

#[test]
fn a_program_that_takes_too_much_memory_or_stack_ends_alone_and_it_is_told_which() {
    let [a, b] = ["a", "b"].map(|key| format!(r#"{{"op":"copy","from":"","path":"/{key}"}},"#));
    let doubles = format!("{a}{b}").repeat(30);
    let doubles = format!("[{}]", doubles.trim_end_matches(','));
    let built = "the expression ran out of memory (limit 64 MB)";
    let called = "the expression overflowed its stack: ";
    let nested = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for (source, told) in [
        (Source::Jq(BUILDS), built),
        (Source::Jq("reduce range(1e12) as $i ([]; . + [.])"), built),
        (Source::Patch(doubles.as_bytes()), "the patch ran out of memory (limit 64 MB)"),
        (Source::Jq(CALLS), called),
        (Source::Jq("reduce range(3e5) as $i (0; [.])"), called),
        (Source::Jq(&nested), called),
    ] {
        let ended = run(source, LIMITS, b"{}").expect_err("it runs away").to_string();
        assert!(ended.starts_with(told), "{}: {ended}", format!("{source:?}").len());
    }
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let limits = Limits { time: Duration::from_millis(300), ..LIMITS };
    let ended = run(Source::Jq(LOOPS), limits, b"{}").expect_err("it runs away");
    assert_eq!(ended.to_string(), "the expression took longer than 0.3 s");
}

#[test]
fn the_command_says_at_which_message_and_saves_nothing() {
    let broker = Broker::start("");
    broker.run(&["send", "--queue", "orders"], b"{\"a\":1}");
    for (expression, told) in [
        (CALLS, "at orders 1: the expression overflowed its stack"),
        (BUILDS, "at orders 1: the expression ran out of memory (limit 1024 MB); nothing saved"),
        (LOOPS, "at orders 1: the expression took longer than 1 s; nothing saved"),
    ] {
        let limit = if expression == LOOPS { "1" } else { "100" };
        let edit = ["message", "edit", "orders", "1", "--jq", expression, "--yes"];
        let output = broker.try_run(&[&edit[..], &["--time-limit", limit]].concat(), b"");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        // What the child says of its end is told in our words only.
        assert!(errors.contains(told) && errors.lines().count() == 1, "{errors}");
    }
    assert_eq!(broker.run(&["message", "show", "orders", "1", "--payload"], b""), "{\"a\":1}");
}

#[test]
fn the_process_of_an_endless_expression_ends_with_who_started_it() {
    let mut broker = Broker::start("");
    broker.run(&["send", "--queue", "orders"], b"{\"a\":1}");
    let edit = ["message", "edit", "orders", "1", "--jq", LOOPS, "--time-limit", "3600"];
    let mut command = broker.command(&edit).stdin(Stdio::null()).spawn().expect("mubroker starts");
    let pid = command.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let child = broker.until("the expression has a process", |_| {
        let children = std::fs::read_to_string(&children).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    });
    // Its name is the thread's once it has read what it is to do; before, it may not even have begun.
    broker.until("the expression runs", |_| {
        let used = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let ticks: u64 = used.split_whitespace().nth(13)?.parse().ok()?;
        (ticks > 20).then_some(())
    });
    signal(pid, Signal::SIGKILL);
    wait_for_end(&mut command);
    broker.until("the expression's process has ended", |_| {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let state = state.split_whitespace().nth(2).unwrap_or("gone").to_owned();
        matches!(state.as_str(), "gone" | "Z" | "X").then_some(())
    });
}

#[test]
fn the_console_lives_on_with_its_screen_whole() {
    let mut broker = Broker::start("");
    for number in 1..=3 {
        broker.run(&["send", "--queue", "orders"], format!("{{\"n\":{number}}}").as_bytes());
    }
    broker.until("they wait", |broker| broker.queue("orders").filter(|q| q["depth"] == 3));
    let data = broker.data_dir();
    let environment = [("MUBROKER_DATA_DIR", data.to_str().expect("a plain path"))];
    let mut terminal = Terminal::start((80, 24), broker.folder(), &["console"], &environment);
    terminal.wait_for_text("orders");
    terminal.keys("\r");
    terminal.wait_for_text("ready");
    terminal.keys("J");
    terminal.wait_for_text("[jq, save");
    // Of the three choices the last: all in the queue.
    terminal.keys("\x1b[B\x1b[B");
    terminal.keys("if .n == 2 then (def f: 1 + f; f) else .n += 1 end");
    terminal.keys("\r");
    terminal.wait_for_text("at #2: the expression overflowed its stack");
    terminal.screen(|screen| {
        let text = screen.contents();
        assert!(!text.contains("fatal runtime") && !text.contains("thread"), "{text}");
    });
    // The same window goes on: what was typed is there, and can be mended.
    terminal.keys(&"\x7f".repeat(60));
    terminal.keys(".n += 1");
    terminal.keys("\r");
    terminal.wait_for_text("3 would be done");
    terminal.keys("\x03");
    assert!(terminal.end().success());
}
