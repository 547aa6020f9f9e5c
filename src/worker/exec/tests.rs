//! Real processes: `sh` and what POSIX has.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::worker::process::STDERR_TAIL_BYTES;
use crate::worker::sample::delivery;

/// Longer than any of these commands takes; a limit that is not meant to be reached.
const LONG: Duration = Duration::from_secs(60);
/// Shorter than these commands; a limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(200);

fn sh(script: &str) -> Exec {
    let program = Program::new(["sh", "-c", script].map(OsString::from));
    Exec::new(program.expect("every system has sh"))
}

async fn run(script: &str, payload: impl Into<Bytes>) -> Result<Bytes, Failure> {
    sh(script).handle(delivery(&json!({"id": "m1"}), payload), Work::unheard(LONG)).await
}

fn gone(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().expect("a process id"));
    if kill(pid, None) == Err(Errno::ESRCH) {
        return true;
    }
    // Ended, but not yet reaped by whoever inherited it.
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
}

/// A folder and a script that writes a grandchild's process id into it.
fn with_grandchild(rest: &str) -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > '{}'; {rest}", file.display());
    (folder, file, script)
}

#[tokio::test]
async fn the_payload_comes_back_byte_for_byte_as_the_reply() {
    let payload = Bytes::from((0..=255u8).cycle().take(1 << 20).collect::<Vec<_>>());
    assert_eq!(run("cat", payload.clone()).await, Ok(payload));
}

#[tokio::test]
async fn a_child_that_reads_nothing_can_still_succeed() {
    let payload = vec![b'x'; 4 << 20];
    assert_eq!(run("echo done", payload).await, Ok(Bytes::from("done\n")));
}

#[tokio::test]
async fn a_failure_has_the_exit_status_and_the_tail_of_stderr() {
    let script = "seq 1 20000 >&2; printf 'bad amount\\377\\n\\n' >&2; exit 3";
    let error = run(script, "").await.expect_err("it fails").error;
    assert_eq!(error.code, "exit-3");
    assert_eq!(error.message, "exit status 3: bad amount\u{fffd}");
    assert!(error.detail.ends_with("\n19999\n20000\nbad amount\u{fffd}\n\n"), "{}", error.detail);
    assert!(error.detail.len() <= STDERR_TAIL_BYTES + 3 && error.detail.len() > 4000);
}

#[tokio::test]
async fn a_signal_is_named() {
    let error = run("kill -9 $$", "").await.expect_err("it is killed").error;
    assert_eq!(error.code, "signal-9");
    assert_eq!(error.message, "ended by signal 9 (SIGKILL)");
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_a_failure_and_the_child_is_ended() {
    let error = run("exec cat /dev/zero", "").await.expect_err("too much").error;
    assert_eq!(error.code, "reply-too-large");
}

#[tokio::test]
async fn after_the_limit_the_whole_group_is_gone() {
    let (_folder, file, script) = with_grandchild("trap '' TERM; sleep 1000; sleep 1000");
    let exec = sh(&script).with_kill_grace(SHORT);
    let error = exec
        .handle(delivery(&json!({"id": "m1"}), ""), Work::unheard(SHORT))
        .await
        .expect_err("it takes too long")
        .error;
    assert_eq!(error.code, "timeout");
    assert_eq!(error.message, "ran longer than 200 ms and was ended with its process group");
    assert!(gone(&fs::read_to_string(file).expect("the script wrote it")));
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_open_ends_with_the_child() {
    let (_folder, file, script) = with_grandchild("echo reply");
    assert_eq!(run(&script, "").await, Ok(Bytes::from("reply\n")));
    assert!(gone(&fs::read_to_string(file).expect("the script wrote it")));
}

#[tokio::test]
async fn a_dropped_run_kills_the_group() {
    let (_folder, file, script) = with_grandchild("wait");
    let exec = sh(&script);
    let work = exec.handle(delivery(&json!({"id": "m1"}), ""), Work::unheard(LONG));
    let started = until(|| fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')));
    tokio::select! {
        result = work => panic!("{result:?}"),
        () = started => {}
    }
    let pid = fs::read_to_string(file).expect("the script wrote it");
    until(|| gone(&pid)).await;
}

/// What another process does makes no event here; panics if it doesn't come.
async fn until(condition: impl Fn() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, look).await.expect("it comes");
}

#[tokio::test]
async fn the_header_is_the_environment() {
    let header = json!({
        "id": "m1", "type": "order.created", "key": "a\u{0}b", "queue-like": 1,
        "headers": {"x-tenant": "fr", "amount": 1, "id": "not the id"},
    });
    let script = "env | grep ^MUBROKER_ | sort";
    let reply =
        sh(script).handle(delivery(&header, ""), Work::unheard(LONG)).await.expect("it succeeds");
    let reply = String::from_utf8(reply.to_vec()).expect("UTF-8");
    // What these tests were started with (MUBROKER_ROUNDS, MUBROKER_BIN) is there, too.
    let is_ours = |line: &&str| std::env::var_os(line.split('=').next().unwrap_or("")).is_none();
    let reply: String = reply.split_inclusive('\n').filter(is_ours).collect();
    let expected = format!(
        "MUBROKER_ATTEMPT=2\nMUBROKER_DEADLINE_MS=30000\nMUBROKER_DELIVERY=1.a\n\
         MUBROKER_HEADER={header}\nMUBROKER_HEADERS_AMOUNT=1\nMUBROKER_HEADERS_ID=not the id\n\
         MUBROKER_HEADERS_X_TENANT=fr\nMUBROKER_ID=m1\nMUBROKER_KEY=a\u{fffd}b\n\
         MUBROKER_QUEUE=orders\nMUBROKER_SEQ=7\nMUBROKER_TYPE=order.created\n"
    );
    assert_eq!(reply, expected);
}

#[tokio::test]
async fn a_command_that_vanished_is_a_failure_to_spawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("tool");
    fs::copy("/bin/true", &program).expect("copied with its mode");
    let command = Program::new([program.clone().into_os_string()]).expect("it is there");
    let exec = Exec::new(command);
    fs::remove_file(program).expect("it was there");
    let error = exec
        .handle(delivery(&json!({"id": "m1"}), ""), Work::unheard(LONG))
        .await
        .expect_err("it is gone")
        .error;
    assert_eq!(error.code, "spawn");
}
