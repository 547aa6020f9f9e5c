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
    let (us, text) = (name("us.b"), schema("true"));
    schemas.replace_named([(&us, &text)]);
    assert_eq!((of("us.a"), of("us.b"), of("eu.a")), (String::new(), "true".into(), "{}".into()));
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

/// Each level of the payload goes through all of the schema's text.
#[test]
fn the_deepest_schema_of_single_steps_has_room() {
    let mut text = r##"{"$ref":"#/$defs/0","$defs":{"##.to_owned();
    let mut links = 0;
    while text.len() < MAX_SCHEMA_BYTES - 700 {
        let (open, close) = (r#"{"not":"#.repeat(60), "}".repeat(60));
        let next = links + 1;
        text.push_str(&format!(r##""{links}":{open}{{"$ref":"#/$defs/{next}"}}{close},"##));
        links = next;
    }
    text.push_str(&format!(r##""{links}":{{"items":{{"$ref":"#/$defs/0"}}}}}}}}"##));
    assert!(links > 60 && text.len() <= MAX_SCHEMA_BYTES);
    let payload = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert_eq!(missed(&text, &payload), "");
}

/// Doubles with each level: forty levels are an hour's work.
fn slow(title: &str) -> SchemaText {
    let text = r##"{"title":"T","$ref":"#/$defs/n","$defs":{"n":{"anyOf":[{"properties":{"l":{"$ref":"#/$defs/n"}},"required":["x"]},{"properties":{"l":{"$ref":"#/$defs/n"}},"required":["y"]}]}}}"##;
    SchemaText::new(&text.replace("\"T\"", &format!("\"{title}\"")))
}

fn nested(levels: usize) -> Bytes {
    Bytes::from(format!("{}1{}", "{\"l\":".repeat(levels), "}".repeat(levels)))
}

#[tokio::test]
async fn a_schema_without_end_is_given_up_and_holds_nothing_else_up() {
    let schemas = Arc::new(Schemas::default());
    schemas.set(&name("slow"), &slow("a"));
    schemas.set(&name("quick"), &SchemaText::new("{}"));
    let checks = Checks::with_limit(schemas, Duration::from_millis(200));
    let (slow, payload) = (name("slow"), nested(40));
    for _ in 0..4 {
        let miss = checks.miss(&slow, &payload).await.unwrap().unwrap();
        assert!(miss.message.contains("takes longer than 0.2 s"), "{miss}");
    }
    assert_eq!(checks.miss(&name("quick"), &Bytes::from_static(b"1")).await.unwrap(), None);
}

#[tokio::test]
async fn only_the_payload_that_took_too_long_is_refused_for_good() {
    let schemas = Arc::new(Schemas::default());
    schemas.set(&name("slow"), &slow("a"));
    let checks = Checks::with_limit(schemas, Duration::from_millis(200));
    let refused = checks.admit(&name("slow"), &content(nested(40))).await.unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (RejectCode::Schema, None));
    let fits = content(r#"{"x":1}"#);
    let refused = checks.admit(&name("slow"), &fits).await.unwrap_err();
    assert_eq!(refused.code, RejectCode::Busy);
    assert!(refused.retry_after_ms.unwrap() > 5_000, "{refused:?}");
    assert!(refused.reason.contains("took longer than 0.2 s"), "{refused:?}");
}

#[tokio::test]
async fn checks_whose_askers_have_gone_leave_threads_for_others() {
    let schemas = Arc::new(Schemas::default());
    for queue in ["a", "b", "c"] {
        schemas.set(&name(queue), &slow(queue));
    }
    schemas.set(&name("quick"), &SchemaText::new("{}"));
    let checks = Checks::with_limit(Arc::clone(&schemas), Duration::from_millis(100));
    for queue in ["a", "b", "c"] {
        let (queue, payload) = (name(queue), nested(40));
        // Until one is begun whose asker went away.
        while schemas.of(&queue).unwrap().avoided().is_none() {
            let asked = checks.miss(&queue, &payload);
            let _gone = tokio::time::timeout(Duration::from_millis(20), asked).await;
        }
    }
    while checks.miss(&name("quick"), &Bytes::from_static(b"1")).await.is_err() {}
}

#[tokio::test]
async fn threads_that_come_back_are_not_one_more() {
    let schemas = Arc::new(Schemas::default());
    schemas.set(&name("slow"), &slow("a"));
    let schema = schemas.of(&name("slow")).unwrap();
    let checks = Checks::with_limit(schemas, Duration::from_millis(1));
    let mut levels = 10;
    while schema.avoided().is_none() {
        levels += 1;
        let _told = checks.miss(&name("slow"), &nested(levels)).await;
    }
    // It ends by itself.
    while checks.threads() != (2, 0) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_schema_is_avoided_for_a_while_and_as_long_as_a_thread_is_in_it() {
    let schemas = Schemas::default();
    schemas.set(&name("slow"), &slow("a"));
    let schema = schemas.of(&name("slow")).unwrap();
    let later = || tokio::time::Instant::now() + Duration::from_secs(60);
    assert_eq!(schema.avoided(), None);
    schema.overran();
    schema.overran();
    assert!(schema.avoided().is_some());
    assert!(schema.avoided_at(later()).is_some());
    schema.came_back();
    assert!(schema.avoided_at(later()).is_some());
    schema.came_back();
    assert_eq!(schema.avoided_at(later()), None);
    assert!(schema.avoided().is_some());
}
