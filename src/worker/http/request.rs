//! A delivery as a request.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Uri};
use serde_json::Value;

use crate::wire::Delivery;
use crate::worker::carried::{FIELDS, text};

/// When a message says nothing (protocol: `content_type`).
const DEFAULT_TYPE: &str = "application/json";

pub(super) fn post(
    uri: &Uri,
    delivery: &Delivery,
    limit: Duration,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let header = delivery.content.header.to_map();
    let content_type = header.get("content_type").map_or_else(|| DEFAULT_TYPE.to_owned(), text);
    let mut request = Request::post(uri)
        .header(USER_AGENT, concat!("mubroker/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, field_value(&content_type));
    for field in FIELDS {
        let Some(value) = header.get(field).map(text) else { continue };
        request = match field {
            "content_type" => request,
            // W3C Trace Context names the fields.
            "traceparent" | "tracestate" => request.header(field, field_value(&value)),
            _ => request.header(format!("mubroker-{}", field_name(field)), field_value(&value)),
        };
    }
    if let Some(Value::Object(headers)) = header.get("headers") {
        for (name, value) in headers {
            let name = format!("mubroker-headers-{}", field_name(name));
            request = request.header(name, field_value(&text(value)));
        }
    }
    request
        .header("mubroker-id", field_value(delivery.content.id().as_str()))
        .header("mubroker-queue", delivery.queue.as_str())
        .header("mubroker-seq", delivery.seq.0)
        .header("mubroker-attempt", delivery.attempt)
        .header("mubroker-delivery", delivery.delivery.to_string())
        .header("mubroker-limit-ms", u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
        .body(Full::new(delivery.content.payload.clone()))
}

/// Letters and digits; anything else becomes `-`.
fn field_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

/// What HTTP doesn't carry as it is goes percent-encoded, as CloudEvents' HTTP binding (3.1.3.2) says; a space stays, for
/// dates and types that have parameters.
fn field_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_cannot_carry_is_percent_encoded() {
        assert_eq!(field_value("a b/ü\r\n100%\u{1b}"), "a b/%C3%BC%0D%0A100%25%1B");
        assert_eq!(field_name("X_Tenant id\r\n"), "x-tenant-id--");
    }
}
