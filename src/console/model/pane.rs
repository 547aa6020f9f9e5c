//! A difference on the screen: made beside the keys if it is long, wrapped so that no change is beyond the edge.

use super::Motion;
use crate::console::effect::RequestId;
use crate::console::text::diff::{DiffKind, DiffLine};

/// Columns in front of a line: its sign and a space.
const SIGN_COLUMNS: usize = 2;

/// From this width on both texts stand side by side: each has room for some fifty columns then.
const SIDE_BY_SIDE_COLUMNS: usize = 104;
/// Columns between the two: a line and a space on each side.
pub const BETWEEN_COLUMNS: usize = 3;

/// A row of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffRow {
    /// Over the whole width.
    One(DiffLine),
    /// The old text's and the new one's.
    Two([Option<DiffLine>; 2]),
}

/// A difference and the part of it that is shown.
#[derive(Debug, Default)]
pub struct DiffPane {
    /// Which making of it is awaited.
    awaits: Option<RequestId>,
    /// Lines above its own.
    lead: Vec<DiffLine>,
    /// Its lines, or why there are none; nothing while they are made.
    lines: Option<Result<Vec<DiffLine>, String>>,
    rows: Vec<DiffRow>,
    wrapped_at: usize,
    height: usize,
    scroll: usize,
}

impl DiffPane {
    /// Waits for the lines that come as `request`.
    pub fn awaiting(request: RequestId) -> Self {
        Self { awaits: Some(request), ..Self::default() }
    }

    /// Stands at once.
    pub fn ready(lines: Result<Vec<DiffLine>, String>) -> Self {
        Self { lines: Some(lines), ..Self::default() }
    }

    /// Takes the lines if they are those that are awaited.
    pub fn made(&mut self, request: RequestId, lines: Result<Vec<DiffLine>, String>) {
        if self.awaits == Some(request) {
            self.awaits = None;
            self.lines = Some(lines);
            self.wrapped_at = 0;
        }
    }

    /// Puts lines above the others.
    pub fn lead(&mut self, lead: Vec<DiffLine>) {
        self.lead = lead;
        self.wrapped_at = 0;
    }

    /// There are lines above the others.
    pub fn has_lead(&self) -> bool {
        !self.lead.is_empty()
    }

    /// There is something to be read, so that what it shows can be agreed to.
    pub fn is_ready(&self) -> bool {
        matches!(self.lines, Some(Ok(_)))
    }

    /// What stands in the place of lines.
    pub fn instead(&self) -> Option<Result<(), &str>> {
        match &self.lines {
            None => Some(Ok(())),
            Some(Err(why)) => Some(Err(why)),
            Some(Ok(_)) => None,
        }
    }

    /// Wraps the lines anew if the width has changed.
    pub fn settle(&mut self, width: usize, height: usize) {
        self.height = height;
        if let Some(Ok(lines)) = &self.lines
            && self.wrapped_at != width
            && width > SIGN_COLUMNS
        {
            let lines = self.lead.iter().chain(lines);
            self.rows = if width >= SIDE_BY_SIDE_COLUMNS {
                side_by_side(lines, (width - BETWEEN_COLUMNS) / 2 - SIGN_COLUMNS)
            } else {
                let rows = lines.flat_map(|line| line.wrapped(width - SIGN_COLUMNS));
                rows.map(DiffRow::One).collect()
            };
            self.wrapped_at = width;
        }
        self.scroll = self.scroll.min(self.rows.len().saturating_sub(height.max(1)));
    }

    /// Moves what is shown.
    pub fn go(&mut self, motion: Motion) {
        self.scroll = motion.scrolled(self.scroll, self.height);
        self.settle(self.wrapped_at, self.height);
    }

    /// The rows from the first that is shown on.
    pub fn shown(&self) -> &[DiffRow] {
        self.rows.get(self.scroll..).unwrap_or_default()
    }

    /// `1-18 of 40` if not all rows are on the screen.
    pub fn place(&self) -> Option<String> {
        let end = (self.scroll + self.height).min(self.rows.len());
        (self.rows.len() > self.height)
            .then(|| format!("{}-{end} of {}", self.scroll + 1, self.rows.len()))
    }
}

/// What was taken away beside what came in its place.
fn side_by_side<'a>(lines: impl Iterator<Item = &'a DiffLine>, columns: usize) -> Vec<DiffRow> {
    let mut rows = Vec::new();
    let mut sides: [Vec<DiffLine>; 2] = Default::default();
    let close = |sides: &mut [Vec<DiffLine>; 2], rows: &mut Vec<DiffRow>| {
        let [old, new] = std::mem::take(sides);
        let count = old.len().max(new.len());
        let (mut old, mut new) = (old.into_iter(), new.into_iter());
        rows.extend((0..count).map(|_| DiffRow::Two([old.next(), new.next()])));
    };
    for line in lines {
        match line.kind {
            DiffKind::Removed => {
                // A block ends where the next one begins.
                if !sides[1].is_empty() {
                    close(&mut sides, &mut rows);
                }
                sides[0].extend(line.wrapped(columns));
            }
            DiffKind::Added => sides[1].extend(line.wrapped(columns)),
            DiffKind::Same => {
                close(&mut sides, &mut rows);
                let wrapped = line.wrapped(columns).into_iter();
                rows.extend(wrapped.map(|row| DiffRow::Two([Some(row.clone()), Some(row)])));
            }
            DiffKind::Gap | DiffKind::Note => {
                close(&mut sides, &mut rows);
                let wide = columns * 2 + BETWEEN_COLUMNS + SIGN_COLUMNS;
                rows.extend(line.wrapped(wide).into_iter().map(DiffRow::One));
            }
        }
    }
    close(&mut sides, &mut rows);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::text::diff::unified;

    fn drawn(pane: &DiffPane) -> Vec<String> {
        let text = |line: &Option<DiffLine>| line.as_ref().map_or(String::new(), DiffLine::text);
        let row = |row: &DiffRow| match row {
            DiffRow::One(line) => line.text(),
            DiffRow::Two([old, new]) => format!("{}|{}", text(old), text(new)),
        };
        pane.shown().iter().map(row).collect()
    }

    #[test]
    fn where_there_is_room_both_texts_stand_side_by_side() {
        let lines = unified(b"same\nold one\nold two\nend\n", b"same\nnew\nend\nmore\n", 3);
        let mut pane = DiffPane::ready(Ok(lines));
        pane.settle(120, 20);
        assert_eq!(drawn(&pane), ["same|same", "old one|new", "old two|", "end|end", "|more"]);
        pane.settle(80, 20);
        assert_eq!(drawn(&pane), ["same", "old one", "old two", "new", "end", "more"]);
    }

    #[test]
    fn nothing_of_a_long_line_is_beyond_an_edge() {
        let long = |end: &str| format!("{}{end}", "word ".repeat(60));
        let lines = unified(long("old").as_bytes(), long("new and longer").as_bytes(), 3);
        let mut pane = DiffPane::ready(Ok(lines));
        for width in SIDE_BY_SIDE_COLUMNS..160 {
            pane.settle(width, 20);
            let room = (width - BETWEEN_COLUMNS) / 2 - SIGN_COLUMNS;
            for row in pane.shown() {
                let DiffRow::Two(sides) = row else { continue };
                for side in sides.iter().flatten() {
                    assert!(crate::console::text::clean::width(&side.text()) <= room);
                }
            }
        }
    }
}
