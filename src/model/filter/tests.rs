use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::limits::MAX_PUBLISH_COST;
use crate::model::{Content, Header};

fn content(header: &str, body: &str) -> Content {
    let header = Header::from_json(header.as_bytes()).expect("a valid header");
    Content { header, payload: Bytes::copy_from_slice(body.as_bytes()) }
}

fn order() -> Content {
    content(
        r#"{"id":"m1","type":"order","headers":{"country":"FR","tier":"gold"}}"#,
        r#"{"total":120.5,"items":[{"sku":"a","n":2},{"sku":"b","n":0}],"tags":["x","y"],
            "big":18446744073709551615,"none":null,"name":"Zoé"}"#,
    )
}

fn outcome(filter: &str, content: &Content) -> Result<bool, String> {
    let filter = Filter::new(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let subject = Subject::new("order.created", content);
    filter.matches(&subject, &mut Budget::new(MAX_PUBLISH_COST))
}

#[test]
fn filters_see_topic_header_and_body() {
    for (filter, passes) in [
        ("header.headers.country == 'FR' && body.total > 100", true),
        ("header.headers.country == 'DE' || body.total > 100", true),
        ("header['type'] == \"order\" && topic.startsWith('order.')", true),
        ("body.total >= 120.5 && body.total < 121", true),
        ("body.big == 18446744073709551615u", true),
        ("body.big > 9223372036854775807", true),
        ("body.total * 2 == 241.0 && 7 % 4 == 3 && 7 / 2 == 3 && -(-1) == 1", true),
        ("body.items[0].sku == 'a' && body.items[1]['n'] == 0", true),
        ("'x' in body.tags && !('z' in body.tags) && 'total' in body", true),
        ("has(body.total) && !has(body.price) && has(header.headers.tier)", true),
        ("body.items.exists(i, i.n == 0) && body.items.all(i, i.n >= 0)", true),
        ("body.items.exists_one(i, i.n > 1)", true),
        ("body.items.filter(i, i.n > 0).size() == 1", true),
        ("body.items.map(i, i.sku) == ['a', 'b']", true),
        ("size(body.name) == 3 && body.name.contains('o') && body.name.endsWith('é')", true),
        ("body.tags.all(t, body.tags.exists(u, u == t))", true),
        ("body.none == null && body.total != 'text'", true),
        ("string(7) + 'x' == '7x' && int('7') == 7 && int(7.9) == 7 && double('1.5') == 1.5", true),
        ("header.headers.tier.lowerAscii() == 'gold' ? true : false", true),
        ("body.total < 100", false),
        ("[] == [1] || [1, 'a'] == [1]", false),
    ] {
        assert_eq!(outcome(filter, &order()), Ok(passes), "{filter}");
    }
}

#[test]
fn a_side_that_decides_does_so_beside_an_error() {
    for (filter, passes) in [
        ("body.price > 1 || true", true),
        ("true || body.price > 1", true),
        ("body.price > 1 && false", false),
        ("[1, 0, 2].exists(n, 4 / n == 2)", true),
        ("[0, 3].all(n, 3 / n == 2)", false),
    ] {
        assert_eq!(outcome(filter, &order()), Ok(passes), "{filter}");
    }
}

#[test]
fn what_a_filter_cant_tell_is_an_error_with_its_reason() {
    for (filter, reason) in [
        ("body.price > 1", "there is no field `price`"),
        ("body.total > 'a'", "a number can't be compared with a string"),
        ("body.total", "it gives a number; true or false is needed"),
        ("body.total && true", "a condition is a number; true or false is needed"),
        ("body.items.sku == 'a'", "`.sku` needs an object, not a list"),
        ("body.items[7].n == 1", "there is no element 7"),
        ("1 / 0 == 1", "a division by zero"),
        ("9223372036854775807 * 9223372036854775807 > 0", "a number beyond 64 bits"),
        ("[0, 3].all(n, 3 / n == 1)", "a division by zero"),
        ("size(body.total) == 1", "size can't take a number"),
    ] {
        assert_eq!(outcome(filter, &order()), Err(reason.to_owned()), "{filter}");
    }
    let text = content(r#"{"id":"m1"}"#, "not json");
    let error = outcome("body.total > 1", &text).expect_err("no JSON");
    assert!(error.starts_with("the body is not JSON: "), "{error}");
    assert_eq!(outcome("header.id == 'm1'", &text), Ok(true), "the body isn't looked at");
    let large = content(r#"{"id":"m1"}"#, &format!("\"{}\"", "x".repeat(1024 * 1024)));
    let error = outcome("body == 'x'", &large).expect_err("too large");
    assert!(error.contains("filters look into at most 1048576"), "{error}");
}

#[test]
fn texts_that_are_no_filters_are_refused_with_the_place() {
    for (filter, reason) in [
        ("", "mismatched input '<EOF>'"),
        ("body.total >", "at line 1 column"),
        ("body.total > 1\n  && )", "at line 2 column"),
        ("price > 1", "the name `price`; there are header, body and topic"),
        ("body.name.matches('(a+)+$')", "matches() with 1 arguments; there are size, contains"),
        ("{'a': 1} == body", "a map or an object of its own"),
        ("b'abc' == body", "bytes; there are"),
        ("timestamp(header.time) > timestamp('2026')", "timestamp()"),
    ] {
        let error = Filter::new(filter).expect_err(filter).to_string();
        assert!(error.contains(reason), "{filter}: {error}");
    }
}

/// Tests have a thread with the stack of the broker's, 2 MiB: what recursed without a bound would end them.
#[test]
fn bombs_are_refused_when_they_are_compiled() {
    let nested =
        |open: &str, close: &str, n: usize| format!("{}1{} == 1", open.repeat(n), close.repeat(n));
    for bomb in [
        "x".repeat(4_097),
        nested("(", ")", 2_000),
        nested("[", "]", 2_000),
        nested("[", "]", 60),
        "(".repeat(4_000),
        "[{(".repeat(1_000),
        format!("1{} == 1", " + 1".repeat(900)),
        format!("{}true", "true ? true : ".repeat(250)),
        format!("{}true", "true ? ".repeat(500)),
        format!("body{} == 1", ".a".repeat(1_500)),
        format!("{}1 == 1", "!-".repeat(1_500)),
        format!("body{}", "[0]".repeat(1_000)),
    ] {
        let error = Filter::new(&bomb).expect_err(&bomb);
        assert!(
            matches!(
                error,
                FilterError::TooLong { .. }
                    | FilterError::TooDeep { .. }
                    | FilterError::Syntax { .. }
            ),
            "{error}"
        );
    }
    let wide = vec!["topic == 'x'"; 240].join(" || ");
    Filter::new(&wide).expect("long, and not deep");
}

#[test]
fn bombs_are_cut_off_when_they_are_evaluated() {
    let numbers: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let list = content(r#"{"id":"m1"}"#, &format!("[{}]", numbers.join(",")));
    for bomb in [
        "body.all(a, body.all(b, body.all(c, a + b + c >= 0)))",
        "body.map(a, body).map(a, a.map(b, body)) == []",
        "body.map(a, 'xxxxxxxxxxxxxxxx').map(a, a + a + a + a + a + a + a).size() > 0",
        "body.all(a, a in body)",
        "body.all(a, body == body)",
    ] {
        let mut budget = Budget::new(MAX_PUBLISH_COST);
        let filter = Filter::new(bomb).expect("compiles");
        let subject = Subject::new("t", &list);
        let error = filter.matches(&subject, &mut budget).expect_err(bomb);
        assert_eq!(
            error, "it costs more than the 50000 steps that it may take; let it look at less",
            "{bomb}"
        );
    }
    assert_eq!(outcome("body.all(a, a >= 0)", &list), Ok(true), "once over a list is fine");
}

#[test]
fn filters_of_one_publish_share_their_budget() {
    let list = content(r#"{"id":"m1"}"#, "[1,2,3]");
    let filter = Filter::new("body.all(a, a > 0)").expect("compiles");
    let subject = Subject::new("t", &list);
    let mut budget = Budget::new(60);
    assert_eq!(filter.matches(&subject, &mut budget), Ok(true));
    let error =
        filter.matches(&subject, &mut budget).and_then(|_| filter.matches(&subject, &mut budget));
    assert!(error.is_err_and(|error| error.contains("cost more than they may together")));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c.()\\[\\]{}?:!&|<>=+*/%'\"0-9 \\n-]{0,80}") {
        drop(Filter::new(&text));
    }

    #[test]
    fn no_filter_of_known_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "header", "body", "topic", ".", "a", "(", ")", "[", "]", "==", "<", "&&", "||", "!", "-", "+",
        "in", "1", "1.5", "'x'", "null", "true", "?", ":", ".all(", ".map(", "has(", ",", "size(", "%", "/", "*",
    ]), 0..24)) {
        let text = words.join(" ");
        if let Ok(filter) = Filter::new(&text) {
            let content = order();
            let subject = Subject::new("t", &content);
            let _ = filter.matches(&subject, &mut Budget::new(MAX_PUBLISH_COST));
        }
    }
}
