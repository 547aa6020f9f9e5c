//! `mubroker store`: exports, imports, compaction, backups and restores with the real binary.

#![expect(clippy::unwrap_used, reason = "a test that can't go on ends there")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, folder, mubroker};

/// Nothing here takes long; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(30);

struct Setting {
    folder: TempDir,
}

impl Setting {
    fn new() -> Self {
        Self { folder: folder() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command about the store of a data folder.
    fn store(&self, data_dir: &str, arguments: &[&str]) -> Output {
        let data_dir = self.path(data_dir);
        let head = ["store", "--data-dir", data_dir.to_str().unwrap()];
        mubroker(&[&head[..], arguments].concat())
    }

    fn export(&self, data_dir: &str) -> String {
        let output = self.store(data_dir, &["export"]);
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    fn path_text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Refused with this exit code, and told so.
fn refused(output: &Output, exit: i32, told: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(text.contains(told), "{told}: {text}");
}

fn send(daemon: &Daemon, queue: &str, payload: &[u8]) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mubroker"))
        .args(["send", "--broker", &daemon.clients, "--queue", queue, "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Messages whose bytes no JSON library gives back.
const HOSTILE: [&[u8]; 3] =
    [b"{\"n\": 1.10, \"n\":12345678901234567890123 }\r\n", b"\0\xff\xfe\x1b[2J", "ż🐢".as_bytes()];

/// A data folder with messages, one of which was edited.
fn filled(setting: &Setting, data_dir: &str) -> Daemon {
    let daemon = Daemon::start(&setting.path(data_dir));
    for payload in HOSTILE {
        send(&daemon, "orders", payload);
    }
    send(&daemon, "invoices", b"{}");
    let socket = format!("unix:{}", daemon.socket().display());
    let edit = ["message", "edit", "orders", "1", "--admin", &socket, "--reason", "typo", "--file"];
    let text = setting.path("text");
    fs::write(&text, "{\"n\": 2}").unwrap();
    succeeded(&mubroker(&[&edit[..], &[text.to_str().unwrap()]].concat()));
    daemon
}

fn stop(daemon: Daemon) {
    assert!(daemon.end(Signal::SIGTERM, LIMIT).success());
}

fn payload(daemon: &Daemon, seq: &str) -> Vec<u8> {
    let socket = format!("unix:{}", daemon.socket().display());
    let output = mubroker(&["message", "show", "orders", seq, "--payload", "--admin", &socket]);
    succeeded(&output);
    output.stdout
}

/// Without the run's number.
fn content(export: &str) -> Vec<&str> {
    export.lines().skip(1).collect()
}

#[test]
fn an_export_is_imported_byte_for_byte() {
    let setting = Setting::new();
    let daemon = filled(&setting, "first");
    refused(&setting.store("first", &["export"]), 3, "stop that broker first");
    stop(daemon);
    let file = setting.path_text("export.jsonl");
    let output = setting.store("first", &["export", "--output", &file, "--json"]);
    succeeded(&output);
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&counts["queues"], &counts["messages"]), (&2.into(), &4.into()));
    refused(&setting.store("first", &["export", "--output", &file]), 1, "exists");

    succeeded(&setting.store("second", &["import", &file]));
    refused(&setting.store("second", &["import", &file]), 6, "there is a store");
    let exported = fs::read_to_string(&file).unwrap();
    assert_eq!(content(&setting.export("second")), content(&exported));

    let daemon = Daemon::start(&setting.path("second"));
    assert_eq!(payload(&daemon, "1"), b"{\"n\": 2}");
    assert_eq!(payload(&daemon, "2"), HOSTILE[1]);
    send(&daemon, "orders", b"{}");
    stop(daemon);
}

#[test]
fn a_bad_export_is_refused_with_its_line_and_leaves_nothing() {
    let setting = Setting::new();
    stop(filled(&setting, "first"));
    let export = setting.export("first");
    let file = setting.path_text("bad.jsonl");
    let cut = export.lines().take(3).collect::<Vec<_>>().join("\n");
    for (text, told) in [
        (cut.as_str(), "cut off"),
        ("", "cut off"),
        ("{}\n", "line 1 is no line of an export"),
        (&export.replacen(r#""version":1"#, r#""version":9"#, 1), "form 9"),
        (&export.replacen("\"seq\":2,", "\"seq\":1,", 1), "line 4: message 1 of orders"),
    ] {
        fs::write(&file, text).unwrap();
        refused(&setting.store("second", &["import", &file]), 1, told);
        assert!(!setting.path("second/store").exists(), "{told}");
        assert!(!setting.path("second/store.new").exists(), "{told}");
    }
}

#[test]
fn compacting_keeps_all_that_waits() {
    let setting = Setting::new();
    let daemon = filled(&setting, "data");
    refused(&setting.store("data", &["compact"]), 3, "stop that broker first");
    stop(daemon);
    let before = setting.export("data");
    let output = setting.store("data", &["compact", "--json"]);
    succeeded(&output);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["messages"], 4);
    assert_eq!(content(&setting.export("data")), content(&before));
    assert!(!setting.path("data/store.new").exists());
    stop(Daemon::start(&setting.path("data")));
}

#[test]
fn a_store_that_is_not_there_is_named() {
    let setting = Setting::new();
    for command in ["export", "compact"] {
        refused(&setting.store("nowhere", &[command]), 1, "there is no store in");
    }
    let nothing = setting.path_text("nothing");
    refused(&setting.store("data", &["restore", &nothing]), 1, "there is no backup in");
    refused(&setting.store("data", &["import", &nothing]), 1, "reading the export");
    assert!(!Path::new(&setting.path("data/store")).exists());
}

#[test]
fn a_backup_made_while_the_broker_runs_is_restored() {
    let setting = Setting::new();
    let daemon = filled(&setting, "data");
    let copy = setting.path_text("copies/first");
    let output = setting.store("data", &["backup", &copy, "--json"]);
    succeeded(&output);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["bytes"].as_u64().unwrap() > 0, "{told}");
    refused(&setting.store("data", &["backup", &copy]), 6, "empty");
    // What comes later is not in it.
    send(&daemon, "orders", b"later");
    let exported = setting.store("data", &["export", "--store", &copy]);
    succeeded(&exported);
    refused(&setting.store("data", &["restore", &copy]), 6, "there is a store");
    stop(daemon);

    let output = setting.store("other", &["restore", &copy, "--json"]);
    succeeded(&output);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["queues"], &told["messages"]), (&2.into(), &4.into()));
    let restored = setting.export("other");
    assert_eq!(content(&restored), content(&String::from_utf8(exported.stdout).unwrap()));
    let daemon = Daemon::start(&setting.path("other"));
    assert_eq!(payload(&daemon, "1"), b"{\"n\": 2}");
    stop(daemon);

    // Without a broker the command copies by itself.
    let second = setting.path_text("copies/second");
    succeeded(&setting.store("other", &["backup", &second]));
    succeeded(&setting.store("third", &["restore", &second]));
    assert_eq!(content(&setting.export("third")), content(&restored));
}
