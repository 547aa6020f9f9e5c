//! The text area as editing state: exact bytes, line ends kept, edits grouped into steps.

use std::collections::VecDeque;

use tui_textarea::{CursorMove, TextArea};

use super::standin::Standins;

/// Single edits that can be undone: an hour of typing.
const MAX_EDITS: usize = 20_000;
/// Bytes that the undo history may hold: twice one formatting of the largest payload. Beyond it the history is
/// forgotten, the text is not.
const MAX_HISTORY_BYTES: usize = 64 * 1024 * 1024;
/// The largest row or column that the text area can be told to jump to.
const MAX_JUMP: usize = u16::MAX as usize;

/// What was done, so that typing on makes one step of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    Typing,
    Erasing,
    Other,
}

/// Some edits that are undone together.
#[derive(Debug, Clone, Copy)]
struct Step {
    edits: usize,
    bytes: usize,
    kind: StepKind,
    /// Where the cursor was before.
    start: (usize, usize),
    /// Where the cursor was left: only what goes on there joins in.
    end: (usize, usize),
}

/// Rows are the text between `\n`; a `\r` before one stays in its row, behind where the cursor can go.
#[derive(Debug)]
pub(super) struct State {
    area: TextArea<'static>,
    standins: Standins,
    done: VecDeque<Step>,
    undone: Vec<Step>,
    /// [`MAX_HISTORY_BYTES`]; tests have less.
    pub(super) history_bytes: usize,
}

impl State {
    /// `None`: the text has more kinds of invisible characters than the editor can tell apart.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut standins = Standins::default();
        let lines = text.split('\n').map(|line| standins.encode(line)).collect::<Option<_>>()?;
        let mut area = TextArea::new(lines);
        // One more: `go` needs an edit of its own.
        area.set_max_histories(MAX_EDITS + 1);
        Some(Self {
            area,
            standins,
            done: VecDeque::new(),
            undone: Vec::new(),
            history_bytes: MAX_HISTORY_BYTES,
        })
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (row, line) in self.area.lines().iter().enumerate() {
            if row > 0 {
                text.push('\n');
            }
            self.standins.decode(line, &mut text);
        }
        text
    }

    /// One row, without its `\n`.
    pub(super) fn row(&self, row: usize) -> String {
        let mut text = String::new();
        self.standins.decode(&self.area.lines()[row], &mut text);
        text
    }

    pub(super) fn rows(&self) -> usize {
        self.area.lines().len()
    }

    /// Row and column in characters, from 0.
    pub(super) fn cursor(&self) -> (usize, usize) {
        let cursor = self.area.cursor();
        (cursor.0, cursor.1)
    }

    /// The last column of `row` where the cursor can be.
    pub(super) fn row_end(&self, row: usize) -> usize {
        self.area.lines()[row].chars().count() - usize::from(self.has_return(row))
    }

    fn has_return(&self, row: usize) -> bool {
        let last = self.area.lines()[row].chars().next_back();
        row + 1 < self.rows() && last.is_some_and(|c| self.standins.decode_char(c) == '\r')
    }

    pub(super) fn step_cursor(&mut self, to: CursorMove) {
        self.area.move_cursor(to);
        let (row, col) = self.cursor();
        if col > self.row_end(row) {
            // Behind the `\r`: on to the next row, or back in front of it.
            let forward = matches!(to, CursorMove::Forward | CursorMove::WordForward);
            self.area.move_cursor(CursorMove::Back);
            if forward {
                self.area.move_cursor(CursorMove::Down);
                self.area.move_cursor(CursorMove::Head);
            }
        }
    }

    /// Puts the cursor at a row and column in characters, from 0, or as near as there is text.
    pub(super) fn go(&mut self, row: usize, col: usize) {
        let row = row.min(self.rows() - 1);
        let col = col.min(self.row_end(row));
        let narrow = |n: usize| u16::try_from(n.min(MAX_JUMP)).unwrap_or(u16::MAX);
        if row <= MAX_JUMP && col <= MAX_JUMP {
            self.area.move_cursor(CursorMove::Jump(narrow(row), narrow(col)));
            return;
        }
        // Further than the text area jumps: its undo puts the cursor behind what it gives back.
        self.area.move_cursor(CursorMove::Jump(narrow(row), 0));
        let from = self.cursor().0;
        let above: usize = self.area.lines()[from..row].iter().map(|l| l.chars().count() + 1).sum();
        if self.area.delete_str(above + col) {
            self.area.undo();
        }
        // The detour took the place of what could be redone.
        self.undone.clear();
    }

    /// False if there is no stand-in for a character of `text`; then nothing has changed. `\n` and `\r` are
    /// taken as they are.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let Some(inside) = self.standins.encode(text) else { return false };
        let typing = text.chars().nth(1).is_none() && !text.contains(char::is_whitespace);
        let kind = if typing { StepKind::Typing } else { StepKind::Other };
        let at = self.cursor();
        self.make_room(inside.len());
        if self.area.insert_str(&inside) {
            self.record(kind, at, 1, inside.len());
        }
        true
    }

    /// The line end that a new line gets here: as this row's, or as the row's above the last.
    pub(super) fn line_end(&self) -> &'static str {
        let row = self.cursor().0;
        let last = row + 1 == self.rows();
        let like = if last { row.saturating_sub(1) } else { row };
        if self.has_return(like) { "\r\n" } else { "\n" }
    }

    pub(super) fn backspace(&mut self) {
        let (row, col) = self.cursor();
        match (row.checked_sub(1), col) {
            (None, 0) => {}
            (Some(above), 0) => {
                self.go(above, usize::MAX);
                self.delete_from((row, col));
            }
            _ => self.erase((row, col), TextArea::delete_char),
        }
    }

    pub(super) fn delete(&mut self) {
        self.delete_from(self.cursor());
    }

    /// Undone, the cursor is at `start` again.
    fn delete_from(&mut self, start: (usize, usize)) {
        let (row, col) = self.cursor();
        // A CRLF is one line end.
        let chars = if col == self.row_end(row) && self.has_return(row) { 2 } else { 1 };
        if row + 1 < self.rows() || col < self.row_end(row) {
            self.erase(start, |area| area.delete_str(chars));
        }
    }

    pub(super) fn delete_word(&mut self) {
        let at = self.cursor();
        if at.1 == 0 {
            self.backspace();
        } else {
            self.erase(at, TextArea::delete_word);
        }
    }

    pub(super) fn delete_to_row_end(&mut self) {
        let (row, col) = self.cursor();
        match self.row_end(row) - col {
            0 => self.delete(),
            chars => self.erase((row, col), |area| area.delete_str(chars)),
        }
    }

    fn erase(&mut self, at: (usize, usize), erase: impl FnOnce(&mut TextArea<'static>) -> bool) {
        let before = self.bytes_inside();
        self.make_room(0);
        if erase(&mut self.area) {
            let erased = before.saturating_sub(self.bytes_inside());
            self.record(StepKind::Erasing, at, 1, erased);
        }
    }

    /// The text's length with stand-ins, in bytes: what an edit costs in the history.
    fn bytes_inside(&self) -> usize {
        self.area.lines().iter().map(|line| line.len() + 1).sum()
    }

    /// Puts `text` in the place of the whole text, as one step; the cursor is at its end then. False as for
    /// [`State::insert`].
    pub(super) fn replace_all(&mut self, text: &str) -> bool {
        let Some(inside) = self.standins.encode(text) else { return false };
        let old: usize = self.area.lines().iter().map(|line| line.chars().count() + 1).sum();
        let at = self.cursor();
        self.area.move_cursor(CursorMove::Jump(0, 0));
        let bytes = self.bytes_inside() + inside.len();
        self.make_room(bytes);
        let edits = usize::from(self.area.delete_str(old - 1))
            + usize::from(!inside.is_empty() && self.area.insert_str(&inside));
        self.record(StepKind::Other, at, edits, bytes);
        true
    }

    /// Forgets the history if an edit of so many bytes would make it too long; that edit can be undone.
    fn make_room(&mut self, bytes: usize) {
        let held: usize = self.done.iter().map(|step| step.bytes).sum();
        if held + bytes > self.history_bytes && held > 0 {
            self.area.set_max_histories(MAX_EDITS + 1);
            self.done.clear();
            self.undone.clear();
        }
    }

    fn record(&mut self, kind: StepKind, at: (usize, usize), edits: usize, bytes: usize) {
        self.undone.clear();
        if edits == 0 {
            return;
        }
        self.leave_line_end();
        let end = self.cursor();
        match self.done.back_mut() {
            Some(last) if last.kind == kind && kind != StepKind::Other && last.end == at => {
                last.edits += edits;
                last.bytes += bytes;
                last.end = end;
            }
            _ => self.done.push_back(Step { edits, bytes, kind, start: at, end }),
        }
        while self.done.iter().map(|step| step.edits).sum::<usize>() > MAX_EDITS {
            self.done.pop_front();
        }
    }

    /// False if there is nothing to undo.
    pub(super) fn undo(&mut self) -> bool {
        let Some(step) = self.done.pop_back() else { return false };
        for _ in 0..step.edits {
            self.area.undo();
        }
        // A step of several edits began elsewhere than its first edit; a far `go` would cost the redo.
        if step.start.0.max(step.start.1) <= MAX_JUMP {
            self.go(step.start.0, step.start.1);
        }
        self.undone.push(step);
        self.close_step();
        true
    }

    /// False if there is nothing to redo.
    pub(super) fn redo(&mut self) -> bool {
        let Some(step) = self.undone.pop() else { return false };
        for _ in 0..step.edits {
            self.area.redo();
        }
        self.done.push_back(step);
        self.close_step();
        true
    }

    /// An edit can put a `\r` and a `\n` together around the cursor: in front of them it goes.
    fn leave_line_end(&mut self) {
        let (row, col) = self.cursor();
        if col > self.row_end(row) {
            self.area.move_cursor(CursorMove::Back);
        }
    }

    /// What comes next is a step of its own.
    fn close_step(&mut self) {
        self.leave_line_end();
        if let Some(last) = self.done.back_mut() {
            last.kind = StepKind::Other;
        }
    }

    /// The next place of `query` after the cursor (or before it), going round the end; the cursor goes there.
    /// Without a capital letter in `query` ASCII capitals are as small letters.
    pub(super) fn find(&mut self, query: &str, forward: bool) -> bool {
        let Some(inside) = self.standins.encode(query) else { return false };
        let Some(found) = self.search(&inside, forward) else { return false };
        self.go(found.0, found.1);
        true
    }

    fn search(&self, query: &str, forward: bool) -> Option<(usize, usize)> {
        if query.is_empty() {
            return None;
        }
        let exact = query.contains(|c: char| c.is_ascii_uppercase());
        let (row, col) = self.cursor();
        let count = self.rows();
        // The cursor's row comes twice: its one side first, the other after going round.
        (0..=count).find_map(|n| {
            let at = if forward { (row + n) % count } else { (row + count * 2 - n) % count };
            let line = &self.area.lines()[at];
            let lowered = if exact { None } else { Some(line.to_ascii_lowercase()) };
            let line = lowered.as_deref().unwrap_or(line);
            let byte = |col: usize| line.char_indices().nth(col).map_or(line.len(), |(i, _)| i);
            let hit = match (forward, n) {
                (true, 0) => {
                    let from = byte(col + 1);
                    line[from..].find(query).map(|i| i + from)
                }
                (true, _) => line.find(query),
                (false, 0) => {
                    let until = (byte(col) + query.len()).min(line.len());
                    // Overlapping its own start is fine, starting at the cursor is not.
                    (0..=until).rev().find(|&end| line.is_char_boundary(end)).and_then(|end| {
                        line[..end].rmatch_indices(query).map(|(i, _)| i).find(|&i| i < byte(col))
                    })
                }
                (false, _) => line.rfind(query),
            }?;
            Some((at, line[..hit].chars().count()))
        })
    }
}
