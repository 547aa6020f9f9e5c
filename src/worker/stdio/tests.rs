//! Real children: Python, as most will be.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::*;
use crate::model::{Content, Header, NackAction};
use crate::worker::sample;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

/// What the README shows.
const ECHO: &str = r#"
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    body = job["payload"]
    if body == "exit":
        sys.exit("no more")
    if body == "hang":
        sys.stdin.read()
    if body == "nonsense":
        print("hello?", flush=True)
        continue
    if body == "bad":
        answer = {"verb": "NACK", "error": {"code": "bad", "message": "no"}, "action": "block", "delay_ms": 7}
    else:
        print(json.dumps({"verb": "PARTIAL", "payload": "part"}))
        print(json.dumps({"verb": "PROGRESS", "note": "half"}))
        answer = {"verb": "ACK", "delivery": job["delivery"], "payload": json.dumps(job)}
    print(json.dumps(answer), flush=True)
"#;

const LENGTH: &str = r#"
import json, struct, sys
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
def take():
    return stdin.read(struct.unpack(">I", stdin.read(4))[0])
while True:
    job, payload = json.loads(take()), take()
    for frame in json.dumps({"verb": "ACK", "delivery": job["delivery"]}).encode(), payload[::-1]:
        stdout.write(struct.pack(">I", len(frame)) + frame)
    stdout.flush()
"#;

fn python(script: &str, framing: Framing) -> Stdio {
    let command = ["python3", "-c", script].map(OsString::from);
    Stdio::new(Program::new(command).expect("Python is there"), framing)
}

fn delivery(payload: impl Into<Bytes>) -> Delivery {
    sample::delivery(&json!({"id": "m1", "type": "t"}), payload)
}

async fn give(stdio: &Stdio, payload: &'static str, limit: Duration) -> Result<Value, WorkError> {
    let reply = stdio.handle(delivery(payload), Work::unheard(limit)).await;
    reply.map(|it| serde_json::from_slice(&it).expect("JSON")).map_err(|failure| failure.error)
}

#[tokio::test]
async fn a_child_gets_one_message_after_the_other_on_lines() {
    let stdio = python(ECHO, Framing::Lines);
    for payload in ["one", "two\nlines"] {
        let job = give(&stdio, payload, LONG).await.expect("done");
        let expected = json!({
            "verb": "DELIVER", "delivery": "1.a", "queue": "orders", "seq": 7, "attempt": 2,
            "limit_ms": 60_000, "header": {"id": "m1", "type": "t"}, "payload": payload,
        });
        assert_eq!(job, expected);
    }
    assert_eq!(stdio.idle.lock().expect("free").len(), 1, "both had the same child");
    stdio.close().await;
}

#[tokio::test]
async fn bytes_come_and_go_as_they_are_after_lengths() {
    let stdio = python(LENGTH, Framing::Length);
    for payload in [vec![], vec![0, 255, 10], vec![9; 1 << 20]] {
        let reply = stdio.handle(delivery(payload.clone()), Work::unheard(LONG)).await;
        let reversed: Vec<u8> = payload.into_iter().rev().collect();
        assert_eq!(reply.expect("done"), reversed);
    }
}

#[test]
fn a_header_with_line_ends_stays_on_its_line() {
    let mut delivery = delivery("x");
    let header = Header::from_json(b"{\"id\": \"m1\",\n \"type\":\r\n \"t\"}").expect("valid");
    delivery.content = Content { header, payload: delivery.content.payload.clone() }.into();
    let line = Framing::Lines.encode(&delivery, LONG);
    assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
    let job: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(job["header"], json!({"id": "m1", "type": "t"}));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_base64_on_a_line() {
    let line = Framing::Lines.encode(&delivery(vec![0xff, 0x00]), LONG);
    let job: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(job["payload_base64"], "/wA=");
    assert!(job.get("payload").is_none());
}

#[tokio::test]
async fn a_nack_says_what_is_asked_for() {
    let stdio = python(ECHO, Framing::Lines);
    let failure = stdio.handle(delivery("bad"), Work::unheard(LONG)).await.expect_err("no");
    let error = WorkError::new("bad", "no");
    assert_eq!(failure, Failure { error, action: NackAction::Block, delay_ms: Some(7) });
}

#[tokio::test]
async fn a_child_that_ends_hangs_or_talks_nonsense_fails_its_message_and_is_replaced() {
    let stdio = python(ECHO, Framing::Lines);
    let error = give(&stdio, "exit", LONG).await.expect_err("it exits");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("exit-1", "exit status 1: no more"));
    let error = give(&stdio, "hang", SHORT).await.expect_err("it hangs");
    assert_eq!(error.code, "timeout");
    let error = give(&stdio, "nonsense", LONG).await.expect_err("it can't be read");
    assert_eq!(error.code, "answer");
    give(&stdio, "well", LONG).await.expect("a new child does it");
}

#[tokio::test]
async fn an_answer_too_many_is_not_taken_for_the_next_messages() {
    let twice = "import json, os, sys\nfor line in sys.stdin:\n \
                 answer = json.dumps({'verb': 'ACK', 'payload': str(os.getpid())})\n \
                 print(answer + '\\n' + answer, flush=True)";
    let stdio = python(twice, Framing::Lines);
    let first = give(&stdio, "a", LONG).await.expect("the first is done");
    let second = give(&stdio, "b", LONG).await.expect("a new child does the second");
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_child_that_exited_while_it_was_idle_is_not_given_a_message() {
    let once = "import json\njob = json.loads(input())\n\
                print(json.dumps({'verb': 'ACK', 'payload': '1'}), flush=True)";
    let stdio = python(once, Framing::Lines);
    assert_eq!(give(&stdio, "a", LONG).await, Ok(json!(1)));
    let exits = async {
        while stdio.idle.lock().expect("free").last_mut().is_some_and(StdioChild::runs) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, exits).await.expect("it exits");
    assert_eq!(give(&stdio, "b", LONG).await, Ok(json!(1)));
}
