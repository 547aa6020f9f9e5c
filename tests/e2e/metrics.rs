//! Health and metrics of the real binary, as monitoring sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use mubroker::admin::metrics::{Kind, METRICS};
use serde_json::Value;

use super::harness::{Broker, PATIENCE};

/// One request by hand; status and body.
fn ask(stream: &mut (impl Read + Write), path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn over_admin(broker: &Broker, path: &str) -> (u16, String) {
    let socket = broker.data_dir().join("admin.sock");
    let mut stream = UnixStream::connect(socket).expect("the admin API listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    ask(&mut stream, path)
}

/// Each series with its value.
fn series(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    };
    lines.map(split).collect()
}

/// The metric that a series belongs to.
fn metric_of(series: &str) -> &str {
    let name = series.split('{').next().unwrap_or_default();
    let is_histogram = |name: &str| {
        METRICS.iter().any(|metric| metric.name == name && metric.kind == Kind::Histogram)
    };
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    stem.filter(|stem| is_histogram(stem)).unwrap_or(name)
}

#[test]
fn the_page_has_every_metric_once_and_counts_what_happens() {
    let broker = Broker::start("");
    for payload in ["1", "2", "3"] {
        broker.run(&["send", "-q", "bills", payload], b"");
    }
    broker.run(&["send", "-q", "bills", "--id", "twice", "4"], b"");
    broker.run(&["send", "-q", "bills", "--id", "twice", "4"], b"");
    broker.run(&["queue", "pause", "bills"], b"");
    let (status, page) = over_admin(&broker, "/metrics");
    assert_eq!(status, 200, "{page}");

    let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let typed: Vec<&str> = typed.collect();
    let known: Vec<String> =
        METRICS.iter().map(|it| format!("{} {}", it.name, it.kind.as_str())).collect();
    assert_eq!(typed, known, "each once, in the order of the table");
    let found = series(&page);
    let used: BTreeSet<&str> = found.keys().map(|series| metric_of(series)).collect();
    for metric in METRICS.iter().filter(|metric| !metric.labels.starts_with("pool")) {
        assert!(used.contains(metric.name), "{} has no value", metric.name);
    }
    for (series, value) in [
        ("mubroker_messages_accepted_total", 4.0),
        ("mubroker_messages_deduplicated_total", 1.0),
        ("mubroker_queue_accepted_total{queue=\"bills\"}", 4.0),
        ("mubroker_queue_messages{queue=\"bills\",state=\"ready\"}", 4.0),
        ("mubroker_queue_paused{queue=\"bills\"}", 1.0),
        ("mubroker_queues{state=\"paused\"}", 1.0),
        ("mubroker_store_state{state=\"ok\"}", 1.0),
        ("mubroker_connections_refused_total{door=\"clients\",reason=\"greeting\"}", 0.0),
    ] {
        assert_eq!(found.get(series), Some(&value), "{series}\n{page}");
    }
    for series in [
        "mubroker_store_bytes",
        "mubroker_commit_duration_seconds_count",
        "mubroker_sync_duration_seconds_sum",
        "mubroker_queue_oldest_message_age_seconds{queue=\"bills\"}",
        "process_resident_memory_bytes",
    ] {
        assert!(found[series] > 0.0, "{series}\n{page}");
    }
}

#[test]
fn what_a_deleted_queue_counted_stays_in_the_totals() {
    let broker = Broker::start("");
    broker.run(&["send", "-q", "short", "1"], b"");
    broker.run(&["queue", "delete", "short", "--purge", "--reason", "a test"], b"");
    let found = series(&over_admin(&broker, "/metrics").1);
    assert_eq!(found["mubroker_messages_accepted_total"], 1.0);
    assert!(!found.keys().any(|series| series.contains("short")), "its own series have gone");
}

#[test]
fn health_and_metrics_are_served_on_an_address_of_their_own_and_nothing_else_is() {
    let broker = Broker::start("metrics = 'tcp://127.0.0.1:0'");
    let log = std::fs::read_to_string(broker.folder().join("output.log")).expect("the output");
    let url = log.split("metrics http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = url.expect("it says where");
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        ask(&mut stream, path)
    };
    assert_eq!(ask("/livez"), (200, r#"{"status":"live"}"#.to_owned()));
    assert_eq!(ask("/readyz"), (200, r#"{"status":"ready"}"#.to_owned()));
    let (status, page) = ask("/metrics");
    assert!(status == 200 && page.contains("mubroker_build_info"), "{page}");
    let (status, problem) = ask("/v1/overview");
    assert!(status == 404 && problem.contains("not_found"), "{problem}");
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/grafana.json");
    let text = std::fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut queries = Vec::new();
    strings(&dashboard, &mut queries, "");
    assert!(queries.len() > 20, "only {} queries were found", queries.len());
    let mut asked = BTreeSet::new();
    for query in &queries {
        for word in query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("mubroker_") || word.starts_with("process_") {
                asked.insert(metric_of(word));
            }
        }
    }
    for name in &asked {
        let metric = METRICS.iter().find(|metric| metric.name == *name);
        assert!(metric.is_some(), "{name} is no metric");
    }
    for metric in METRICS.iter().filter(|metric| metric.name.starts_with("mubroker_messages")) {
        assert!(asked.contains(metric.name), "nobody looks at {}", metric.name);
    }
    // What is summed by must be a label of the metric in the same query.
    for query in &queries {
        let by = query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
        let labels = by.flat_map(|list| list.split(", ")).filter(|label| *label != "le");
        for label in labels {
            let has = METRICS.iter().any(|metric| {
                query.contains(metric.name) && metric.labels.split(',').any(|it| it == label)
            });
            assert!(has, "{label} in {query}");
        }
    }
}

/// The texts under `expr` and `query`, wherever they are.
fn strings(value: &Value, out: &mut Vec<String>, key: &str) {
    match value {
        Value::String(text) if ["expr", "query"].contains(&key) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, out, key)),
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| strings(value, out, key));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
