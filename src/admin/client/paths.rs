//! Paths of the API's routes, encoded.

use crate::model::{QueueName, Seq};

pub(super) fn queue_path(queue: &QueueName) -> String {
    format!("/v1/queues/{}", percent_encode(queue.as_str()))
}

pub(super) fn message_path(queue: &QueueName, seq: Seq) -> String {
    format!("{}/messages/{seq}", queue_path(queue))
}

pub(super) fn with_query(mut path: String, pairs: &[(&str, Option<String>)]) -> String {
    let mut mark = '?';
    for (name, value) in pairs {
        if let Some(value) = value {
            path.push(mark);
            path.push_str(name);
            path.push('=');
            path.push_str(&percent_encode(value));
            mark = '&';
        }
    }
    path
}

/// RFC 3986 section 2.3: all but the unreserved characters; right in a path's part and in a query. A
/// part that is `.` or `..` would be taken as a step, so that a dot alone is encoded too.
pub(in crate::admin) fn percent_encode(text: &str) -> String {
    let dots = text.bytes().all(|b| b == b'.');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        if plain || (byte == b'.' && !dots) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
