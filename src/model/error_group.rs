//! Errors that are the same but for what they name: a message's number, an id, a quoted value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::Seq;
use super::message::WorkError;
use super::time::Timestamp;

/// Letters of a hexadecimal word without a digit: shorter ones are words of some language (`decade`, `facade`).
const MIN_HEX_LETTERS: usize = 8;
/// The digits of an id: 48 bits tell some thousand groups apart.
const ID_DIGITS: usize = 12;

/// Names a group of errors: twelve hexadecimal digits, made of the group's pattern alone, so that it is the same in
/// all queues, runs and versions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ErrorGroupId(u64);

/// Why a text names no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no error group; one is named by {ID_DIGITS} hexadecimal digits")]
pub struct NoErrorGroup {
    /// The text, shortened.
    found: String,
}

impl ErrorGroupId {
    /// The group of an error.
    pub fn of(error: &WorkError) -> Self {
        Self::of_pattern(&error_pattern(error))
    }

    /// The group with this pattern.
    pub fn of_pattern(pattern: &str) -> Self {
        // FNV-1a: it is to be the same for ever, and no more.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in pattern.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(hash >> 16)
    }
}

impl fmt::Display for ErrorGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:012x}", self.0))
    }
}

impl FromStr for ErrorGroupId {
    type Err = NoErrorGroup;
    fn from_str(text: &str) -> Result<Self, NoErrorGroup> {
        let is_id = text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_id);
        let found = || text.chars().take(2 * ID_DIGITS).collect();
        number.map(Self).ok_or_else(|| NoErrorGroup { found: found() })
    }
}

impl TryFrom<String> for ErrorGroupId {
    type Error = NoErrorGroup;
    fn try_from(text: String) -> Result<Self, NoErrorGroup> {
        text.parse()
    }
}

impl From<ErrorGroupId> for String {
    fn from(id: ErrorGroupId) -> Self {
        id.to_string()
    }
}

/// A group of errors among a queue's messages.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorGroupView {
    /// Its name, for `group=` in lists and filters.
    pub group: ErrorGroupId,
    /// What its errors have in common: `#` stands for numbers and ids, `…` for what is quoted.
    pub pattern: String,
    /// How many messages of this page failed last so.
    pub count: u64,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
    /// When the first failure of these ended; absent if no failure is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    /// When the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// The error of the first message, whole.
    pub example: WorkError,
}

/// The groups of a page of a queue's messages that failed last and are not at their end, the most frequent first. A long queue has
/// several pages; a group may be on each.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorGroupPage {
    /// The groups.
    pub groups: Vec<ErrorGroupView>,
    /// Where the next page starts; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

/// What errors of one group have in common: code and message, with `#` for each number and each word that has one in
/// it (an id, a time, an address), and `…` for what is quoted.
pub fn error_pattern(error: &WorkError) -> String {
    let mut out = format!("{}: ", error.code);
    let mut rest = error.message.as_str();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let len = if let Some(len) = quoted(rest, before) {
            let end = rest[..len].chars().next_back().unwrap_or(c);
            out.extend([c, '…', end]);
            len
        } else if c.is_alphanumeric() {
            let len = word(rest);
            let word = &rest[..len];
            out.push_str(if varies(word) { "#" } else { word });
            len
        } else {
            out.push(c);
            c.len_utf8()
        };
        before = rest[..len].chars().next_back().unwrap_or(c);
        rest = &rest[len..];
    }
    out
}

/// The bytes of a quotation that begins here, quotes included. An apostrophe inside a word begins none.
fn quoted(text: &str, before: char) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, open) = chars.next()?;
    let close = match open {
        '"' | '`' => open,
        '\'' if !before.is_alphanumeric() => open,
        '“' => '”',
        '‘' if !before.is_alphanumeric() => '’',
        _ => return None,
    };
    let mut is_escaped = false;
    for (at, c) in chars {
        let ends = c == close && !is_escaped;
        let next = text[at + c.len_utf8()..].chars().next();
        if ends && !(matches!(c, '\'' | '’') && next.is_some_and(char::is_alphanumeric)) {
            return Some(at + c.len_utf8());
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    None
}

/// The bytes of the word that begins here: letters and digits, with `-` and `_` between them, and between digits `. : ,`.
fn word(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        let goes_on = c.is_alphanumeric()
            || (matches!(c, '-' | '_') && next.is_alphanumeric())
            || (matches!(c, '.' | ':' | ',') && before.is_ascii_digit() && next.is_ascii_digit());
        if !goes_on {
            return at;
        }
        before = c;
    }
    text.len()
}

fn varies(word: &str) -> bool {
    let is_hex = || word.len() >= MIN_HEX_LETTERS && word.bytes().all(|b| b.is_ascii_hexdigit());
    word.chars().any(char::is_numeric) || is_hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(message: &str) -> String {
        error_pattern(&WorkError::new("exit-1", message))
    }

    #[test]
    fn what_varies_from_message_to_message_is_taken_out() {
        for (message, expected) in [
            ("timeout after 30 s", "exit-1: timeout after # s"),
            ("invoice INV-2024-00017: total 12.50 is wrong", "exit-1: invoice #: total # is wrong"),
            ("no such customer 'Ann O'Neill'", "exit-1: no such customer '…'"),
            (
                "it can't be done: \"a \\\" b\" isn't known",
                "exit-1: it can't be done: \"…\" isn't known",
            ),
            ("550e8400-e29b-41d4-a716-446655440000 is gone", "exit-1: # is gone"),
            ("at 0xdeadbeef and deadbeef", "exit-1: at # and #"),
            ("2026-11-22T12:00:00.5Z: 127.0.0.1:5555 refused", "exit-1: #: # refused"),
            ("a facade, “x” and `y`", "exit-1: a facade, “…” and `…`"),
            ("an open ' stays", "exit-1: an open ' stays"),
            ("żółw nr ٣ – 5", "exit-1: żółw nr # – #"),
            ("", "exit-1: "),
        ] {
            assert_eq!(pattern(message), expected);
        }
    }

    #[test]
    fn a_group_has_the_same_name_for_ever() {
        let id = ErrorGroupId::of(&WorkError::new("exit-1", "timeout after 30 s"));
        assert_eq!(id, ErrorGroupId::of(&WorkError::new("exit-1", "timeout after 45 s")));
        assert_ne!(id, ErrorGroupId::of(&WorkError::new("exit-2", "timeout after 30 s")));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string(), "bd8ffc398858");
        for wrong in ["", "12", "+23456789abc", "x23456789abc", "123456789abcd"] {
            assert!(wrong.parse::<ErrorGroupId>().is_err(), "{wrong}");
        }
    }
}
