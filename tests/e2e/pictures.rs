//! The README's pictures: real screens of the demo and of a broker. Every run draws them; with `MUBROKER_PICTURES=FOLDER` they
//! are written there (CONTRIBUTING.md).

use std::path::Path;

use super::harness::{Broker, Terminal};
use super::picture;

const ENTER: &str = "\r";
const TAB: &str = "\t";
const CTRL_S: &str = "\x13";

/// A workflow whose second step has failed, the first of which can't be taken back: an operator is needed.
const PATTERNS: &str = r#"
[queues.billing]
[queues.statistics]
[queues."trip.*"]
on_failure = "dead-letter"
retry = { attempts = 1 }
[topics."order.created"]
subscriptions = [
  { queue = "billing", filter = "body.total > 100" },
  { queue = "statistics" },
]
[sagas.trip]
steps = [
  { name = "flight", queue = "trip.flight", compensate = "trip.flight.cancel" },
  { name = "hotel", queue = "trip.hotel", compensate = "trip.hotel.cancel" },
  { name = "car", queue = "trip.car" },
]
"#;

/// Takes a picture: what is drawn shows each of `told`, and so does the picture that the README has. One of them is of the last
/// row, which is drawn last.
fn take(terminal: &Terminal, name: &str, told: &[&str]) {
    for text in told {
        terminal.wait_for_text(text);
    }
    let drawn = terminal.screen(picture::svg);
    let file = format!("{name}.svg");
    if let Some(folder) = std::env::var_os("MUBROKER_PICTURES") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(&file);
        std::fs::write(path, &drawn).expect("the picture can be written");
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/pictures").join(&file);
    let kept = std::fs::read_to_string(&kept).expect("the README's picture");
    for (which, picture) in [("drawn", drawn), ("in assets/pictures", kept)] {
        let shown = picture::texts(&picture);
        for text in told {
            assert!(
                shown.contains(text),
                "{file}, as {which}, has no {text:?}; CONTRIBUTING.md says how it is made"
            );
        }
    }
}

fn demo(size: (u16, u16)) -> (tempfile::TempDir, Terminal) {
    let folder = tempfile::Builder::new().prefix("mub").tempdir().expect("a temporary folder");
    let temporary = [("TMPDIR", folder.path().to_str().expect("a plain path"))];
    let terminal = Terminal::start(size, folder.path(), &["demo"], &temporary);
    terminal.wait_for_text("BLOCKED 1");
    terminal.wait_for("a backlog behind the blocked head", |screen| {
        screen.rows(0, size.0).any(|row| row.contains("invoices") && row.contains(" 1"))
    });
    (folder, terminal)
}

#[test]
fn the_pictures_of_a_repair_are_drawn_by_the_demo() {
    let (_folder, mut terminal) = demo((80, 24));
    take(&terminal, "queues", &["BLOCKED 1", "invoices", "orders", "DEMO: ", "palette"]);
    terminal.keys(ENTER);
    terminal.wait_for_text("2 Queue invoices");
    terminal.keys(ENTER);
    terminal.wait_for_text("3 Message invoices");
    // The footer stands before the message has been read.
    terminal.wait_for_text("indented for reading");
    terminal.wait_for_text("tree/raw/hex");
    terminal.keys("v");
    terminal.wait_for("the tree", |screen| !screen.contents().contains("indented for reading"));
    take(
        &terminal,
        "message",
        &["3 Message invoices", "[Body]", "tree: Enter folds", "\"524,95\"", "tree/raw/hex"],
    );
    terminal.keys("e");
    terminal.wait_for_text("JSON ok");
    terminal.keys("\x06524,95\r");
    terminal.wait_for("the search to be closed", |screen| !screen.contents().contains("Find"));
    terminal.keys("\x7f");
    terminal.keys(&"\x1b[3~".repeat("524,95\"".len()));
    terminal.keys("524.95");
    terminal.wait_for_text("\"total\":524.95");
    terminal.keys(CTRL_S);
    take(
        &terminal,
        "review",
        &[
            "REVIEW invoices",
            "Retry with this",
            "> Back <",
            "messages wait behind it",
            "next button",
        ],
    );
    terminal.keys(TAB);
    terminal.keys(ENTER);
    terminal.wait_for_text("HEAD ADVANCED");
    terminal.keys("q");
    assert!(terminal.end().success());
}

#[test]
fn the_picture_of_a_wide_terminal_has_panes_beside_the_message() {
    let (_folder, mut terminal) = demo((180, 40));
    terminal.keys(ENTER);
    terminal.wait_for_text("2 Queue invoices");
    terminal.keys(ENTER);
    take(&terminal, "wide", &["3 Message invoices", "\"524,95\"", "erp-connector", "tree/raw/hex"]);
    terminal.keys("q");
    assert!(terminal.end().success());
}

#[test]
fn the_picture_of_the_patterns_has_a_saga_that_needs_somebody() {
    let mut broker = Broker::start(PATTERNS);
    let data = broker.data_dir();
    let _workers = [
        broker.worker_of("trip.flight", "cat > /dev/null; echo '{\"seat\":\"12A\"}'"),
        broker.worker_of("trip.hotel", "cat > /dev/null; echo 'no room in Rome' >&2; exit 3"),
        broker.worker_of(
            "trip.flight.cancel",
            "cat > /dev/null; echo 'the airline is closed' >&2; exit 3",
        ),
    ];
    broker.run(&["publish", "--topic", "order.created"], b"{\"total\":1200}");
    broker.run(&["start", "--saga", "trip"], b"{\"to\":\"Rome\"}");
    broker.until("the saga is parked", |broker| {
        broker.get("/v1/sagas?state=parked").filter(|page| page.to_string().contains("parked"))
    });
    let environment = [("MUBROKER_DATA_DIR", data.to_str().expect("a plain path"))];
    let mut terminal = Terminal::start((100, 24), broker.folder(), &["console"], &environment);
    terminal.wait_for_text("trip.flight");
    terminal.keys("7");
    terminal.wait_for_text("order.created");
    terminal.keys("ll"); // past the gathers
    take(&terminal, "patterns", &["7 Patterns", "1 PARKED", "flight", "hotel", "palette"]);
    terminal.keys("q");
    assert!(terminal.end().success());
}
