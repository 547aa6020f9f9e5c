//! The daemon's log.

use serde_json::Value;

use super::harness::Broker;

#[test]
fn a_log_of_json_says_what_happened_to_which_message() {
    let mut broker = Broker::start("[log]\nformat = 'json'");
    broker.run(&["send", "-q", "bills", "--id", "bill-7", "{}"], b"");
    broker.run(&["queue", "pause", "bills", "--reason", "look first"], b"");
    broker.run(&["message", "cancel", "bills", "1", "--reason", "sent twice"], b"");
    let path = broker.data_dir().join("log/mubroker.log");
    let lines = broker.until("the log is written", |_| {
        let text = std::fs::read_to_string(&path).ok()?;
        let lines: Option<Vec<Value>> =
            text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        lines.filter(|lines| lines.iter().any(|line| line["kind"] == "cancelled"))
    });
    let of = |kind: &str| {
        let found = lines.iter().find(|line| line["kind"] == kind);
        found.unwrap_or_else(|| panic!("{kind} is not there: {lines:#?}"))
    };
    let cancelled = of("cancelled");
    assert_eq!((&cancelled["queue"], &cancelled["seq"]), (&"bills".into(), &1.into()));
    assert_eq!((&cancelled["id"], &cancelled["reason"]), (&"bill-7".into(), &"sent twice".into()));
    assert_eq!((&cancelled["level"], &cancelled["message"]), (&"INFO".into(), &"journal".into()));
    assert!(cancelled["timestamp"].is_string());
    assert_eq!(of("paused")["reason"], "look first");
}
