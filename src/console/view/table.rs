//! Lists as tables: columns drop by priority as it narrows, text is cut between graphemes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::console::model::wrap_words;
use crate::console::text::clean;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    /// The least where it grows.
    width: u16,
    /// Its share of what is left.
    grows: u16,
    /// 0 is always shown; the highest goes first.
    priority: u8,
    right: bool,
}

/// A column of fixed width.
pub(super) const fn fixed(title: &'static str, width: u16, priority: u8) -> Column {
    Column { title, width, grows: 0, priority, right: false }
}

/// A column of numbers, which stand on the right.
pub(super) const fn number(title: &'static str, width: u16, priority: u8) -> Column {
    Column { title, width, grows: 0, priority, right: true }
}

/// A column that takes a share of what is left.
pub(super) const fn growing(title: &'static str, width: u16, grows: u16, priority: u8) -> Column {
    Column { title, width, grows, priority, right: false }
}

/// What stands in a cell; hostile text must have been cleaned.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell.
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    /// The same after `lead`, in the style of that.
    pub(super) fn after(self, lead: &str, style: Style) -> Self {
        Self { text: format!("{lead}{}", self.text), style }
    }
}

/// Start and width of each column in `width` columns; `None` where it is dropped.
fn places(columns: &[Column], width: u16) -> Vec<Option<(u16, u16)>> {
    let mut shown: Vec<bool> = vec![true; columns.len()];
    let needed = |shown: &[bool]| -> u16 {
        let kept = columns.iter().zip(shown).filter(|(_, shown)| **shown);
        kept.map(|(column, _)| column.width + 1).sum::<u16>().saturating_sub(1)
    };
    while needed(&shown) > width {
        let least = (0..columns.len())
            .filter(|&n| shown[n] && columns[n].priority > 0)
            .max_by_key(|&n| columns[n].priority);
        match least {
            Some(n) => shown[n] = false,
            None => break,
        }
    }
    let spare = width.saturating_sub(needed(&shown));
    let shares: u16 = columns.iter().zip(&shown).filter(|(_, s)| **s).map(|(c, _)| c.grows).sum();
    let mut x = 0;
    let mut places = Vec::with_capacity(columns.len());
    for (column, shown) in columns.iter().zip(shown) {
        if !shown || x >= width {
            places.push(None);
            continue;
        }
        let more = (spare * column.grows).checked_div(shares).unwrap_or(0);
        let wide = (column.width + more).min(width - x);
        places.push(Some((x, wide)));
        x += wide + 1;
    }
    places
}

/// The width of column `n` in `width` columns; 0 where it is dropped.
pub(super) fn width_of(columns: &[Column], n: usize, width: u16) -> usize {
    places(columns, width).get(n).copied().flatten().map_or(0, |(_, wide)| usize::from(wide))
}

/// Draws the column heads.
pub(super) fn heads(buffer: &mut Buffer, row: Rect, columns: &[Column], style: Style) {
    for (column, place) in columns.iter().zip(places(columns, row.width)) {
        if let Some((x, width)) = place {
            put(buffer, Rect { x: row.x + x, width, ..row }, column.title, style, column.right);
        }
    }
}

/// Draws a row; the row's style lies under its cells'.
pub(super) fn row(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    cells: &[Cell],
    under: Style,
) {
    buffer.set_style(area, under);
    for ((column, place), cell) in columns.iter().zip(places(columns, area.width)).zip(cells) {
        if let Some((x, width)) = place {
            let area = Rect { x: area.x + x, width, ..area };
            put(buffer, area, &cell.text, under.patch(cell.style), column.right);
        }
    }
}

/// Draws cleaned text into one row, cut at its end.
pub(super) fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style, right: bool) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let text = clean::truncate(text, usize::from(area.width));
    let wide = u16::try_from(clean::width(&text)).unwrap_or(area.width);
    let x = if right { area.right().saturating_sub(wide).max(area.x) } else { area.x };
    buffer.set_stringn(x, area.y, &text, usize::from(area.width), style);
}

/// Columns in front of what stands in the place of rows.
const INSET: u16 = 2;

/// Draws cleaned lines in the place of rows, below the heads. They say what to type: what is too long goes on in
/// the next row.
pub(super) fn instead(buffer: &mut Buffer, area: Rect, lines: &[&str], style: Style) {
    let width = area.width.saturating_sub(INSET);
    let rows = lines.iter().flat_map(|line| {
        let indent = line.len() - line.trim_start().len();
        let room = usize::from(width).saturating_sub(indent).max(1);
        let text = &line[indent..];
        wrap_words(text, room).into_iter().map(move |range| (indent, &text[range]))
    });
    let y = area.y.saturating_add(2);
    for ((indent, text), y) in rows.zip(y..area.bottom()) {
        let inset = INSET + u16::try_from(indent).unwrap_or(0);
        let width = area.width.saturating_sub(inset);
        put(buffer, Rect { x: area.x + inset, y, width, height: 1 }, text, style, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[growing("name", 10, 1, 0), number("n", 5, 1), fixed("x", 8, 3), growing("y", 10, 2, 2)];

    #[test]
    fn columns_drop_by_priority_and_never_leave_the_row() {
        for width in 0..120 {
            let places = places(COLUMNS, width);
            let end = places.iter().flatten().map(|(x, wide)| x + wide).max().unwrap_or(0);
            assert!(end <= width, "{end} in {width}");
        }
        let shown =
            |width| -> Vec<bool> { places(COLUMNS, width).iter().map(Option::is_some).collect() };
        assert_eq!(shown(40), [true, true, true, true]);
        assert_eq!(shown(30), [true, true, false, true]);
        assert_eq!(shown(20), [true, true, false, false]);
        assert_eq!(shown(8), [true, false, false, false]);
    }
}
