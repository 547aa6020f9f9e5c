//! Hostile text made harmless: nothing that comes out of here moves the cursor, hides, reorders or overlaps
//! what stands beside it.
//!
//! What a person can't see is shown as one of two forms: a control character of ASCII as its picture (`␛`, `␀`,
//! `␡`), everything else as `\u{202e}`; a byte that isn't UTF-8 as `\xNN`. Cleaning what is clean changes
//! nothing, so a text that goes through two hands is still what its first one made of it.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr as _;

/// Columns between two tab stops where tabs are expanded.
pub const TAB_COLUMNS: usize = 4;
/// Code points of one grapheme shown as they are: Vietnamese and Devanagari need four or five, towers of
/// marks that reach over other rows have dozens.
const MAX_GRAPHEME_CHARS: usize = 6;

/// `text` for one line: tabs and newlines are shown as `␉` and `␊`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_plain(text) { Cow::Borrowed(text) } else { Cow::Owned(escape(text)) }
}

/// `text` for several lines: newlines stay, tabs become spaces up to the next tab stop; the carriage return
/// of a CRLF is shown as `␍`.
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    if is_plain_but(text, |byte| byte == b'\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let mut column = 0;
        for piece in pieces(line) {
            let start = out.len();
            if piece.source == "\t" {
                out.extend(std::iter::repeat_n(' ', TAB_COLUMNS - column % TAB_COLUMNS));
            } else {
                out.push_str(&piece.shown);
            }
            column += width(&out[start..]);
        }
    }
    Cow::Owned(out)
}

/// `bytes` for one line: as [`clean`], and bytes that aren't UTF-8 as `\xNN`.
pub fn clean_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&clean(chunk.valid()));
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a String takes all that is written to it");
        }
    }
    out
}

/// One grapheme, or one escaped character, of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What stands in the text.
    pub source: &'a str,
    /// What is shown for it.
    pub shown: Cow<'a, str>,
}

impl Piece<'_> {
    /// What is shown is an escape.
    pub fn is_escaped(&self) -> bool {
        matches!(self.shown, Cow::Owned(_))
    }
}

/// `text` as what is shown for it, in order; nothing is left out. Each piece is at least one column wide.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.graphemes(true).flat_map(|grapheme| {
        let whole = is_harmless(grapheme);
        let one = whole.then_some(Piece { source: grapheme, shown: Cow::Borrowed(grapheme) });
        let chars = if whole { "" } else { grapheme };
        one.into_iter().chain(chars.char_indices().map(move |(at, c)| {
            let source = &chars[at..at + c.len_utf8()];
            let shown = if is_harmless(source) {
                Cow::Borrowed(source)
            } else {
                Cow::Owned(escape_char(c))
            };
            Piece { source, shown }
        }))
    })
}

/// The columns that `text` takes; it must be cleaned. Counted grapheme by grapheme, as ratatui's cells are.
pub fn width(text: &str) -> usize {
    if is_plain(text) {
        text.len()
    } else {
        text.graphemes(true).map(unicode_width::UnicodeWidthStr::width).sum()
    }
}

/// `text` in at most `columns` columns, cut between graphemes and ended by `…` where it was longer. It must
/// be cleaned.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used > room {
            break;
        }
        out.push_str(grapheme);
    }
    out.push('…');
    Cow::Owned(out)
}

/// `text` in exactly `columns` columns: truncated, or filled with spaces at its end. It must be cleaned.
pub fn pad(text: &str, columns: usize) -> String {
    let mut out = truncate(text, columns).into_owned();
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&out))));
    out
}

fn is_plain(text: &str) -> bool {
    is_plain_but(text, |_| false)
}

fn is_plain_but(text: &str, also: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') || also(byte))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for piece in pieces(text) {
        out.push_str(&piece.shown);
    }
    out
}

/// Whether a grapheme may be shown as it is.
fn is_harmless(grapheme: &str) -> bool {
    if let [byte] = grapheme.as_bytes() {
        return matches!(byte, b' '..=b'~');
    }
    grapheme.width() > 0
        && grapheme.chars().count() <= MAX_GRAPHEME_CHARS
        && grapheme.chars().all(is_visible)
}

fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Printable by their category, yet drawn as nothing, or changing their neighbour's width.
        '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}' => false,
        _ => is_printable(c),
    }
}

/// Not a control, format, surrogate, private-use or unassigned character, nor a separator other than the
/// space: the standard library's own table, by which `escape_debug` decides.
fn is_printable(c: char) -> bool {
    // The letter in front: as a text's first character a combining mark would be escaped too.
    let mut buffer = [b'a', 0, 0, 0, 0];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..end])
        .is_ok_and(|text| text.escape_debug().nth(1).is_some_and(|first| first == c))
}

fn escape_char(c: char) -> String {
    match c {
        '\0'..='\u{1f}' => picture(u32::from(c)).to_string(),
        '\u{7f}' => '␡'.to_string(),
        _ => c.escape_unicode().to_string(),
    }
}

fn picture(code: u32) -> char {
    char::from_u32(0x2400 + code).expect("the control pictures are one block from U+2400")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_moves_the_cursor_or_hides_is_shown() {
        for (hostile, shown) in [
            ("\u{1b}[2J", "␛[2J"),
            ("a\tb\nc\r\n", "a␉b␊c␍␊"),
            ("\0\u{7f}", "␀␡"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("a\u{200b}b\u{200d}c\u{feff}", "a\\u{200b}b\\u{200d}c\\u{feff}"),
            ("\u{2028}\u{2029}\u{a0}", "\\u{2028}\\u{2029}\\u{a0}"),
            ("\u{e000}\u{378}", "\\u{e000}\\u{378}"),
            ("❤\u{fe0f}", "❤\\u{fe0f}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(clean(hostile), shown, "{hostile:?}");
        }
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in [
            "plain \\ \"quoted\" '",
            "żółw",
            "e\u{301}te\u{301}",
            "漢字",
            "नमस्ते",
            "🐢",
            "한글",
            "عربى",
        ] {
            assert_eq!(clean(text), text);
        }
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_tower_of_marks_and_a_mark_without_a_base_are_escaped() {
        let tower = format!("o{}", "\u{301}".repeat(40));
        assert_eq!(clean(&tower), format!("o{}", "\\u{301}".repeat(40)));
        assert_eq!(clean("\u{301}x"), "\\u{301}x");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_in_hexadecimal() {
        assert_eq!(clean_bytes(b"ok\xff\xc3(\x1b"), "ok\\xff\\xc3(␛");
    }

    #[test]
    fn several_lines_keep_their_newlines_and_expand_tabs() {
        assert_eq!(clean_lines("a\tb\n\tc\r\n"), "a   b\n    c␍\n");
        assert_eq!(clean_lines("漢\tb"), "漢  b");
    }

    #[test]
    fn truncating_cuts_between_graphemes_and_counts_columns() {
        assert_eq!(truncate("hello", 5), "hello");
        assert_eq!(truncate("hello", 4), "hel…");
        assert_eq!(truncate("漢字漢", 4), "漢…");
        assert_eq!(truncate("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(truncate("hello", 0), "");
        assert_eq!(pad("漢字", 3), "漢…");
        assert_eq!(pad("漢字漢", 4), "漢… ");
        assert_eq!(pad("a", 3), "a  ");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            for out in [clean(&text).into_owned(), clean_bytes(&bytes)] {
                prop_assert!(out.chars().all(|c| !c.is_control() && is_visible(c)));
                prop_assert_eq!(&clean(&out), &out, "cleaned twice");
            }
            let lines = clean_lines(&text);
            prop_assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
            prop_assert!(lines.chars().all(|c| c == '\n' || is_visible(c)));
        }

        #[test]
        fn pieces_leave_nothing_out_and_each_takes_room(text in any::<String>()) {
            let all: Vec<_> = pieces(&text).collect();
            prop_assert_eq!(all.iter().map(|p| p.source).collect::<String>(), text.as_str());
            prop_assert!(all.iter().all(|p| width(&p.shown) > 0));
        }

        #[test]
        fn padding_gives_the_width_asked_for(text in any::<String>(), columns in 0usize..40) {
            prop_assert_eq!(width(&pad(&clean(&text), columns)), columns);
        }
    }
}
