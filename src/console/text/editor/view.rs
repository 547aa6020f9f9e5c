//! The editor on the screen. Lines are drawn here, not by the text area, so that only cleaned text is.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use unicode_segmentation::UnicodeSegmentation as _;

use super::Editor;
use crate::console::text::clean::{self, Piece, TAB_COLUMNS};
use crate::console::text::json::{self, Token};

/// Columns kept visible beside the cursor when a long line scrolls.
const SIDE_COLUMNS: usize = 8;

/// What was last on the screen: the first row and column, and how many rows fitted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Viewport {
    top: usize,
    left: usize,
    pub(super) height: usize,
}

/// How the parts of the text look.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "each is what its name says; those that aren't are documented")]
pub struct EditorStyles {
    pub text: Style,
    pub line_number: Style,
    pub cursor: Style,
    /// What stands for a character that can't be seen.
    pub escape: Style,
    /// The place where the text stops being JSON, and its line's number.
    pub fault: Style,
    /// Where the query is found.
    pub found: Style,
    pub key: Style,
    pub string: Style,
    pub number: Style,
    pub literal: Style,
    /// Brackets, commas and colons.
    pub punctuation: Style,
    /// The bracket at the cursor, and its partner.
    pub bracket: Style,
    /// What is not JSON.
    pub bad: Style,
}

impl EditorStyles {
    /// Without colours.
    pub fn plain() -> Self {
        let with = |modifier| Style::new().add_modifier(modifier);
        Self {
            line_number: with(Modifier::DIM),
            cursor: with(Modifier::REVERSED),
            escape: with(Modifier::DIM | Modifier::ITALIC),
            fault: with(Modifier::BOLD | Modifier::UNDERLINED),
            found: with(Modifier::UNDERLINED),
            bracket: with(Modifier::BOLD | Modifier::UNDERLINED),
            key: with(Modifier::BOLD),
            ..Self::default()
        }
    }
}

/// One thing on the screen: a grapheme, an escape, a tab.
pub(super) struct Cell {
    shown: String,
    /// From the line's start.
    pub(super) column: usize,
    pub(super) width: usize,
    /// In bytes, from the line's start.
    pub(super) bytes: std::ops::Range<usize>,
    escaped: bool,
}

impl Editor {
    /// Draws what is around the cursor. Returns where the cursor is on the screen, for the terminal's own.
    pub fn render(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        styles: &EditorStyles,
    ) -> Option<Position> {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return None;
        }
        buffer.set_style(area, styles.text);
        let gutter = self.gutter_columns(area);
        let text_columns = usize::from(area.width - gutter);
        let (row, col) = self.state.cursor();
        let line = self.state.row(row);
        let cursor_byte = line.char_indices().nth(col).map_or(line.len(), |(at, _)| at);
        let cursor_column = column_of(&line, cursor_byte);
        let viewport = self.scrolled(row, cursor_column, usize::from(area.height), text_columns);
        self.viewport.set(viewport);
        let brackets = self.brackets();
        for y in 0..area.height {
            let at = viewport.top + usize::from(y);
            if at >= self.state.rows() {
                break;
            }
            let place = Rect { x: area.x, y: area.y + y, width: area.width, height: 1 };
            self.render_number(at, place, gutter, buffer, styles);
            let place = Rect { x: area.x + gutter, width: area.width - gutter, ..place };
            let cursor = (at == row).then_some(cursor_byte);
            let marked = brackets.iter().flatten().filter(|place| place.0 == at);
            let marked: Vec<usize> = marked.map(|place| place.1).collect();
            self.render_row((at, &marked), cursor, viewport.left, place, buffer, styles);
        }
        Some(Position {
            x: area.x + gutter + narrow(cursor_column - viewport.left),
            y: area.y + narrow(row - viewport.top),
        })
    }

    /// Columns of the line numbers, none where they would take a third of the room.
    fn gutter_columns(&self, area: Rect) -> u16 {
        let digits = narrow(self.state.rows().to_string().len()) + 1;
        if digits * 3 > area.width { 0 } else { digits }
    }

    fn scrolled(&self, row: usize, column: usize, height: usize, width: usize) -> Viewport {
        let Viewport { top, left, .. } = self.viewport.get();
        let top = top.min(row).max((row + 1).saturating_sub(height));
        let side = SIDE_COLUMNS.min(width.saturating_sub(1) / 2);
        let left = left
            .min(column.saturating_sub(side))
            .max((column + side + 1).saturating_sub(width))
            .min(column);
        // A line that fits isn't scrolled.
        let left = if column + 1 < width { 0 } else { left };
        Viewport { top, left, height }
    }

    fn render_number(
        &self,
        row: usize,
        place: Rect,
        gutter: u16,
        buffer: &mut Buffer,
        styles: &EditorStyles,
    ) {
        let Some(digits) = gutter.checked_sub(1) else { return };
        let faulty = self.fault().is_some_and(|fault| fault.line == row + 1);
        let style =
            if faulty { styles.line_number.patch(styles.fault) } else { styles.line_number };
        let number = format!("{:>1$}", row + 1, usize::from(digits));
        buffer.set_stringn(place.x, place.y, number, usize::from(digits), style);
    }

    fn render_row(
        &self,
        (row, brackets): (usize, &[usize]),
        cursor: Option<usize>,
        left: usize,
        place: Rect,
        buffer: &mut Buffer,
        styles: &EditorStyles,
    ) {
        let line = self.state.row(row);
        let right = left + usize::from(place.width);
        let cells = cells(&line, left, right);
        let drawn = cells.last().map_or(0, |cell| cell.bytes.end);
        let fault = self.fault().filter(|fault| fault.line == row + 1).map(|fault| {
            line.char_indices().nth(fault.column - 1).map_or(line.len(), |(at, _)| at)
        });
        let found = self.found_in(&line[..drawn]);
        let tokens = json::tokens(&line[..next_boundary(&line, drawn)]);
        let mut end = column_of_end(&cells);
        for cell in &cells {
            let mut style = style_at(&tokens, cell.bytes.start, styles);
            if cell.escaped {
                style = style.patch(styles.escape);
            }
            if found.iter().any(|hit| hit.contains(&cell.bytes.start)) {
                style = style.patch(styles.found);
            }
            if brackets.contains(&cell.bytes.start) {
                style = style.patch(styles.bracket);
            }
            if fault.is_some_and(|at| cell.bytes.contains(&at)) {
                style = style.patch(styles.fault);
            }
            if cursor.is_some_and(|at| cell.bytes.contains(&at)) {
                style = style.patch(styles.cursor);
            }
            draw(cell, left, place, buffer, style);
        }
        // Behind the line's last character.
        for (at, style) in [(fault, styles.fault), (cursor, styles.cursor)] {
            if at == Some(line.len()) && drawn == line.len() {
                end = end.max(left);
                if end < right {
                    let x = place.x + narrow(end - left);
                    buffer.set_string(x, place.y, " ", style);
                }
            }
        }
    }

    fn found_in(&self, line: &str) -> Vec<std::ops::Range<usize>> {
        if self.query.is_empty() {
            return Vec::new();
        }
        let exact = self.query.contains(|c: char| c.is_ascii_uppercase());
        let lowered = if exact { None } else { Some(line.to_ascii_lowercase()) };
        let line = lowered.as_deref().unwrap_or(line);
        line.match_indices(&self.query).map(|(at, hit)| at..at + hit.len()).collect()
    }
}

fn draw(cell: &Cell, left: usize, place: Rect, buffer: &mut Buffer, style: Style) {
    let right = left + usize::from(place.width);
    let (start, end) = (cell.column, cell.column + cell.width);
    if start >= left && end <= right {
        buffer.set_string(place.x + narrow(start - left), place.y, &cell.shown, style);
        return;
    }
    // Cut by an edge of the screen: an escape's visible part; never half a wide character.
    let ascii = cell.shown.is_ascii();
    for column in start.max(left)..end.min(right) {
        let symbol = if ascii { &cell.shown[column - start..=column - start] } else { " " };
        buffer.set_string(place.x + narrow(column - left), place.y, symbol, style);
    }
}

/// What of `line` touches the columns from `left` to `right`.
pub(super) fn cells(line: &str, left: usize, right: usize) -> Vec<Cell> {
    let (mut column, mut byte) = skip(line, |column, _| column <= left);
    let mut cells = Vec::new();
    for piece in clean::pieces(&line[byte..]) {
        if column >= right {
            break;
        }
        let end = byte + piece.source.len();
        let tab = piece.source == "\t";
        let width = piece_columns(&piece, column);
        if column + width > left {
            let escaped = tab || piece.is_escaped();
            let shown = if tab { clean::pad("→", width) } else { piece.shown.into_owned() };
            cells.push(Cell { shown, column, width, bytes: byte..end, escaped });
        }
        (column, byte) = (column + width, end);
    }
    if cells.is_empty() && column <= right {
        // The whole line is left of the screen: what follows it is at its end.
        cells.push(Cell {
            shown: String::new(),
            column,
            width: 0,
            bytes: byte..byte,
            escaped: false,
        });
    }
    cells
}

pub(super) fn column_of(line: &str, byte: usize) -> usize {
    let (mut column, mut at) = skip(line, |_, at| at <= byte);
    for piece in clean::pieces(&line[at..]) {
        at += piece.source.len();
        if at > byte {
            break;
        }
        column += piece_columns(&piece, column);
    }
    column
}

/// The last column and byte at a piece's start that still are `before`: long lines are looked at on every
/// key, so runs of plain characters are passed over as bytes.
fn skip(line: &str, before: impl Fn(usize, usize) -> bool) -> (usize, usize) {
    let (mut column, mut byte) = (0, 0);
    while byte < line.len() {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~');
        let run = line.as_bytes()[byte..].iter().take_while(|byte| plain(byte)).count();
        // A mark behind the run belongs to its last character.
        let alone = if byte + run == line.len() { run } else { run.saturating_sub(1) };
        if alone > 0 {
            if !before(column + alone, byte + alone) {
                let mut passed = (0..alone).rev();
                let within = passed.find(|n| before(column + n, byte + n)).unwrap_or(0);
                return (column + within, byte + within);
            }
            (column, byte) = (column + alone, byte + alone);
            continue;
        }
        // The first grapheme is cut out, or every call would be about the whole rest.
        let Some(grapheme) = line[byte..].graphemes(true).next() else { break };
        let columns =
            clean::pieces(grapheme).fold(0, |sum, p| sum + piece_columns(&p, column + sum));
        if !before(column + columns, byte + grapheme.len()) {
            break;
        }
        (column, byte) = (column + columns, byte + grapheme.len());
    }
    (column, byte)
}

pub(super) fn piece_columns(piece: &Piece<'_>, column: usize) -> usize {
    match piece.source {
        "\t" => TAB_COLUMNS - column % TAB_COLUMNS,
        _ => clean::width(&piece.shown),
    }
}

fn column_of_end(cells: &[Cell]) -> usize {
    cells.last().map_or(0, |cell| cell.column + cell.width)
}

/// Some way behind `at`: the tokens up to there are seldom cut by it.
fn next_boundary(line: &str, at: usize) -> usize {
    const LOOK_AHEAD_BYTES: usize = 256;
    let mut end = (at + LOOK_AHEAD_BYTES).min(line.len());
    while !line.is_char_boundary(end) {
        end += 1;
    }
    end
}

fn style_at(tokens: &[Token], byte: usize, styles: &EditorStyles) -> Style {
    let index = tokens.partition_point(|token| token.range.end <= byte);
    match tokens.get(index) {
        Some(token) if token.range.contains(&byte) => styles.text.patch(styles.token(token.kind)),
        _ => styles.text,
    }
}

fn narrow(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
