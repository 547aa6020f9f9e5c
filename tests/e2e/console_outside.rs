//! The operator's own editor, and texts that are too large for the console's: the real binary in a pseudo-terminal.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::console_many::{ROW, blocked, console};
use super::harness::Broker;

const TAB: &str = "\t";
const ENTER: &str = "\r";
const DELETE: &str = "\x1b[3~";
const CTRL_S: &str = "\x13";
/// What a payload may have: `limits::MAX_PAYLOAD_BYTES`.
const LARGEST: usize = 16 * 1024 * 1024;
/// A worker that wants a total without quotes, and keeps what it did.
const WORK: &str = r#"cat > "$0.new"; if head -c 40 "$0.new" | grep -q '"total":"'; then echo "total: a number is needed" >&2; exit 3; fi; mv "$0.new" "$0""#;

/// A script that can be `$EDITOR`.
fn editor(folder: &Path, text: &str) -> PathBuf {
    let script = folder.join("edit.sh");
    std::fs::write(&script, text).expect("the script");
    let runnable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&script, runnable).expect("the script");
    script
}

#[test]
fn the_operators_own_editor_gets_terminal_and_text_and_gives_both_back() {
    let (broker, _worker) = blocked();
    let text = "#!/bin/sh\nstat -c %a \"$1\" > \"$0.mode\"\nstty -a < /dev/tty > \"$0.stty\"\nprintf %s \"$1\" > \"$0.path\"\necho the editor has it\nread answer < /dev/tty\nsed -i 's/\"1,50\"/1.50/' \"$1\"\n";
    let script = editor(broker.folder(), text);
    let editor = script.to_str().expect("a plain path");
    let mut terminal = console(&broker, &[("EDITOR", editor), ("VISUAL", "")]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text(ROW);
    terminal.keys("E");
    terminal.wait_for_text("the editor has it");
    assert!(terminal.screen(|screen| !screen.alternate_screen()), "the terminal is the editor's");
    terminal.keys("go\r");
    terminal.wait_for_text("back from $EDITOR");
    terminal.wait_for_text("\"amount\":1.50");
    let told = |what: &str| {
        std::fs::read_to_string(format!("{editor}.{what}")).expect("the script told it")
    };
    assert_eq!(told("mode").trim(), "600");
    assert!(
        told("stty").contains(" icanon") && told("stty").contains(" echo "),
        "{}",
        told("stty")
    );
    assert!(!std::path::Path::new(&told("path")).exists(), "the file is removed");
    terminal.keys(CTRL_S);
    terminal.wait_for_text("Retry with this");
    terminal.keys(TAB);
    terminal.keys(ENTER);
    terminal.wait_for_text("HEAD ADVANCED");
    terminal.keys("q");
    assert!(terminal.end().success());
}

/// JSON of exactly `LARGEST` bytes, a row a line.
fn largest(total: &str) -> String {
    let mut text = format!("{{\"total\":{total},\"rows\":[");
    for number in 0.. {
        if text.len() + 100 > LARGEST {
            break;
        }
        writeln!(text, "{{\"n\":{number},\"price\":1.10,\"name\":\"row {number} ż\"}},")
            .expect("a String");
    }
    let end = "{}]}";
    text.push_str(&" ".repeat(LARGEST - text.len() - end.len()));
    text.push_str(end);
    text
}

fn with_the_largest() -> (Broker, String) {
    let broker = Broker::start("[queues.\"invoices\".retry]\nattempts = 1\n");
    let payload = largest("\"524,95\"");
    assert_eq!(payload.len(), LARGEST);
    broker.run(&["send", "--queue", "invoices"], payload.as_bytes());
    (broker, payload)
}

#[test]
fn a_payload_of_sixteen_megabytes_goes_to_the_operators_editor_is_reviewed_and_retried() {
    let (mut broker, payload) = with_the_largest();
    let _worker = broker.worker(WORK);
    broker.until("it is blocked", |broker| {
        broker.queue("invoices").filter(|queue| queue["blocked"] == 1)
    });
    let script = editor(broker.folder(), "#!/bin/sh\nsed -i '1s/\"524,95\"/524.9500/' \"$1\"\n");
    let editor = script.to_str().expect("a plain path");
    let mut terminal = console(&broker, &[("EDITOR", editor), ("VISUAL", "")]);
    terminal.wait_for_text("BLOCKED 1");
    terminal.keys(ENTER);
    terminal.wait_for_text("blocked     1   0");
    terminal.keys(ENTER);
    terminal.wait_for_text("the beginning; e opens all");
    terminal.keys("e");
    terminal.wait_for_text("back from $EDITOR");
    terminal.wait_for_text("\"total\":524.9500,");
    terminal.keys(CTRL_S);
    terminal.wait_for("the difference", |screen| {
        let shown = screen.contents();
        shown.contains("- {\"total\":\"524,95\"") && shown.contains("+ {\"total\":524.9500")
    });
    terminal.keys(TAB);
    terminal.keys(ENTER);
    terminal.wait_for_text("HEAD ADVANCED");
    terminal.keys("q");
    assert!(terminal.end().success());
    let done = std::fs::read_to_string(broker.folder().join("done.txt")).expect("it was done");
    assert!(
        done == payload.replacen("\"524,95\"", "524.9500", 1),
        "only what was asked for changed"
    );
}

#[test]
fn without_an_editor_a_large_payload_says_so_and_can_be_typed_into() {
    let (broker, _payload) = with_the_largest();
    let mut terminal = console(&broker, &[("EDITOR", ""), ("VISUAL", "")]);
    terminal.wait_for_text("invoices");
    terminal.keys(ENTER);
    terminal.wait_for_text("ready");
    terminal.keys(ENTER);
    terminal.wait_for_text("the beginning; e opens all");
    terminal.keys("e");
    terminal.wait_for_text("16384 KiB: set $EDITOR to edit it outside");
    terminal.keys("[");
    terminal.wait_for_text("the text would be 16777217 bytes long; at most 16777216 are allowed");
    terminal.keys(DELETE);
    terminal.wait_for_text("1 \"total\":");
    terminal.wait_for("what is wrong", |screen| !screen.contents().contains("JSON ok"));
    terminal.keys("\x15"); // Undo.
    terminal.wait_for_text("JSON ok");
    terminal.keys("\x03");
    assert!(terminal.end().success());
}
