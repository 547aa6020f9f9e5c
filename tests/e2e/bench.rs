//! `mubroker bench`, every measurement in small: it ends, measures what it says, and leaves nothing.

use std::process::Command;

use serde_json::Value;

use crate::harness::MUBROKER;

#[test]
fn every_measurement_runs_in_small_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(MUBROKER)
        .args(["bench", "--json", "--seconds", "1", "--messages", "300", "--queues", "16"])
        .args([
            "--make-queues",
            "50",
            "--depth",
            "300",
            "--steady",
            "3000",
            "--steady-depth",
            "500",
        ])
        .args(["--page-depth", "20", "--drain-mb", "1", "--dir"])
        .arg(folder.path())
        .output()
        .expect("mubroker starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");

    let rows = report["rows"].as_array().expect("rows");
    let messages = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("no row {name}: {report}"))["messages"].as_u64().unwrap()
    };
    assert_eq!(messages("queues: made"), 50);
    assert_eq!(messages("depth: filled"), 300);
    assert_eq!(messages("steady: append + finish"), 3072, "whole commits");
    assert_eq!(messages("drain: filled"), 977);
    assert_eq!(messages("pages: filled"), 20 * 100);
    assert_eq!(messages("pages: by JSON path"), 500);
    assert!(messages("publish: 50 watch") > 0);
    for from in ["bare loop", "memory", "file"] {
        assert_eq!(messages(&format!("dispatch: {from}")), 300);
    }
    for name in ["disk: append + fdatasync", "mailbox: append + sync", "publish", "end to end"] {
        assert!(messages(name) > 0, "{name}");
    }
    for batch in [1, 64, 256, 1024] {
        let of_batch = rows.iter().filter(|row| row["window"] == batch);
        assert!(of_batch.count() >= 2, "disk and mailbox in batches of {batch}");
    }

    let figures = report["figures"].as_array().expect("figures");
    for figure in figures {
        let value = figure["value"].as_f64().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{figure}");
        assert!(figure["met"].is_boolean() && figure["bar"].is_object(), "{figure}");
    }
    let of = |start: &str| {
        let of = figures.iter().filter(|f| f["name"].as_str().unwrap_or("").starts_with(start));
        of.count()
    };
    assert_eq!([of("mailbox / disk"), of("memory of a queue"), of("queues")], [2, 3, 3]);
    assert_eq!([of("depth"), of("steady"), of("drain"), of("dispatch")], [4, 1, 1, 2]);
    let left: Vec<_> = folder.path().read_dir().expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}
