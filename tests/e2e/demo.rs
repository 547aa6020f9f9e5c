//! The demo: a queue is blocked within seconds, the banner says what to press, and it works.

use std::time::Duration;

use super::harness::{Terminal, now};

const SIZE: (u16, u16) = (80, 24);
/// From the start to a blocked queue, on a busy machine.
const SECONDS: Duration = Duration::from_secs(15);

#[test]
fn the_demo_blocks_a_queue_and_its_banner_leads_through_the_repair() {
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let temporary = [("TMPDIR", folder.path().to_str().expect("a plain path"))];
    let began = now();
    let mut terminal = Terminal::start(SIZE, folder.path(), &["demo"], &temporary);
    terminal.wait_for_text("BLOCKED 1");
    assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
    terminal.wait_for_text("DEMO: invoices is blocked");
    terminal.wait_for_text("a number is needed");
    terminal.keys("\r"); // into the queue
    terminal.wait_for_text("2 Queue invoices");
    terminal.keys("\r"); // the blocked head
    terminal.wait_for_text("\"524,95\"");
    terminal.keys("e");
    terminal.wait_for_text("JSON ok");
    terminal.keys("\x06524,95\r"); // find it: the cursor is on its first digit
    terminal.wait_for("the search to be closed", |screen| !screen.contents().contains("Find"));
    terminal.keys("\x7f"); // the quote before it
    terminal.keys(&"\x1b[3~".repeat("524,95\"".len()));
    terminal.keys("524.95");
    terminal.wait_for_text("\"total\":524.95");
    terminal.keys("\x13");
    terminal.wait_for_text("Retry with this");
    terminal.keys("\t\r");
    terminal.wait_for_text("HEAD ADVANCED");
    terminal.wait_for_text("none blocked");
    terminal.keys("q");
    assert!(terminal.end().success());
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the temporary folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with("mubroker-demo-"))
        .collect();
    assert!(left.is_empty(), "the demo leaves nothing behind: {left:?}");
}
