//! JSON as bytes: checked by RFC 8259, re-indented token by token, cut into tokens for highlighting.
//!
//! Nothing here makes a value of a number or a string, so `1.10`, a 23-digit number, the keys' order, a
//! key that stands twice and `\u0041` stay as they were written.

use std::ops::Range;

mod lex;
mod pointer;

pub use pointer::place_of;

/// Arrays and objects inside one another. What is deeper is refused: no usual parser reads it (Python stops
/// at about 1,000, serde_json at 128), and the bound keeps the checker's memory small.
pub const MAX_DEPTH: usize = 10_000;
/// Spaces of one level of indentation.
const INDENT: usize = 2;
/// Levels that are indented: beyond, the text would grow with the square of the depth.
const MAX_INDENTED_LEVELS: usize = 64;

/// Where a text stops being JSON, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct JsonFault {
    /// From 1; lines end at `\n`.
    pub line: usize,
    /// From 1, in characters (code points), as `Editor::cursor` counts.
    pub column: usize,
    /// From 0, in bytes.
    pub offset: usize,
    /// What is wrong and, where it is known, what was expected. Harmless to show.
    pub message: String,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// A string before a colon.
    Key,
    /// Another string.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Literal,
    /// What is not JSON.
    Bad,
}

/// One token of a text; white space between tokens is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where, in bytes.
    pub range: Range<usize>,
}

/// Whether `bytes` are one JSON value by RFC 8259: UTF-8, no byte order mark, at most [`MAX_DEPTH`] deep.
/// Takes time in proportion to the length, and no recursion.
pub fn check(bytes: &[u8]) -> Result<(), JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let before = std::str::from_utf8(valid).expect("valid up to here");
        let byte = rest.first().copied().unwrap_or_default();
        fault(before, before.len(), format!("byte 0x{byte:02x} is not UTF-8"))
    })?;
    grammar(text).map_err(|(at, message)| fault(text, at, message))
}

/// `text` re-indented: only insignificant white space changes. Lines end as in `text` (CRLF if it has one),
/// and a newline at the end stays if there was one.
pub fn format(text: &str) -> Result<String, JsonFault> {
    check(text.as_bytes())?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut before = None;
    for token in tokens(text) {
        let kind = token.kind;
        if kind == TokenKind::Close {
            depth = depth.saturating_sub(1);
        }
        let broken = match (before, kind) {
            (None, _) | (Some(TokenKind::Open), TokenKind::Close) => false,
            (Some(TokenKind::Open | TokenKind::Comma), _) | (_, TokenKind::Close) => true,
            _ => false,
        };
        if broken {
            out.push_str(newline);
            out.extend(std::iter::repeat_n(' ', INDENT * depth.min(MAX_INDENTED_LEVELS)));
        }
        out.push_str(&text[token.range]);
        match kind {
            TokenKind::Open => depth += 1,
            TokenKind::Colon => out.push(' '),
            _ => {}
        }
        before = Some(kind);
    }
    if text.ends_with('\n') {
        out.push_str(newline);
    }
    Ok(out)
}

/// The tokens of `text`, JSON or not: what is broken becomes [`TokenKind::Bad`], and the text after it is
/// cut on. A valid JSON text may be cut line by line, since no token spans two lines.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut all: Vec<Token> = Vec::new();
    let mut at = lex::skip_space(text.as_bytes(), 0);
    while at < text.len() {
        let (kind, end) = match lex::token(text, at) {
            Ok(found) => found,
            Err(error) => (TokenKind::Bad, error.resume),
        };
        match (kind, all.last_mut()) {
            (TokenKind::Colon, Some(last)) if last.kind == TokenKind::String => {
                last.kind = TokenKind::Key;
            }
            _ => {}
        }
        all.push(Token { kind, range: at..end });
        at = lex::skip_space(text.as_bytes(), end);
    }
    all
}

type Refusal = (usize, String);

/// What may stand next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    Colon,
    CommaOrClose,
    End,
}

fn grammar(text: &str) -> Result<(), Refusal> {
    let mut open: Vec<u8> = Vec::new();
    let mut expect = Expect::Value;
    let mut at = lex::skip_space(text.as_bytes(), 0);
    while at < text.len() {
        let (kind, end) = lex::token(text, at).map_err(|error| {
            let message = error.message;
            let unknown = error.unknown.then(|| format!("{}; {message}", expected(expect, &open)));
            (error.at, unknown.unwrap_or(message))
        })?;
        expect =
            step(expect, kind, text.as_bytes()[at], &mut open).map_err(|message| (at, message))?;
        at = lex::skip_space(text.as_bytes(), end);
    }
    match expect {
        Expect::End => Ok(()),
        unfinished => Err((at, format!("the text ends here; {}", expected(unfinished, &open)))),
    }
}

fn step(expect: Expect, kind: TokenKind, first: u8, open: &mut Vec<u8>) -> Result<Expect, String> {
    use Expect::{Colon, CommaOrClose, End, Key, KeyOrClose, Value, ValueOrClose};
    let after_value = |open: &[u8]| if open.is_empty() { End } else { CommaOrClose };
    match (expect, kind) {
        (Value | ValueOrClose, TokenKind::Open) => {
            if open.len() == MAX_DEPTH {
                return Err(format!("nested deeper than {MAX_DEPTH} levels"));
            }
            open.push(first);
            Ok(if first == b'{' { KeyOrClose } else { ValueOrClose })
        }
        (
            Value | ValueOrClose,
            TokenKind::String | TokenKind::Key | TokenKind::Number | TokenKind::Literal,
        ) => Ok(after_value(open)),
        (ValueOrClose | KeyOrClose | CommaOrClose, TokenKind::Close)
            if open.last().is_some_and(|&opener| closer(opener) == first) =>
        {
            open.pop();
            Ok(after_value(open))
        }
        (CommaOrClose, TokenKind::Comma) => {
            Ok(if open.last() == Some(&b'{') { Key } else { Value })
        }
        (KeyOrClose | Key, TokenKind::String | TokenKind::Key) => Ok(Colon),
        (Colon, TokenKind::Colon) => Ok(Value),
        (Key | Value, TokenKind::Close) if !open.is_empty() => {
            Err(format!("{}; or take the comma before it away", expected(expect, open)))
        }
        _ => Err(expected(expect, open)),
    }
}

fn closer(opener: u8) -> u8 {
    if opener == b'{' { b'}' } else { b']' }
}

fn expected(expect: Expect, open: &[u8]) -> String {
    let close = open.last().map_or(' ', |&opener| char::from(closer(opener)));
    match expect {
        Expect::Value => "expected a value".to_owned(),
        Expect::ValueOrClose => format!("expected a value or `{close}`"),
        Expect::KeyOrClose => format!("expected a key in double quotes or `{close}`"),
        Expect::Key => "expected a key in double quotes".to_owned(),
        Expect::Colon => "expected `:` after the key".to_owned(),
        Expect::CommaOrClose => format!("expected `,` or `{close}`"),
        Expect::End => "the value has ended; nothing may follow it".to_owned(),
    }
}

fn fault(text: &str, offset: usize, message: String) -> JsonFault {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    JsonFault {
        line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        offset,
        message,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn said(text: &str) -> String {
        check(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_fault_has_its_line_its_column_in_characters_and_a_reason() {
        for (text, fault) in [
            ("", "1:1: the text ends here; expected a value"),
            (
                "{\"a\":1,}",
                "1:8: expected a key in double quotes; or take the comma before it away",
            ),
            ("[1,\n  2 3]", "2:5: expected `,` or `]`"),
            ("{\"żółw\": tru}", "1:10: expected a value; found `tru`"),
            ("{'a':1}", "1:2: JSON has no single-quoted strings: write \""),
            ("{a:1}", "1:2: expected a key in double quotes or `}`; found `a`"),
            ("\"a\nb\"", "1:3: a line break inside a string: write \\n"),
            ("\"a", "1:1: this string has no closing quote"),
            ("\"\\x\"", "1:2: `\\x` is no escape of JSON"),
            ("\"\\u12g4\"", "1:2: `\\u` needs four hexadecimal digits"),
            ("01", "1:1: a number doesn't start with 0; write it without, or in quotes"),
            ("1.", "1:3: a number needs a digit here"),
            ("-", "1:2: a number needs a digit here"),
            ("1 2", "1:3: the value has ended; nothing may follow it"),
            ("[1}", "1:3: expected `,` or `]`"),
            ("{\"a\" 1}", "1:6: expected `:` after the key"),
            ("[", "1:2: the text ends here; expected a value or `]`"),
            ("\u{feff}{}", "1:1: a byte order mark: JSON has none, delete it"),
            ("{\u{a0}}", "1:2: expected a key in double quotes or `}`; found `\\u{a0}`"),
        ] {
            assert_eq!(said(text), fault, "{text:?}");
        }
        assert_eq!(check(b"[\"\xff\"]").unwrap_err().to_string(), "1:3: byte 0xff is not UTF-8");
        assert_eq!(check(b"[1] \xff").unwrap_err().offset, 4);
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(said(&nested(MAX_DEPTH + 1)), "1:10001: nested deeper than 10000 levels");
        assert!(format(&nested(MAX_DEPTH)).unwrap().len() < 4_000_000);
    }

    #[test]
    fn formatting_changes_white_space_only() {
        let text = r#"{"b":1.10,"a":12345678901234567890123,"a":"\u0041\/","e":{},"l":[ ],"n":[1,{"x":-0e+1}]}"#;
        let formatted = "{\n  \"b\": 1.10,\n  \"a\": 12345678901234567890123,\n  \"a\": \"\\u0041\\/\",\n  \
             \"e\": {},\n  \"l\": [],\n  \"n\": [\n    1,\n    {\n      \"x\": -0e+1\n    }\n  ]\n}";
        assert_eq!(format(text).unwrap(), formatted);
        assert_eq!(format(formatted).unwrap(), formatted);
        assert_eq!(format("[1]\r\n").unwrap(), "[\r\n  1\r\n]\r\n");
        assert_eq!(format(" 1 ").unwrap(), "1");
        assert_eq!(format("[1").unwrap_err().column, 3);
    }

    #[test]
    fn broken_text_is_still_cut_into_tokens() {
        let kinds: Vec<_> = tokens("{\"k\" : @, \"open").into_iter().map(|t| t.kind).collect();
        use TokenKind::{Bad, Colon, Comma, Key, Open};
        assert_eq!(kinds, [Open, Key, Colon, Bad, Comma, Bad]);
    }

    fn jsonish() -> impl Strategy<Value = String> {
        let bits = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\n\"",
            "1",
            "-0.5e3",
            "true",
            "null",
            " ",
            "\n",
            "01",
            "\"",
            "\\",
            "é",
            "nul",
            ".",
            "\"\\u00e9\"",
            "\u{1}",
            "{\"a\":1}",
            "[1,2]",
            "\r\n\t",
        ]);
        prop::collection::vec(bits, 0..24).prop_map(|bits| bits.concat())
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn validity_is_what_serde_json_says(text in prop_oneof![jsonish(), any::<String>()]) {
            let theirs = serde_json::from_str::<IgnoredAny>(&text);
            prop_assert_eq!(check(text.as_bytes()).is_ok(), theirs.is_ok(), "{:?}", theirs);
        }

        #[test]
        fn a_fault_lies_inside_the_text(bytes in any::<Vec<u8>>()) {
            if let Err(fault) = check(&bytes) {
                prop_assert!(fault.offset <= bytes.len());
                prop_assert!(fault.line >= 1 && fault.column >= 1);
            }
        }

        #[test]
        fn formatting_keeps_every_token_and_the_value(value in value()) {
            let text = serde_json::to_string(&value).unwrap();
            let formatted = format(&text).unwrap();
            let words = |text: &str| -> Vec<String> {
                tokens(text).into_iter().map(|t| text[t.range].to_owned()).collect()
            };
            prop_assert_eq!(words(&text), words(&formatted));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&formatted).unwrap(), value);
        }

        #[test]
        fn tokens_cover_all_but_white_space(text in prop_oneof![jsonish(), any::<String>()]) {
            let mut at = 0;
            for token in tokens(&text) {
                prop_assert!(text[at..token.range.start].bytes().all(|b| b" \t\r\n".contains(&b)));
                prop_assert!(!token.range.is_empty());
                at = token.range.end;
            }
            prop_assert!(text[at..].bytes().all(|b| b" \t\r\n".contains(&b)));
        }
    }
}
