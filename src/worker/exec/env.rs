//! A delivery as environment variables.

use std::ffi::OsStr;

use serde_json::Value;
use tokio::process::Command;

use crate::wire::Delivery;
use crate::worker::carried::{FIELDS, text};

/// Sets what a handler may want to know. The variables of what this message doesn't have are taken out,
/// so that none is ever inherited from the worker's own environment.
pub(super) fn set(command: &mut Command, delivery: &Delivery) {
    for (name, _) in std::env::vars_os() {
        if inherited_header(&name) {
            command.env_remove(name);
        }
    }
    let header = delivery.content.header.to_map();
    for field in FIELDS {
        let name = format!("MUBROKER_{}", field.to_ascii_uppercase());
        match header.get(field) {
            Some(value) => command.env(name, without_nul(value)),
            None => command.env_remove(name),
        };
    }
    if let Some(Value::Object(headers)) = header.get("headers") {
        for (name, value) in headers {
            command.env(format!("MUBROKER_HEADERS_{}", variable(name)), without_nul(value));
        }
    }
    // Set last: the broker's own words win over anything that a producer chose.
    command
        .env("MUBROKER_ID", delivery.content.id().as_str())
        .env("MUBROKER_QUEUE", delivery.queue.as_str())
        .env("MUBROKER_SEQ", delivery.seq.to_string())
        .env("MUBROKER_ATTEMPT", delivery.attempt.to_string())
        .env("MUBROKER_DELIVERY", delivery.delivery.to_string())
        .env("MUBROKER_DEADLINE_MS", delivery.deadline_ms.to_string())
        // JSON escapes control characters, so that the whole header is here without loss.
        .env("MUBROKER_HEADER", String::from_utf8_lossy(delivery.content.header.json()).as_ref());
}

fn inherited_header(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("MUBROKER_HEADERS_"))
}

/// A NUL can't be in a variable: it becomes U+FFFD.
fn without_nul(value: &Value) -> String {
    text(value).replace('\0', "\u{fffd}")
}

/// Capitals and digits; anything else becomes `_`. Two names may become one: `MUBROKER_HEADER` has both.
fn variable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}
