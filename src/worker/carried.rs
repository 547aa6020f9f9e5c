//! What of a message's header is carried on to what does its work: as variables, as HTTP header fields.

use serde_json::Value;

/// The header's fields that are carried one by one, beside its id.
pub(super) const FIELDS: [&str; 11] = [
    "type",
    "source",
    "time",
    "content_type",
    "key",
    "correlation_id",
    "causation_id",
    "reply_to",
    "traceparent",
    "tracestate",
    "max_execution_ms",
];

/// A string as it is, anything else as JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other.to_string(),
    }
}
