//! One token at a time, by RFC 8259 sections 2, 6 and 7.

use super::TokenKind;
use crate::console::text::clean::{clean, truncate};

/// Columns of a wrong word that a message repeats.
const WORD_COLUMNS: usize = 20;

/// Why there is no token.
#[derive(Debug)]
pub(super) struct LexError {
    /// Where, in bytes.
    pub(super) at: usize,
    /// Why.
    pub(super) message: String,
    /// Where to go on: after the token's start, on a character's boundary.
    pub(super) resume: usize,
    /// The message says what was found; what was expected depends on what stands before.
    pub(super) unknown: bool,
}

pub(super) fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    from + space.count()
}

/// The token that starts at `at`, which is inside `text` and no white space, and where it ends. A string is
/// [`TokenKind::String`] also where it is a key.
pub(super) fn token(text: &str, at: usize) -> Result<(TokenKind, usize), LexError> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'{' | b'[' => Ok((TokenKind::Open, at + 1)),
        b'}' | b']' => Ok((TokenKind::Close, at + 1)),
        b',' => Ok((TokenKind::Comma, at + 1)),
        b':' => Ok((TokenKind::Colon, at + 1)),
        b'"' => string(text, at).map(|end| (TokenKind::String, end)),
        b'-' | b'0'..=b'9' => number(text, at).map(|end| (TokenKind::Number, end)),
        _ => word(text, at),
    }
}

fn string(text: &str, start: usize) -> Result<usize, LexError> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape(text, start, at)?,
            control @ 0..0x20 => {
                let message = match control {
                    b'\n' => "a line break inside a string: write \\n".to_owned(),
                    b'\t' => "a tab inside a string: write \\t".to_owned(),
                    _ => format!("a control character inside a string: write \\u{control:04x}"),
                };
                return Err(LexError {
                    at,
                    message,
                    resume: string_end(bytes, start),
                    unknown: false,
                });
            }
            _ => at += 1,
        }
    }
    let message = "this string has no closing quote".to_owned();
    Err(LexError { at: start, message, resume: string_end(bytes, start), unknown: false })
}

fn escape(text: &str, start: usize, at: usize) -> Result<usize, LexError> {
    let bytes = text.as_bytes();
    let refuse = |message: String| LexError {
        at,
        message,
        resume: string_end(bytes, start),
        unknown: false,
    };
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes.get(at + 2..at + 6);
            if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                Ok(at + 6)
            } else {
                Err(refuse("`\\u` needs four hexadecimal digits".to_owned()))
            }
        }
        Some(_) => {
            let wrong = text[at + 1..].chars().next().map(String::from).unwrap_or_default();
            Err(refuse(format!("`\\{}` is no escape of JSON", clean(&wrong))))
        }
        None => Err(LexError {
            at: start,
            message: "this string has no closing quote".to_owned(),
            resume: bytes.len(),
            unknown: false,
        }),
    }
}

/// Where a broken string's token ends: after its closing quote on this line, or at the line's end.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\n' => return at,
            b'\\' if bytes.get(at + 1).is_some_and(|byte| byte.is_ascii() && *byte != b'\n') => {
                at += 2
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number(text: &str, start: usize) -> Result<usize, LexError> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let resume = start
        + bytes[start..]
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
    let needed = |from: usize| {
        let end = digits(from);
        let message = "a number needs a digit here".to_owned();
        if end == from {
            Err(LexError { at: from, message, resume, unknown: false })
        } else {
            Ok(end)
        }
    };
    let whole = start + usize::from(bytes[start] == b'-');
    let mut at = needed(whole)?;
    if bytes[whole] == b'0' && at > whole + 1 {
        let message = "a number doesn't start with 0; write it without, or in quotes".to_owned();
        return Err(LexError { at: start, message, resume, unknown: false });
    }
    if bytes.get(at) == Some(&b'.') {
        at = needed(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = needed(at + 1 + sign)?;
    }
    Ok(at)
}

fn word(text: &str, at: usize) -> Result<(TokenKind, usize), LexError> {
    let letters = text[at..].bytes().take_while(u8::is_ascii_alphanumeric).count();
    let first = text[at..].chars().next().map_or(1, char::len_utf8);
    let end = at + letters.max(first);
    let found = &text[at..end];
    let reason = match found {
        "true" | "false" | "null" => return Ok((TokenKind::Literal, end)),
        "\u{feff}" => "a byte order mark: JSON has none, delete it".to_owned(),
        "'" => "JSON has no single-quoted strings: write \"".to_owned(),
        "NaN" | "Infinity" => format!("JSON has no {found}"),
        _ => {
            let message = format!("found `{}`", truncate(&clean(found), WORD_COLUMNS));
            return Err(LexError { at, message, resume: end, unknown: true });
        }
    };
    Err(LexError { at, message: reason, resume: end, unknown: false })
}
