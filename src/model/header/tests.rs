//! Headers as they are read and written.

use proptest::prelude::*;

use super::*;

fn header(json: &str) -> Result<Header, HeaderError> {
    Header::from_map(parse_object(json.as_bytes())?, || MessageId::new("made").expect("a valid id"))
}

#[test]
fn unknown_fields_and_numbers_digits_are_kept_in_order() {
    let header = header(r#"{"x-b":1.10,"x-a":12345678901234567890123,"id":"m1"}"#).expect("valid");
    assert_eq!(&header.json()[..], br#"{"x-b":1.10,"x-a":12345678901234567890123,"id":"m1"}"#);
    assert_eq!(Header::from_json(header.json()).expect("reads back"), header);
}

#[test]
fn a_missing_id_is_made() {
    assert_eq!(header("").expect("valid").id().as_str(), "made");
}

#[test]
fn refusals_name_the_field() {
    for (json, text) in [
        (r#"{"id":7}"#, "header field `id`: is a number; a string is needed"),
        ("[1]", "header is an array; a JSON object is needed"),
        (
            r#"{"delay_ms":-5}"#,
            "header field `delay_ms`: is a number; a whole number of at least 0 is needed",
        ),
        (r#"{"max_attempts":0}"#, "header field `max_attempts`: must be from 1 to 4294967295"),
        ("{\n  oops}", "header is not JSON: key must be a string at line 2 column 3"),
    ] {
        assert_eq!(header(json).unwrap_err().to_string(), text);
    }
}

fn from_wire(json: &str) -> Result<Header, HeaderError> {
    Header::from_wire(json.as_bytes(), [], || Some(MessageId::new("made").expect("valid")))
        .map(|(header, [])| header)
}

#[test]
fn from_wire_reads_what_from_map_reads() {
    for json in [
        "",
        "{}",
        r#" { "x-b" : 1.10 , "n" : 12345678901234567890123, "o": { "a b" : [1, 2 , { } ] } } "#,
        r#"{"id":"m","key":"k","max_attempts":3,"max_execution_ms":70,"headers":{"a":null}}"#,
        r#"{"id":"m","x":"\u00e9\n","y\"z":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"id":7}"#,
        "[1]",
        "7 8",
        r#"{"ttl_ms":5}"#,
        r#"{"ttl_ms":0}"#,
        r#"{"delay_ms":5,"deliver_at":"2030-01-01T00:00:00Z"}"#,
        r#"{"deliver_at":"2030-01-01T00:00:00Z"}"#,
        r#"{"seq":5}"#,
        r#"{"queue":"q"}"#,
        r#"{"max_attempts":-1}"#,
        r#"{"max_attempts":1.0}"#,
        r#"{"headers":[]}"#,
        r#"{"key":null}"#,
        r#"{"x":"\ud800"}"#,
        "{\"x\":\"\u{1}\"}",
        r#"{"x":01}"#,
        r#"{"x":1}}"#,
        r#"{"x":tru}"#,
        "{\n  oops}",
        &format!(r#"{{"x":{}1{}}}"#, "[".repeat(3_000), "]".repeat(3_000)),
        &format!(r#"{{"x":{}1{}}}"#, "[".repeat(100), "]".repeat(100)),
        &format!("{{{}\"z\":0}}", (0..99).map(|n| format!("\"f{n}\":{n},")).collect::<String>()),
        &format!(r#"{{"x":"{}"}}"#, "y".repeat(2 * MAX_HEADER_BYTES)),
    ] {
        assert_eq!(from_wire(json), header(json), "{json:.200}");
        if let Ok(header) = from_wire(json) {
            assert_eq!(Header::from_json(header.json()), Ok(header), "{json:.200}");
        }
    }
}

/// JSON and what is nearly JSON, from its own pieces.
fn nearly_json() -> impl Strategy<Value = String> {
    let pieces = "{|}|[|]|,|:| |\n|\"id\"|\"a\"|\"key\"|\"headers\"|\"|\\|\\\"|\\u0041|\\ud800|é|\u{1}|\
                  1.10|-0|007|3|true|null|x";
    let piece = prop::sample::select(pieces.split('|').collect::<Vec<_>>());
    let noise = prop::collection::vec(piece.clone(), 0..12).prop_map(|p| p.concat());
    let value = prop::collection::vec(piece, 1..4).prop_map(|p| p.concat());
    let member =
        (prop::sample::select(vec!["id", "a", "key", "headers", "max_attempts", "ttl_ms"]), value)
            .prop_map(|(name, value)| format!("\"{name}\" : {value}"));
    let object = prop::collection::vec(member, 0..4).prop_map(|m| format!("{{{}}}", m.join(",")));
    prop_oneof![noise, object]
}

proptest! {
    #[test]
    fn both_ways_of_reading_agree_on_anything(json in nearly_json()) {
        prop_assert_eq!(from_wire(&json), header(&json));
        if let Ok(header) = from_wire(&json) {
            prop_assert_eq!(Header::from_json(header.json()), Ok(header));
        }
    }
}

#[test]
fn a_number_with_an_exponent_stays_as_it_was_written() {
    // The tree would make it 1e+5: the same value, but not the producer's text.
    let header = from_wire(r#"{"x": 1e5,"id":"m"}"#).unwrap();
    assert_eq!(&header.json()[..], br#"{"x":1e5,"id":"m"}"#);
    assert_eq!(Header::from_json(header.json()), Ok(header));
}

#[test]
fn a_verbs_own_fields_are_taken_out() {
    for json in [r#"{"queue":"q","x":1,"id":"m"}"#, r#"{"queue":"q","x":1,"id":"\u006d"}"#] {
        let (header, own) =
            Header::from_wire(json.as_bytes(), ["timeout_ms", "queue"], || None).expect("valid");
        assert_eq!(own, [None, Some(Value::from("q"))]);
        assert_eq!(&header.json()[..], br#"{"x":1,"id":"m"}"#);
    }
    let error = Header::from_wire(b"{}", [], || None).unwrap_err();
    assert_eq!(error.to_string(), "header field `id`: is missing");
}
