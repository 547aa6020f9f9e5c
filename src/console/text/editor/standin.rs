//! One harmless character for each that the text area can't hold.
//!
//! The text area takes `\r` out of what is inserted, and its cursor goes by columns, so a character without
//! a width can't be stood on. Inside it each such character is a private-use one, one column wide; the
//! text's own bytes come back on the way out, and cursor positions are the same in both.

use std::collections::HashMap;

use unicode_width::UnicodeWidthChar as _;

/// The private-use planes: 131,068 characters, more than Unicode has of those that need one.
const PLACES: [std::ops::RangeInclusive<u32>; 2] = [0xf_0000..=0xf_fffd, 0x10_0000..=0x10_fffd];

/// The stand-ins of one text. They only become more: what the undo history holds stays readable.
#[derive(Debug, Default)]
pub(super) struct Standins {
    inside: HashMap<char, char>,
    outside: HashMap<char, char>,
    next: u32,
}

impl Standins {
    /// `text`, without its newlines touched, as the text area may hold it. `None` if it has more kinds of such
    /// characters than there are stand-ins; then nothing has changed but stand-ins given out.
    pub(super) fn encode(&mut self, text: &str) -> Option<String> {
        text.chars().map(|c| self.encode_char(c)).collect()
    }

    pub(super) fn encode_char(&mut self, c: char) -> Option<char> {
        if !needs_standin(c) {
            return Some(c);
        }
        if let Some(&standin) = self.inside.get(&c) {
            return Some(standin);
        }
        let standin = place(self.next)?;
        self.next += 1;
        self.inside.insert(c, standin);
        self.outside.insert(standin, c);
        Some(standin)
    }

    /// What [`Standins::encode`] was given.
    pub(super) fn decode(&self, text: &str, into: &mut String) {
        if self.outside.is_empty() {
            into.push_str(text);
        } else {
            into.extend(text.chars().map(|c| self.decode_char(c)));
        }
    }

    pub(super) fn decode_char(&self, c: char) -> char {
        if c < '\u{f0000}' { c } else { self.outside.get(&c).copied().unwrap_or(c) }
    }
}

/// The `n`th private-use character.
fn place(n: u32) -> Option<char> {
    let [first, second] = PLACES;
    let in_first = first.end() - first.start() + 1;
    let code = match n.checked_sub(in_first) {
        None => first.start() + n,
        Some(rest) => second.start() + rest,
    };
    if code > *second.end() { None } else { char::from_u32(code) }
}

fn needs_standin(c: char) -> bool {
    match c {
        '\t' | '\n' | ' '..='~' => false,
        '\u{f0000}'.. => true,
        _ => c.width().unwrap_or(0) == 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_many_kinds_are_refused_and_not_confused() {
        let every = PLACES.into_iter().flatten().filter_map(char::from_u32);
        let mut standins = Standins::default();
        assert!(standins.encode(&every.collect::<String>()).is_some());
        assert_eq!(standins.encode("\r"), None);
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out_and_has_columns_inside(text in any::<String>()) {
            let mut standins = Standins::default();
            let inside = standins.encode(&text).unwrap();
            prop_assert_eq!(inside.chars().count(), text.chars().count());
            prop_assert!(inside.chars().all(|c| "\t\n".contains(c) || c.width().unwrap_or(0) > 0));
            let mut out = String::new();
            standins.decode(&inside, &mut out);
            prop_assert_eq!(out, text);
        }
    }
}
