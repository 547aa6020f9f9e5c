//! A queue with a JSON Schema: what doesn't fit is refused by each door, and repaired with a reason only.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Output;

use nix::sys::signal::Signal;

use super::harness::{Broker, MUBROKER, PATIENCE};

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["total"],
  "properties": { "total": { "type": "number", "minimum": 0 } }
}"#;
const SETTINGS: &str = "[queues.\"*\"]\n[queues.\"invoices\"]\nschema = '../invoice.schema.json'\n";

/// The schema's file stands above the configuration's folder, in a folder of its own.
fn broker() -> (tempfile::TempDir, Broker) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("invoice.schema.json");
    std::fs::write(&path, SCHEMA).expect("the schema");
    let settings = SETTINGS.replace("../invoice.schema.json", path.to_str().expect("a path"));
    let broker = Broker::start(&settings);
    (folder, broker)
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it was done: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `POST`: status and body.
fn post(broker: &Broker, path: &str, body: &str) -> (String, String) {
    let socket = broker.data_dir().join("admin.sock");
    let mut socket = UnixStream::connect(socket).expect("the admin API");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let length = body.len();
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("the request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].to_owned(), body.to_owned())
}

#[test]
fn a_payload_that_misses_the_schema_is_refused_by_each_door() {
    let (_folder, mut broker) = broker();
    let said =
        "the payload is not as the schema of queue invoices says: /total: \"much\" is not of type";
    let sent = broker.try_run(&["send", "--queue", "invoices", r#"{"total":"much"}"#], b"");
    let text = refused(&sent);
    assert!(text.contains(said) && text.contains("schema"), "{text}");
    let called = broker.try_run(&["call", "--queue", "invoices", r#"{"total":"much"}"#], b"");
    assert!(refused(&called).contains(said), "{called:?}");
    let body = r#"{"header":{},"json":{"total":"much"}}"#;
    let (status, text) = post(&broker, "/v1/queues/invoices/publish", body);
    assert!(status == "422" && text.contains("\"schema\"") && text.contains("/total: "), "{text}");
    let sent = broker.try_run(&["send", "--queue", "invoices", "no JSON"], b"");
    assert!(refused(&sent).contains("the whole: it is not JSON"), "{sent:?}");
    broker.run(&["send", "--queue", "invoices", r#"{"total":1.10}"#], b"");
    broker.run(&["send", "--queue", "other", "no JSON"], b"");
    broker.restart(Signal::SIGKILL);
    let sent = broker.try_run(&["send", "--queue", "invoices", r#"{"total":-1}"#], b"");
    assert!(refused(&sent).contains("/total: -1 is less than the minimum of 0"), "{sent:?}");
    assert_eq!(broker.queue("invoices").expect("the queue")["depth"], 1);
    let text = broker.get("/v1/queues/invoices/schema").expect("the schema")["text"].clone();
    assert_eq!(text, SCHEMA);
    let shown = broker.queue("invoices").expect("the queue")["settings"]["schema"].to_string();
    assert!(shown.starts_with(&format!("\"{} bytes, ", SCHEMA.len())), "{shown}");
}

#[test]
fn a_repair_that_misses_the_schema_needs_a_reason_and_the_journal_has_it() {
    let (_folder, broker) = broker();
    broker.run(&["send", "--queue", "invoices", r#"{"total":1}"#], b"");
    let wrong = br#"{"total":"much"}"#;
    let edit = ["message", "edit", "invoices", "1", "--file", "-", "--yes"];
    let text = refused(&broker.try_run(&edit, wrong));
    assert!(text.contains("/total: ") && text.contains("--reason"), "{text}");
    let body = r#"{"key":"k1","expect_revision":0,"action":"save","payload":{"encoding":"utf8","data":"{}"}}"#;
    let (status, text) = post(&broker, "/v1/queues/invoices/messages/1/repair", body);
    let is_told =
        text.contains("\"total\\\" is a required property") && text.contains("\"schema\"");
    assert!(status == "422" && is_told, "{status} {text}");
    let jq = ["message", "edit", "invoices", "1", "--jq", ".total = \"x\"", "--dry-run"];
    let dry = broker.try_run(&jq, b"");
    let text =
        String::from_utf8_lossy(&dry.stdout).into_owned() + &String::from_utf8_lossy(&dry.stderr);
    assert!(text.contains("is not as the queue's schema says: /total"), "{text}");
    let reason = ["--reason", "the customer insists"];
    broker.run(&[&edit[..], &reason[..]].concat(), wrong);
    let journal = broker.run(&["journal", "--queue", "invoices"], b"");
    let told =
        "the customer insists [misses the schema: /total: \"much\" is not of type \"number\"]";
    assert!(journal.contains(told), "{journal}");
    assert_eq!(
        broker.run(&["message", "show", "invoices", "1", "--payload"], b"").as_bytes(),
        wrong
    );
}

#[test]
fn an_operators_schema_stays_without_its_file_until_it_is_given_back() {
    let (folder, mut broker) = broker();
    let file = folder.path().join("own.json");
    std::fs::write(&file, r#"{"type":"array"}"#).expect("a schema");
    let set = format!("schema=@{}", file.display());
    broker.run(&["send", "--queue", "other", "1"], b"");
    broker.run(&["queue", "set", "other", &set], b"");
    std::fs::remove_file(&file).expect("it is there");
    let wrong = ["send", "--queue", "other", "1"];
    assert!(refused(&broker.try_run(&wrong, b"")).contains("is not of type \"array\""));
    broker.restart(Signal::SIGKILL);
    assert!(refused(&broker.try_run(&wrong, b"")).contains("is not of type \"array\""));
    let bad = broker.try_run(&["queue", "set", "other", r#"schema={"type":"arry"}"#], b"");
    assert!(refused(&bad).contains("schema: the schema, /type: "), "{bad:?}");
    // What was accepted before is a duplicate, whatever the schema says by now.
    broker.run(&["send", "--queue", "other", "--id", "m1", "[]"], b"");
    broker.run(&["queue", "set", "other", r#"schema={"type":"object"}"#], b"");
    broker.run(&["send", "--queue", "other", "--id", "m1", "[]"], b"");
    let called = broker.try_run(&["send", "--queue", "other", "--id", "m2", "[]"], b"");
    assert!(refused(&called).contains("is not of type \"object\""));
    broker.run(&["queue", "set", "other", "schema=default"], b"");
    broker.run(&wrong, b"");
    broker.run(&["queue", "set", "invoices", "schema="], b"");
    broker.run(&["send", "--queue", "invoices", "no JSON"], b"");
}

#[test]
fn a_schema_that_cannot_be_used_is_told_with_both_places() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("mubroker.toml");
    std::fs::write(&config, "[queues.\"invoices\"]\nlease_ms = 500\nschema = 'one.json'\n")
        .expect("written");
    let check = |schema: &str| {
        std::fs::write(folder.path().join("one.json"), schema).expect("written");
        let mut command = std::process::Command::new(MUBROKER);
        let output = command.args(["config", "check", "--config"]).arg(&config).output();
        refused(&output.expect("mubroker runs"))
    };
    for (schema, said) in [
        ("{\n \"a\": oops }", "one.json:2:7: it is not JSON: expected value"),
        (r#"{"type":"strin"}"#, "one.json is no schema that can be used: /type: "),
        (r#"{"$ref":"http://127.0.0.1/x"}"#, "put it into this schema, under $defs"),
        (" ", "one.json is empty; write a JSON Schema"),
    ] {
        let text = check(schema);
        let place = "mubroker.toml:3:10: queues.\"invoices\".schema: ";
        assert!(text.contains(place) && text.contains(said), "{text}");
    }
    let text = check(&format!("{{\"title\":\"{}\"}}", "x".repeat(33_000)));
    assert!(text.contains("has more than 32768 bytes"), "{text}");
    std::fs::remove_file(folder.path().join("one.json")).expect("it is there");
    let mut command = std::process::Command::new(MUBROKER);
    let output = command.args(["config", "check", "--config"]).arg(&config).output();
    let text = refused(&output.expect("mubroker runs"));
    assert!(text.contains("one.json can't be read: No such file"), "{text}");
}
