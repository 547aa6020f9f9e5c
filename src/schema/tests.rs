//! Schemas: what is refused, what is told, what a slow one costs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::model::limits::{MAX_CHECKED_BYTES, MAX_SCHEMA_BYTES};
use crate::model::{
    Content, Header, MessageId, QueueName, QueueSettings, QueueTemplate, RejectCode, SchemaText,
};

fn compiled(text: &str) -> Result<Compiled, SchemaError> {
    with_room(|| Compiled::new(&SchemaText::new(text))).unwrap()
}

fn missed(schema: &str, payload: &str) -> String {
    let compiled = compiled(schema).unwrap();
    let checked = with_room(|| compiled.check(payload.as_bytes())).unwrap();
    checked.err().map_or_else(String::new, |miss| miss.to_string())
}

fn name(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

fn content(payload: impl Into<Bytes>) -> Content {
    let id = || MessageId::new("m1").unwrap();
    let header = Header::from_map(serde_json::Map::new(), id).unwrap();
    Content { header, payload: payload.into() }
}

#[test]
fn a_miss_names_the_place_and_what_is_wrong() {
    let schema = r#"{"properties":{"items":{"items":{"required":["sku"],"properties":{"a/b~c":{"type":"number"}}}}}}"#;
    assert_eq!(missed(schema, r#"{"items":[{"sku":1}]}"#), "");
    assert_eq!(
        missed(schema, r#"{"items":[{"sku":1},{}]}"#),
        "/items/1: \"sku\" is a required property"
    );
    assert_eq!(
        missed(schema, r#"{"items":[{"sku":1,"a/b~c":"x"}]}"#),
        "/items/0/a~1b~0c: \"x\" is not of type \"number\""
    );
    assert!(
        missed("true", "{oops")
            .starts_with("the whole: it is not JSON that can be checked: key must")
    );
    assert_eq!(missed("false", "1"), "the whole: False schema does not allow 1");
}

#[test]
fn what_is_told_is_short_and_harmless_whatever_the_payload_is() {
    let told =
        missed(r#"{"type":"number"}"#, &format!("\"\\u001b[31m\u{9b}{}\"", "x".repeat(100_000)));
    assert!(told.len() < 260 && !told.contains(char::is_control), "{told:?}");
    let key = format!("{{\"\\u001b{}\":1}}", "k".repeat(5_000));
    let told = missed(r#"{"additionalProperties":{"type":"string"}}"#, &key);
    assert!(told.len() < 480 && !told.contains(char::is_control), "{told:?}");
}

#[test]
fn numbers_are_compared_by_their_digits() {
    let schema = r#"{"const":12345678901234567890123}"#;
    assert_eq!(missed(schema, "12345678901234567890123"), "");
    assert_ne!(missed(schema, "12345678901234567890124"), "");
    assert_ne!(missed(r#"{"maximum":10}"#, "1e400"), "");
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_place() {
    for (text, said) in [
        ("{\n  \"type\": \n}", "3:1: it is not JSON: expected value"),
        (r#"{"type":"strin"}"#, "/type: "),
        ("7", "the whole: 7 is not of types"),
        (r#"{"properties":{"a":{"pattern":"(?=a)b"}}}"#, "/properties/a/pattern: "),
        (r#"{"pattern":"(a{1000}){1000}"}"#, "/pattern: "),
        (r#"{"$schema":"http://example.org/x"}"#, "the whole: Unknown meta-schema"),
        (
            r#"{"items":{"$ref":"other.json"}}"#,
            "/items/$ref: \"other.json\" is in another file or at a URL",
        ),
        (
            r#"{"$ref":"http://127.0.0.1:9/x"}"#,
            "/$ref: \"http://127.0.0.1:9/x\" is in another file",
        ),
        (r#"{"$ref":"file:///etc/passwd"}"#, "/$ref: \"file:///etc/passwd\" is in another file"),
        (r##"{"$ref":"#/$defs/none"}"##, "the whole: "),
    ] {
        let error = compiled(text).unwrap_err().to_string();
        assert!(error.starts_with(said), "{text}: {error}");
    }
}

#[test]
fn references_inside_and_to_the_drafts_themselves_are_known() {
    let inside = r##"{"$id":"https://x.org/a","$ref":"#/$defs/n","$defs":{"n":{"$id":"n","type":"number"},"m":{"$ref":"n"}}}"##;
    assert_eq!(missed(inside, "1"), "");
    let meta = r#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#;
    assert_ne!(missed(meta, "1"), "");
    let older =
        r#"{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}]}"#;
    assert_eq!(missed(older, "[1]"), "/0: 1 is not of type \"string\"");
}

#[test]
fn the_deepest_schema_over_the_deepest_payload_has_room() {
    let mut text = r##"{"$ref":"#/$defs/0","$defs":{"##.to_owned();
    let mut links = 0;
    while text.len() < MAX_SCHEMA_BYTES - 200 {
        text.push_str(&format!(r##""{links}":{{"$ref":"#/$defs/{}"}},"##, links + 1));
        links += 1;
    }
    text.push_str(&format!(r##""{links}":{{"items":{{"$ref":"#/$defs/0"}}}}}}}}"##));
    assert!(links > 900 && text.len() <= MAX_SCHEMA_BYTES);
    let payload = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert_eq!(missed(&text, &payload), "");
}

#[test]
fn a_queue_has_its_own_schema_or_its_templates() {
    let schema = |text: &str| SchemaText::new(text);
    let template = |prefix: &str, text: &str| QueueTemplate {
        prefix: prefix.to_owned(),
        settings: Arc::new(QueueSettings { schema: schema(text), ..QueueSettings::default() }),
        max_queues: 0,
    };
    let schemas = Schemas::new(&[template("", ""), template("eu.", "{}")]);
    let of = |queue: &str| schemas.text_of(&name(queue)).as_str().to_owned();
    assert_eq!((of("us.a"), of("eu.a")), (String::new(), "{}".to_owned()));
    schemas.set(&name("us.a"), &schema("true"));
    schemas.set(&name("eu.a"), &schema(""));
    assert_eq!((of("us.a"), of("eu.a"), of("eu.b")), ("true".into(), String::new(), "{}".into()));
    schemas.set(&name("eu.a"), &schema("{}"));
    schemas.set(&name("us.a"), &schema(""));
    assert_eq!((of("us.a"), of("eu.a")), (String::new(), "{}".to_owned()));
    schemas.set(&name("us.a"), &schema("true"));
    schemas.forget_named();
    assert_eq!(of("us.a"), "");
}

#[tokio::test]
async fn messages_that_do_not_fit_are_refused_and_those_without_a_schema_are_not_looked_at() {
    let queue = name("bills");
    let checks = Checks::of_one(&queue, &SchemaText::new(r#"{"type":"object"}"#));
    checks.admit(&queue, &content("{}")).await.unwrap();
    checks.admit(&name("other"), &content("oops")).await.unwrap();
    let refused = checks.admit(&queue, &content("[1]")).await.unwrap_err();
    assert_eq!(refused.code, RejectCode::Schema);
    assert_eq!(
        refused.reason,
        "the payload is not as the schema of queue bills says: the whole: [1] is not of type \"object\""
    );
    assert_eq!(refused.id.unwrap().as_str(), "m1");
    let large =
        checks.admit(&queue, &content(vec![b' '; MAX_CHECKED_BYTES + 1])).await.unwrap_err();
    assert_eq!(large.code, RejectCode::TooLarge);
    let miss = checks.miss(&queue, &Bytes::from_static(b"1")).await.unwrap().unwrap();
    assert_eq!(miss.path, "");
}

/// Doubles with each level: what is an hour's work for 40 levels is told within the limit, and other schemas go on.
#[tokio::test]
async fn a_schema_without_end_is_given_up_and_holds_nothing_else_up() {
    let slow = r##"{"$ref":"#/$defs/n","$defs":{"n":{"anyOf":[{"properties":{"l":{"$ref":"#/$defs/n"}},"required":["x"]},{"properties":{"l":{"$ref":"#/$defs/n"}},"required":["y"]}]}}}"##;
    let payload = format!("{}1{}", "{\"l\":".repeat(40), "}".repeat(40));
    let schemas = Arc::new(Schemas::default());
    schemas.set(&name("slow"), &SchemaText::new(slow));
    schemas.set(&name("quick"), &SchemaText::new("{}"));
    let checks = Checks::with_limit(schemas, Duration::from_millis(200));
    let (slow, payload) = (name("slow"), Bytes::from(payload));
    for _ in 0..4 {
        let miss = checks.miss(&slow, &payload).await.unwrap().unwrap();
        assert!(miss.message.contains("takes longer than"), "{miss}");
    }
    assert_eq!(checks.miss(&name("quick"), &Bytes::from_static(b"1")).await.unwrap(), None);
}
