//! The command line against a broker of its own: the repair of a blocked queue, as an operator does it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing here takes long; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A running `mubroker` of which lines are read; killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary is built");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (to_test, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if to_test.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    /// The next event of a worker with `--json` that is `wanted`.
    fn event(&self, wanted: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).expect("an event is JSON");
            if event["event"] == wanted {
                return event;
            }
        }
    }

    /// SIGTERM, and the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        self.child.wait().expect("it is ours").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs no kill.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

struct Setting {
    folder: TempDir,
    broker: Running,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "data_dir = {:?}\n[listen]\nclients = \"tcp://127.0.0.1:0\"\nworkers = \"tcp://127.0.0.1:0\"\n",
            folder.path().join("data")
        );
        std::fs::write(folder.path().join("c.toml"), config).expect("the folder is ours");
        let broker = Running::start(mubroker(folder.path(), &["serve"]));
        assert!(broker.line().starts_with("mubroker listens:"));
        Self { folder, broker }
    }

    fn run(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = mubroker(self.folder.path(), args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        // A command that doesn't read its input is no failure of this.
        let _unread = child.stdin.take().expect("stdin is piped").write_all(stdin);
        child.wait_with_output().expect("it is ours")
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args, b"");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        output.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.ok(args)).expect("--json prints JSON")
    }

    /// Asks until the answer is as wanted: a worker's event comes before the broker has its answer.
    fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        #[expect(clippy::disallowed_methods, reason = "a test's own limit")]
        let began = std::time::Instant::now();
        loop {
            let answer = self.json(args);
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < LIMIT, "{args:?} stays {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until_blocked(&self) {
        self.until(&["queue", "show", "orders", "--json"], |queue| queue["state"] == "blocked");
    }

    /// A worker of `orders` that runs this script.
    fn worker(&self, script: &str) -> Running {
        let args = ["worker", "--queue", "orders", "--json", "--exec", "sh", "-c", script];
        let worker = Running::start(mubroker(self.folder.path(), &args));
        worker.event("ready");
        worker
    }
}

fn mubroker(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mubroker"));
    command.args(args).env("MUBROKER_CONFIG", folder.join("c.toml")).env_remove("EDITOR");
    command.env_remove("VISUAL").stdin(Stdio::null());
    command
}

#[test]
fn a_blocked_queue_is_repaired_and_flows_again() {
    let setting = Setting::new();
    // Digits, keys' order and a key that stands twice: what the worker gets is what was sent.
    let payload = r#"{"z": 1.10, "a": 12345678901234567890123, "a": "bad"}"#;
    let sent = setting.json(&["send", "-q", "orders", payload, "--id", "o1", "--json"]);
    assert_eq!(sent, json!({"id": "o1", "queue": "orders", "seq": 1, "duplicate": false}));
    setting.ok(&["send", "-q", "orders", "second"]);
    let worker = setting.worker(
        "p=$(cat); case \"$p\" in *bad*) echo \"no such customer\" >&2; exit 3;; esac; printf %s \"$p\"",
    );
    let failed = worker.event("finished");
    assert_eq!(failed["error"]["message"], "exit status 3: no such customer");

    setting.until_blocked();
    let queues = setting.json(&["queue", "ls", "--json"]);
    assert_eq!((&queues[0]["state"], &queues[0]["depth"]), (&json!("blocked"), &json!(2)));
    let blocked = setting.json(&["message", "ls", "orders", "--state", "blocked", "--json"]);
    assert_eq!(blocked["messages"][0]["id"], "o1");
    assert_eq!(setting.ok(&["message", "show", "orders", "1", "--payload"]), payload.as_bytes());
    assert_eq!(setting.json(&["message", "show", "o1", "--json"])["summary"]["state"], "blocked");

    let fixed = br#"{"z": 1.10, "a": "good"}"#;
    let edit = ["message", "edit", "o1", "--file", "-", "--retry", "--json", "--key", "k1"];
    let outcome = setting.run(&edit, fixed);
    let outcome: Value = serde_json::from_slice(&outcome.stdout).expect("--json prints JSON");
    assert_eq!((&outcome["revision"], &outcome["repeated"]), (&json!(1), &json!(false)));
    let seqs = [worker.event("finished"), worker.event("finished")].map(|e| e["seq"].clone());
    assert_eq!(seqs, [json!(1), json!(2)]);

    setting.until(&["queue", "show", "orders", "--json"], |queue| queue["depth"] == 0);
    let again = setting.run(&edit, fixed);
    let again: Value = serde_json::from_slice(&again.stdout).expect("known, though it is done");
    assert_eq!((&again["journal"], &again["repeated"]), (&outcome["journal"], &json!(true)));

    let journal = setting.json(&["journal", "--queue", "orders", "--json"]);
    let kinds: Vec<_> = journal["entries"].as_array().expect("a list").iter().collect();
    assert_eq!(kinds[0]["kind"], "saved-and-retried");
    assert_eq!(kinds[0]["actor"]["via"], "cli");
    setting.until(&["worker", "ls", "--json"], |workers| {
        workers[0]["acked"] == 2 && workers[0]["nacked"] == 1
    });
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(setting.broker.stop(), Some(0));
}

#[test]
fn an_edit_is_refused_when_it_is_not_json_or_the_message_changed() {
    let setting = Setting::new();
    setting.ok(&["queue", "ls"]);
    setting.ok(&["send", "-q", "orders", r#"{"bad": 1}"#, "--id", "o1"]);
    let worker = setting.worker("exit 1");
    worker.event("finished");
    setting.until_blocked();
    assert_eq!(worker.stop(), Some(0));

    let edit = |more: &[&str], payload: &[u8]| {
        setting.run(&[&["message", "edit", "orders", "1", "--file", "-"], more].concat(), payload)
    };
    let broken = edit(&[], b"{\n  \"bad\": }");
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&broken.stderr).contains("standard input:2:10: "),
        "{broken:?}"
    );
    assert!(edit(&["--not-json", "the partner wants text"], b"text").status.success());
    let stale = edit(&["--expect-revision", "0"], b"{}");
    assert_eq!(stale.status.code(), Some(6), "{stale:?}");
    let same_but_stale = edit(&["--expect-revision", "0", "--not-json", "again"], b"text");
    assert_eq!(same_but_stale.status.code(), Some(6), "{same_but_stale:?}");
    let unchanged = edit(&["--expect-revision", "1", "--json"], b"text");
    assert_eq!((unchanged.status.code(), &unchanged.stdout[..]), (Some(0), &b"null\n"[..]));
    let no_reason = setting.run(&["message", "cancel", "orders", "1"], b"");
    assert_eq!(no_reason.status.code(), Some(2));
    let cancel = ["message", "cancel", "orders", "1", "--reason", "twice", "--key", "c1", "--json"];
    assert_eq!(setting.json(&cancel)["repeated"], false);
    assert_eq!(setting.json(&cancel)["repeated"], true, "the same key acts once");
}

#[test]
fn a_call_prints_the_workers_reply_as_it_is() {
    let setting = Setting::new();
    let _worker = setting.worker("cat; printf '\\377\\000'");
    assert_eq!(setting.ok(&["call", "-q", "orders", "x"]), b"x\xff\0");
    let reply = setting.json(&["call", "-q", "orders", "y", "--id", "c1", "--json"]);
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["payload"], json!({"encoding": "base64", "data": "ef8A"}));
    let paused = setting.json(&["queue", "pause", "orders", "--reason", "night", "--json"]);
    assert_eq!(paused["state"], "paused");
    let late = setting.run(&["call", "-q", "orders", "z", "--timeout-ms", "50"], b"");
    assert_eq!(late.status.code(), Some(6), "{late:?}");
    let error = String::from_utf8_lossy(&late.stderr);
    assert_eq!(error.matches("no reply in time").count(), 1, "{error}");
    assert_eq!(setting.json(&["queue", "resume", "orders", "--json"])["state"], "running");
}

#[test]
fn without_a_broker_a_command_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let admin = format!("unix:{}/admin.sock", folder.path().display());
    let output = Command::new(env!("CARGO_BIN_EXE_mubroker"))
        .args(["queue", "ls", "--admin", &admin])
        .env_remove("MUBROKER_CONFIG")
        .output()
        .expect("the binary is built");
    assert_eq!(output.status.code(), Some(5));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no broker answers at unix:"), "{error}");
    assert!(error.contains("start one with `mubroker serve`"), "{error}");
}

#[test]
fn a_broker_that_is_named_and_does_not_run_is_not_replaced_by_another() {
    let setting = Setting::new();
    let other = tempfile::tempdir().expect("a temporary folder");
    let other = other.path().to_str().expect("its path is UTF-8");
    for command in [
        &["send", "-q", "orders", "{}", "--data-dir", other][..],
        &["call", "-q", "orders", "{}", "--data-dir", other],
        &["worker", "-q", "orders", "--data-dir", other, "--exec", "true"],
    ] {
        let output = setting.run(command, b"");
        assert_eq!(output.status.code(), Some(5), "{command:?} {output:?}");
    }
    assert_eq!(setting.json(&["queue", "ls", "--json"]), json!([]), "nothing came here");
}
