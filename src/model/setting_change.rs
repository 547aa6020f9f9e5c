//! Settings that an operator changes while the broker runs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::plain_words::in_plain_words;
use super::schema_text::SchemaText;
use super::settings::QueueSettings;

/// A new value of one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingChange {
    /// As in the configuration; `retry.attempts` for a value in a table.
    pub key: String,
    /// `None`: what the configuration says.
    pub value: Option<Value>,
}

impl SettingChange {
    /// The key as it stands in `[queues."…"]`, without what is in its table.
    pub fn top(&self) -> &str {
        self.key.split('.').next().unwrap_or_default()
    }

    /// The schema that it sets, if it sets one.
    pub fn schema(&self) -> Option<SchemaText> {
        let text = self.value.as_ref().filter(|_| self.key == SCHEMA)?.as_str()?;
        Some(SchemaText::new(text)).filter(|text| !text.is_empty())
    }
}

/// The setting's key.
pub const SCHEMA: &str = "schema";

impl QueueSettings {
    /// These settings, with `keys` as `other` has them. Keys that don't exist are passed over.
    pub fn with_keys_of(&self, other: &Self, keys: &[String]) -> Self {
        let (mut map, others) = (self.to_map(), other.to_map());
        for key in keys {
            if let (Some(mine), Some(theirs)) = (map.get_mut(key), others.get(key)) {
                *mine = theirs.clone();
            }
        }
        serde_json::from_value(Value::Object(map)).expect("each value is one of these settings")
    }

    /// These settings after `changes`, whose absent values are those of `configured`. An error, for people, if
    /// a key is unknown, a value is not one of its key's, or the values don't go together.
    pub fn changed(&self, changes: &[SettingChange], configured: &Self) -> Result<Self, String> {
        let (mut map, configured) = (self.to_map(), configured.to_map());
        for change in changes {
            let slot = slot(&mut map, &change.key)?;
            *slot = match &change.value {
                Some(value) => value.clone(),
                None => value(&configured, &change.key).cloned().unwrap_or_default(),
            };
        }
        let settings: Self = serde_json::from_value(Value::Object(map))
            .map_err(|error| told(&in_plain_words(&error, "a table"), changes))?;
        settings.check()?;
        Ok(settings)
    }

    fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            other => unreachable!("settings are a table: {other:?}"),
        }
    }
}

/// Where the value of a known key is.
fn slot<'a>(map: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Value, String> {
    let (outer, inner) = match key.split_once('.') {
        Some((outer, inner)) => (outer, Some(inner)),
        None => (key, None),
    };
    check_known(map, key, outer)?;
    let slot = &mut map[outer];
    let Some(inner) = inner else { return Ok(slot) };
    let table = slot.as_object_mut().ok_or_else(|| format!("`{outer}` has no `{inner}`"))?;
    check_known(table, key, inner)?;
    Ok(&mut table[inner])
}

fn check_known(table: &Map<String, Value>, key: &str, part: &str) -> Result<(), String> {
    if table.contains_key(part) {
        return Ok(());
    }
    let known: Vec<&str> = table.keys().map(String::as_str).collect();
    Err(format!("there is no setting `{key}`; there are {}", known.join(", ")))
}

fn value<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => map.get(key),
        Some((table, inner)) => map.get(table)?.get(inner),
    }
}

fn told(error: &str, changes: &[SettingChange]) -> String {
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    format!("{}: {error}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::{Dedup, Mailbox};
    use super::*;

    fn change(key: &str, value: Option<Value>) -> SettingChange {
        SettingChange { key: key.to_owned(), value }
    }

    #[test]
    fn keys_of_all_forms_change_and_go_back_to_what_is_configured() {
        let configured = QueueSettings { lease_ms: 500, ..QueueSettings::default() };
        let changes = [
            change("mailbox", Some(json!("mixed"))),
            change("lease_ms", Some(json!(900))),
            change("retry.attempts", Some(json!(7))),
            change("retry.jitter", Some(json!(0.5))),
            change("dedup", Some(json!("off"))),
        ];
        let settings = QueueSettings::default().changed(&changes, &configured).unwrap();
        assert_eq!((settings.mailbox, settings.lease_ms), (Mailbox::Mixed, 900));
        assert_eq!((settings.retry.attempts, settings.retry.jitter), (7, 0.5));
        assert_eq!((settings.retry.max_ms, settings.dedup), (60_000, Dedup::Off));
        let back = changes.map(|it| SettingChange { value: None, ..it });
        assert_eq!(settings.changed(&back, &configured).unwrap(), configured);
        let keys = ["retry".to_owned(), "dedup".to_owned(), "gone".to_owned()];
        let kept = configured.with_keys_of(&settings, &keys);
        assert_eq!((kept.retry.attempts, kept.dedup, kept.lease_ms), (7, Dedup::Off, 500));
        assert_eq!(kept.mailbox, Mailbox::File);
        let window = [change("dedup", Some(json!({ "by": "count", "last": 5 })))];
        let settings = settings.changed(&window, &configured).unwrap();
        assert_eq!(settings.dedup, Dedup::Count { last: 5 });
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (key, value, said) in [
            ("mailbx", json!("file"), "there is no setting `mailbx`; there are mailbox, memory"),
            ("retry.tries", json!(1), "there is no setting `retry.tries`; there are attempts,"),
            ("lease_ms.x", json!(1), "`lease_ms` has no `x`"),
            ("mailbox", json!("disk"), "mailbox: unknown variant `disk`, expected one of"),
            (
                "lease_ms",
                json!("x"),
                "lease_ms: invalid type: string \"x\", expected a whole number",
            ),
            ("lease_ms", json!(1), "lease_ms is 1; at least 100"),
            ("memory_messages", json!(0), "memory_messages is 0; it must be from 1"),
        ] {
            let settings = QueueSettings::default();
            let error = settings.changed(&[change(key, Some(value))], &settings).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
