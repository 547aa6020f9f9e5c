use super::*;

fn jq(expression: &str, payload: &str) -> String {
    let rework = Rework::jq(expression).unwrap();
    String::from_utf8(rework.apply(payload.as_bytes(), false).unwrap()).unwrap()
}

fn patch(patch: &str, payload: &str) -> String {
    let rework = Rework::patch(patch.as_bytes()).unwrap();
    String::from_utf8(rework.apply(payload.as_bytes(), false).unwrap()).unwrap()
}

/// What a value would lose of it: digits, escapes, white space, order.
const ODD: &str = "\r\n{ \"z\" : 1.10,\t\"id\":12345678901234567890123, \"e\":1E5, \"m\" :-0 ,\n  \"s\\u0041\": \"\\u00e9\\/\", \"a\":[ 1 ,2.0 , {} ], \"o\":{ } } \n";

#[test]
fn what_was_not_asked_for_keeps_its_bytes() {
    assert_eq!(jq(".", ODD), ODD);
    assert_eq!(patch("[]", ODD), ODD);
    assert_eq!(jq(".z = 2", ODD), ODD.replace("1.10", "2"));
    assert_eq!(jq(".a[1] = null", ODD), ODD.replace("2.0", "null"));
    assert_eq!(jq(".sA = \"x\"", ODD), ODD.replace("\"\\u00e9\\/\"", "\"x\""));
    let replace = r#"[{"op":"replace","path":"/a/0","value":{"b":1.50}}]"#;
    assert_eq!(patch(replace, ODD), ODD.replace("[ 1 ,", "[ {\"b\":1.50} ,"));
}

#[test]
fn an_expression_that_halts_fails_and_ends_nothing_else() {
    for expression in ["halt", "halt_error", "., halt"] {
        let rework = Rework::jq(expression).unwrap();
        let refused = rework.apply(b"{}", false).unwrap_err().to_string();
        assert!(refused.contains("halt") || refused.contains("several"), "{expression}: {refused}");
    }
}

#[test]
fn members_come_and_go_in_the_style_of_their_neighbours() {
    assert_eq!(jq(".c = 3", r#"{"a": 1, "b": 2}"#), r#"{"a": 1, "b": 2, "c": 3}"#);
    assert_eq!(jq(".b = 2", "{\n  \"a\": 1\n}\n"), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    assert_eq!(jq("del(.a)", r#"{"a": 1, "b": 2.0}"#), r#"{"b": 2.0}"#);
    assert_eq!(jq("del(.b)", r#"{ "a": 1, "b": 2, "c":3 }"#), r#"{ "a": 1, "c":3 }"#);
    assert_eq!(jq("del(.a)", r#"{ "a": 1 }"#), "{}");
    let four = r#"{"a":1, "b":2, "c":3, "d":4}"#;
    assert_eq!(jq("del(.b)", four), r#"{"a":1, "c":3, "d":4}"#);
    assert_eq!(jq("del(.a) | .e = 5", four), r#"{"b":2, "c":3, "d":4, "e":5}"#);
    let removal = r#"[{"op":"remove","path":"/b"}]"#;
    assert_eq!(patch(removal, four), r#"{"a":1, "c":3, "d":4}"#);
    assert_eq!(jq(".a = 1", "{ }"), r#"{"a":1}"#);
    assert_eq!(jq(". + [4]", "[1.0,  2, 3]"), "[1.0,  2,  3,  4]".replace("2,  3,", "2, 3,"));
    assert_eq!(jq("del(.[1])", "[1.0, 2, 3.00]"), "[1.0, 3.00]");
    assert_eq!(jq("[0] + .", "[1.0, 2, 3.00]"), "[0, 1.0, 2, 3.00]");
    assert_eq!(jq(".[0] = [] | .[0] += [1]", "[[2], 1.0]"), "[[1], 1.0]");
    assert_eq!(jq("{b, a}", r#"{"a": 1.0, "b": "\u0041"}"#), r#"{"b": "\u0041", "a": 1.0}"#);
    assert_eq!(jq("if .n > 1 then .n |= . - 1 else . end", r#"{"n":1.0}"#), r#"{"n":1.0}"#);
    assert_eq!(jq(".a", r#" {"a": 1.10} "#), " 1.10 ");
    assert_eq!(
        jq(".t |= ascii_downcase | .u |= sub(\"a+\"; \"b\")", r#"{"t":"AB","u":"caat"}"#),
        r#"{"t":"ab","u":"cbt"}"#
    );
}

#[test]
fn what_a_value_cannot_hold_is_refused_unless_it_is_forced() {
    let twice = br#"{"a":{"k":1,"\u006b":2}}"#;
    for rework in [
        Rework::jq(".b = 1").unwrap(),
        Rework::patch(br#"[{"op":"add","path":"/b","value":1}]"#).unwrap(),
    ] {
        let error = rework.apply(twice, false).unwrap_err();
        assert_eq!(error, ReworkError::TwiceKey { key: "k".to_owned() });
        let forced = rework.apply(twice, true).unwrap();
        assert_eq!(forced, br#"{"a":{"k":2},"b":1}"#);
    }
    let identity = Rework::jq(".").unwrap();
    assert!(matches!(identity.apply(b"{\"a\":}", false), Err(ReworkError::NotJson(_))));
    assert!(matches!(identity.apply(b"\xff", false), Err(ReworkError::NotJson(_))));
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    assert!(matches!(identity.apply(deep.as_bytes(), false), Err(ReworkError::TooDeep { .. })));
    for (expression, gives) in [("empty", "no value"), (".,.", "several values")] {
        let rework = Rework::jq(expression).unwrap();
        assert_eq!(rework.apply(b"1", false), Err(ReworkError::Results(gives)));
    }
    for expression in ["error(\"no\")", ".a", "nan"] {
        let failed = Rework::jq(expression).unwrap().apply(b"1", false);
        assert!(matches!(failed, Err(ReworkError::Fails(_))) || expression == "nan", "{failed:?}");
    }
    let missing = Rework::patch(br#"[{"op":"remove","path":"/x"}]"#).unwrap();
    assert!(matches!(missing.apply(b"{}", false), Err(ReworkError::Fails(_))));
}

#[test]
fn what_is_no_program_is_told() {
    for (expression, told) in [
        (".a |", "is expected at its end"),
        ("nosuch", "there is no filter \"nosuch\""),
        ("$x", "variable"),
        ("\u{1b}[2J", "expected"),
    ] {
        let error = Rework::jq(expression).unwrap_err();
        assert!(error.contains(told) && !error.contains('\u{1b}'), "{expression}: {error}");
    }
    assert!(Rework::patch(b"{}").unwrap_err().contains("a list of operations"));
}

proptest::proptest! {
    #[test]
    fn an_identity_changes_no_byte_of_any_json(value in json_text(4)) {
        for rework in [Rework::jq(".").unwrap(), Rework::patch(b"[]").unwrap()] {
            let done = rework.apply(value.as_bytes(), false);
            match done {
                Ok(new) => proptest::prop_assert_eq!(new, value.as_bytes()),
                Err(error) => proptest::prop_assert!(matches!(error, ReworkError::TwiceKey { .. } | ReworkError::Fails(_)), "{}", error),
            }
        }
    }

    #[test]
    fn a_result_is_the_value_that_jq_gives(value in json_text(4)) {
        let wrap = Rework::jq("[., 1] | .[0]").unwrap();
        if let Ok(new) = wrap.apply(value.as_bytes(), false) {
            let (old, new): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&value).unwrap(), serde_json::from_slice(&new).unwrap());
            proptest::prop_assert_eq!(old, new);
        }
    }
}

/// JSON with odd white space, numbers and escapes.
fn json_text(depth: u32) -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let space = || prop::sample::select(vec!["", " ", "\n  ", "\t"]);
    let leaf = prop::sample::select(vec![
        "1.10",
        "-0",
        "1e5",
        "1E+5",
        "12345678901234567890123",
        "0.1",
        "true",
        "null",
        "\"\"",
        "\"\\u0041\\/\\n\"",
        "\"é\\ud83d\\ude00\"",
        "[]",
        "{}",
        "{ }",
        "[\n]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(depth, 64, 6, move |inner| {
        let key =
            prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\"", "\"c d\"", "\"é\""]);
        let item = (space(), inner.clone(), space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
        let member =
            (space(), key, space(), item.clone()).prop_map(|(a, k, b, v)| format!("{a}{k}{b}:{v}"));
        prop_oneof![
            prop::collection::vec(item, 1..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 1..5)
                .prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}
