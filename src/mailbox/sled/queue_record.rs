//! A queue's record as it is stored: settings with their default value are left out. With 100,000 queues
//! that is most of `state`, which is copied from generation to generation and kept in sled's cache. So is a schema that an
//! operator hasn't set.

use std::sync::LazyLock;

use serde_json::Value;

use crate::model::{QueueRecord, QueueSettings, SCHEMA};

/// What is read where nothing is stored: the settings' `serde(default)`.
static DEFAULTS: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(QueueSettings::default()).expect("settings have JSON"));

/// The record's JSON.
pub(super) fn stored(record: &QueueRecord) -> Value {
    let mut value = serde_json::to_value(record).expect("a queue's record has JSON");
    if let Some(Value::Object(settings)) = value.get_mut("settings") {
        settings.retain(|key, value| DEFAULTS.get(key) != Some(value));
        // The configuration's is read again at each start: 32 KiB for each of 100,000 queues of a template would fill the disk.
        if !record.is_overridden(SCHEMA) {
            settings.remove(SCHEMA);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{DedupMarks, QueueId, QueueName, Retry, SchemaText, Seq, Timestamp};

    fn record(settings: QueueSettings) -> QueueRecord {
        QueueRecord {
            id: QueueId(7),
            name: QueueName::new("orders").unwrap(),
            settings: Arc::new(settings),
            paused: None,
            draining: None,
            created_at: Timestamp(1_000),
            first: Seq(17),
            overrides: Box::new(["lease_ms".to_owned()]),
            has_ttl: false,
            dedup_marks: Some(Box::new(DedupMarks(vec![(Timestamp(1_000), Seq(3))]))),
        }
    }

    #[test]
    fn what_is_stored_is_read_back_whole() {
        let retry = Retry { attempts: 77, ..Retry::default() };
        let changed = QueueSettings { lease_ms: 123_456, retry, ..QueueSettings::default() };
        for settings in [QueueSettings::default(), changed] {
            let record = record(settings);
            let text = stored(&record).to_string();
            assert_eq!(serde_json::from_str::<QueueRecord>(&text).unwrap(), record);
        }
    }

    #[test]
    fn only_settings_that_are_not_the_default_are_stored() {
        let changed = QueueSettings { lease_ms: 123_456, ..QueueSettings::default() };
        assert_eq!(stored(&record(changed))["settings"].to_string(), r#"{"lease_ms":123456}"#);
    }

    #[test]
    fn a_schema_is_stored_if_an_operator_has_set_it() {
        let schema = SchemaText::new(r#"{"type":"object"}"#);
        let settings = QueueSettings { schema, ..QueueSettings::default() };
        assert_eq!(stored(&record(settings.clone()))["settings"].to_string(), "{}");
        let record = QueueRecord { overrides: Box::new([SCHEMA.to_owned()]), ..record(settings) };
        let text = stored(&record).to_string();
        assert_eq!(serde_json::from_str::<QueueRecord>(&text).unwrap(), record);
    }

    /// A stored record means these values where it has none. Whoever adds a setting adds it here; whoever changes a
    /// default has to write the old one into the records of older stores, and say so in the format's version.
    #[test]
    fn defaults_are_those_of_the_stores_format() {
        let defaults = r#"{"mailbox":"file","memory_messages":1000,"spill":"file","ordering":"queue","priority":false,"on_failure":"block","retry":{"attempts":1,"backoff":"exponential","initial_ms":1000,"max_ms":60000,"jitter":0.1},"lease_ms":30000,"ack":"after-work","consumers":"shared","ttl_ms":0,"max_messages":0,"max_bytes":0,"overflow":"reject","dedup":{"by":"count","last":10000},"resend":{"keep_ms":0},"dead_letter":"{queue}.dead","delete_on_idle_ms":0,"schema":""}"#;
        assert_eq!(DEFAULTS.to_string(), defaults);
    }
}
