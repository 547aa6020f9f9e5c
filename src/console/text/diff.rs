//! The difference between two payloads or headers, as an operator reads it before sending.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp};
use unicode_segmentation::UnicodeSegmentation as _;

use super::clean::{clean, clean_bytes, truncate, width};
use super::json;

mod split;

use split::{Piece, pieces, words};

/// Equal lines around each change on the screen.
pub const DIFF_CONTEXT: usize = 3;
/// How long the search for a small difference may take; after it the result is right but coarser. The review
/// opens within half a second.
const SEARCH_TIME: Duration = Duration::from_millis(300);
/// Words of a changed block up to which they are marked one by one: beyond, everything is.
const MAX_MARKED_WORDS: usize = 20_000;
/// Lines of one difference: more than anybody reads, and 16 MiB of changes must not fill the memory twice.
const MAX_LINES: usize = 10_000;
/// Characters kept at each end of a long unchanged stretch: on 60 columns a line's first change is still seen.
const KEPT_CHARS: usize = 18;
/// Rows up to which a changed line is shown whole.
const CHANGED_ROWS: usize = 2;
/// Characters of an unchanged stretch up to which the width decides whether it is shown whole.
const STRETCH_CHARS: usize = 160;
/// Columns of a header's value that are shown.
const HEADER_COLUMNS: usize = 200;

/// What a line of a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffKind {
    /// In both.
    Same,
    /// Only in the old.
    Removed,
    /// Only in the new.
    Added,
    /// Equal lines were left out here.
    Gap,
    /// Says something about the difference.
    Note,
}

/// How a part of a line stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emphasis {
    /// As its line.
    Plain,
    /// This is what changed. White space here is shown as `·`, `␉`, `␍` and `␊`.
    Changed,
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    /// What it is.
    pub kind: DiffKind,
    /// Its line in the old text, from 1. The parts of a long line that was cut have the same number.
    pub old_no: Option<usize>,
    /// Its line in the new text, from 1.
    pub new_no: Option<usize>,
    /// Its text, cleaned: safe to show as it is.
    pub spans: Vec<(Emphasis, String)>,
}

impl DiffLine {
    /// Says something about the difference; `text` must be clean.
    pub fn note(text: impl Into<String>) -> Self {
        Self::bare(DiffKind::Note, text.into())
    }

    fn bare(kind: DiffKind, text: String) -> Self {
        Self { kind, old_no: None, new_no: None, spans: vec![(Emphasis::Plain, text)] }
    }

    /// This line in rows of at most `columns` columns, so that no change is beyond the screen's edge. Long stretches
    /// that did not change are left out where it would take many rows.
    pub fn wrapped(&self, columns: usize) -> Vec<Self> {
        let is_whole = match self.kind {
            DiffKind::Same => width(&self.text()) <= columns,
            DiffKind::Removed | DiffKind::Added => {
                // Where nothing is marked the other side has more: that must be seen here too.
                let is_marked = self.spans.iter().any(|(emphasis, _)| *emphasis != Emphasis::Plain);
                !is_marked || width(&self.text()) <= columns.saturating_mul(CHANGED_ROWS)
            }
            DiffKind::Gap | DiffKind::Note => true,
        };
        let mut rows = vec![Self { spans: Vec::new(), ..*self }];
        let mut used = 0;
        for (emphasis, text) in &self.spans {
            let is_elided = !is_whole && *emphasis == Emphasis::Plain;
            let text = if is_elided { elided(text) } else { text.clone() };
            for grapheme in text.graphemes(true) {
                let wide = width(grapheme);
                if used + wide > columns && used > 0 {
                    rows.push(Self { spans: Vec::new(), ..*self });
                    used = 0;
                }
                used += wide;
                let spans = &mut rows.last_mut().expect("there is a first row").spans;
                match spans.last_mut() {
                    Some((last, row)) if last == emphasis => row.push_str(grapheme),
                    _ => spans.push((*emphasis, grapheme.to_owned())),
                }
            }
        }
        rows
    }

    /// Its text without marks.
    pub fn text(&self) -> String {
        self.spans.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// What changed from `old` to `new`, with `context` equal lines around each change. Long lines are cut where
/// JSON's tokens end, so that a body of one line doesn't stand there whole, twice.
///
/// Without a difference it is one [`DiffKind::Note`] that says so.
pub fn unified(old: &[u8], new: &[u8], context: usize) -> Vec<DiffLine> {
    if old == new {
        return vec![DiffLine::note("no difference")];
    }
    let mut lines = notes(old, new);
    let (old_pieces, new_pieces) = pieces(old, new);
    let deadline = deadline();
    let ops = compare(&texts(&old_pieces), &texts(&new_pieces), deadline);
    let block = Block { old: &old_pieces, new: &new_pieces, deadline };
    let total = ops.len();
    let hunks = similar::group_diff_ops(ops, context);
    let mut end = 0;
    for (number, hunk) in hunks.iter().enumerate() {
        let start = hunk.first().map_or(0, |op| op.new_range().start);
        if start > end || number > 0 {
            lines.push(DiffLine::bare(DiffKind::Gap, "⋯".to_owned()));
        }
        end = hunk.last().map_or(end, |op| op.new_range().end);
        for op in hunk {
            block.push(*op, &mut lines);
        }
        if lines.len() > MAX_LINES {
            lines.truncate(MAX_LINES);
            let text = format!("the rest is left out: {total} places in all, see the whole text");
            lines.push(DiffLine::note(text));
            return lines;
        }
    }
    if end < new_pieces.len() {
        lines.push(DiffLine::bare(DiffKind::Gap, "⋯".to_owned()));
    }
    lines
}

/// What changed from one header to another, one line each: `+ name: value`, `- name: value`, or
/// `~ name: value → value`; the fields of an object inside as `headers.name`. Cleaned. Empty without a
/// difference; the fields' order is none.
pub fn header_changes(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let mut changes = Vec::new();
    object_changes("", old, new, &mut changes);
    changes
}

fn object_changes(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    changes: &mut Vec<String>,
) {
    let shown = |value: &Value| truncate(&clean(&value.to_string()), HEADER_COLUMNS).into_owned();
    for (name, before) in old {
        let place = format!("{path}{}", clean(name));
        match (before, new.get(name)) {
            (_, None) => changes.push(format!("- {place}: {}", shown(before))),
            (Value::Object(before), Some(Value::Object(after))) => {
                object_changes(&format!("{place}."), before, after, changes);
            }
            (_, Some(after)) if before != after => {
                changes.push(format!("~ {place}: {} → {}", shown(before), shown(after)));
            }
            (_, Some(_)) => {}
        }
    }
    for (name, after) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        changes.push(format!("+ {path}{}: {}", clean(name), shown(after)));
    }
}

fn notes(old: &[u8], new: &[u8]) -> Vec<DiffLine> {
    let mut notes = Vec::new();
    if same_tokens(old, new) {
        notes.push(DiffLine::note("only white space between JSON tokens differs"));
    }
    match (old.ends_with(b"\n"), new.ends_with(b"\n")) {
        (true, false) => notes.push(DiffLine::note("the newline at the end is gone")),
        (false, true) => notes.push(DiffLine::note("a newline at the end came in")),
        (true, true) | (false, false) => {}
    }
    let crlf = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"\r\n");
    match (crlf(old), crlf(new)) {
        (true, false) => notes.push(DiffLine::note("lines ended with CRLF, now with LF")),
        (false, true) => notes.push(DiffLine::note("lines end with CRLF now")),
        (true, true) | (false, false) => {}
    }
    notes
}

fn same_tokens(old: &[u8], new: &[u8]) -> bool {
    if json::check(old).is_err() || json::check(new).is_err() {
        return false;
    }
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return false;
    };
    let (old_tokens, new_tokens) = (json::tokens(old), json::tokens(new));
    old_tokens
        .iter()
        .map(|t| &old[t.range.clone()])
        .eq(new_tokens.iter().map(|t| &new[t.range.clone()]))
}

fn deadline() -> Instant {
    tokio::time::Instant::now().into_std() + SEARCH_TIME
}

fn texts<'a>(pieces: &[Piece<'a>]) -> Vec<&'a [u8]> {
    pieces.iter().map(|piece| piece.bytes).collect()
}

fn compare<T: Eq + std::hash::Hash + Ord>(old: &[T], new: &[T], deadline: Instant) -> Vec<DiffOp> {
    similar::capture_diff_slices_deadline(Algorithm::Myers, old, new, Some(deadline))
}

/// Two texts of which parts become lines.
struct Block<'a> {
    old: &'a [Piece<'a>],
    new: &'a [Piece<'a>],
    deadline: Instant,
}

impl Block<'_> {
    fn push(&self, op: DiffOp, lines: &mut Vec<DiffLine>) {
        let (old, new) = (&self.old[op.old_range()], &self.new[op.new_range()]);
        if let DiffOp::Equal { .. } = op {
            lines.extend(old.iter().zip(new).map(|(old, new)| DiffLine {
                kind: DiffKind::Same,
                old_no: Some(old.line),
                new_no: Some(new.line),
                spans: vec![(Emphasis::Plain, stretch(old.shown()))],
            }));
            return;
        }
        let (old_words, new_words) = (block_words(old), block_words(new));
        let (old_changed, new_changed) = self.marks(&old_words, &new_words);
        let mut marks = old_changed.into_iter();
        lines.extend(old.iter().zip(&old_words).map(|(piece, words)| DiffLine {
            kind: DiffKind::Removed,
            old_no: Some(piece.line),
            new_no: None,
            spans: spans(words, &mut marks),
        }));
        let mut marks = new_changed.into_iter();
        lines.extend(new.iter().zip(&new_words).map(|(piece, words)| DiffLine {
            kind: DiffKind::Added,
            old_no: None,
            new_no: Some(piece.line),
            spans: spans(words, &mut marks),
        }));
    }

    /// For each word of both sides whether it changed.
    fn marks(&self, old: &[Vec<&[u8]>], new: &[Vec<&[u8]>]) -> (Vec<bool>, Vec<bool>) {
        let (old, new) = (old.concat(), new.concat());
        let (mut old_changed, mut new_changed) = (vec![true; old.len()], vec![true; new.len()]);
        if old.len() + new.len() <= MAX_MARKED_WORDS {
            for op in compare(&old, &new, self.deadline) {
                if let DiffOp::Equal { old_index, new_index, len } = op {
                    old_changed[old_index..old_index + len].fill(false);
                    new_changed[new_index..new_index + len].fill(false);
                }
            }
        }
        (old_changed, new_changed)
    }
}

fn block_words<'a>(pieces: &[Piece<'a>]) -> Vec<Vec<&'a [u8]>> {
    pieces.iter().map(|piece| words(piece.bytes)).collect()
}

fn spans(words: &[&[u8]], marks: &mut impl Iterator<Item = bool>) -> Vec<(Emphasis, String)> {
    let mut runs: Vec<(Emphasis, Vec<u8>)> = Vec::new();
    for (word, changed) in words.iter().zip(marks) {
        let emphasis = if changed { Emphasis::Changed } else { Emphasis::Plain };
        match runs.last_mut() {
            Some((last, text)) if *last == emphasis => text.extend_from_slice(word),
            _ => runs.push((emphasis, word.to_vec())),
        }
    }
    let shown = runs.into_iter().map(|(emphasis, text)| match emphasis {
        Emphasis::Plain => (emphasis, stretch(text.strip_suffix(b"\n").unwrap_or(&text))),
        Emphasis::Changed => (emphasis, visible(&text)),
    });
    shown.filter(|(_, text)| !text.is_empty()).collect()
}

/// Changed text: white space that stands alone is shown, a newline only where nothing else changed with it.
fn visible(text: &[u8]) -> String {
    if text.iter().all(u8::is_ascii_whitespace) {
        return clean_bytes(text).replace(' ', "·");
    }
    clean_bytes(text.strip_suffix(b"\n").unwrap_or(text))
}

/// What did not change; of what is too long for any row the ends.
fn stretch(text: &[u8]) -> String {
    let shown = clean_bytes(text);
    if shown.chars().count() > STRETCH_CHARS { elided(&shown) } else { shown }
}

fn elided(shown: &str) -> String {
    let count = shown.chars().count();
    // One more than is saved: an ellipsis that hides one character is of no use.
    if count <= KEPT_CHARS * 2 + 1 {
        return shown.to_owned();
    }
    let head: String = shown.chars().take(KEPT_CHARS).collect();
    let tail: String = shown.chars().skip(count - KEPT_CHARS).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests;
