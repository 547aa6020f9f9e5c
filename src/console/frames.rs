//! The bytes of frames. Where terminals disagree about the width of a text (emoji of several characters, conjuncts of Indic
//! scripts, flags), its row is drawn anew from an empty one whenever it changes, so that nothing of it stays or stands elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;

use crossterm::cursor::{MoveTo, RestorePosition, SavePosition};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::{Frame, TerminalOptions, Viewport};
use unicode_width::UnicodeWidthStr as _;

/// Rows with text whose width is unsure, as they were drawn.
type Unsure = BTreeMap<u16, Vec<Cell>>;

/// Terminals count the columns of one character of one column alike; of several, or of a wide one, each by its own tables.
fn is_unsure(cell: &Cell) -> bool {
    let symbol = cell.symbol();
    symbol.len() > 1 && (symbol.chars().nth(1).is_some() || symbol.width() != 1)
}

/// The rows that have such text, and those of `before`, which may have left something.
fn unsure_rows(buffer: &Buffer, before: &Unsure) -> Unsure {
    let wide = usize::from(buffer.area.width).max(1);
    let rows = (0_u16..).zip(buffer.content.chunks(wide));
    rows.filter(|(y, cells)| before.contains_key(y) || cells.iter().any(is_unsure))
        .map(|(y, cells)| (y, cells.to_vec()))
        .collect()
}

/// The bytes of frames, each as it differs from the one before.
pub(super) struct Frames {
    inner: ratatui::Terminal<CrosstermBackend<Written>>,
    written: Written,
    /// The last one that was not empty.
    last: Vec<u8>,
    /// With rows that were drawn anew.
    whole: Vec<u8>,
    unsure: Unsure,
    area: Rect,
}

/// What a frame writes.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Frames {
    pub(super) fn new(viewport: Viewport) -> io::Result<Self> {
        let written = Written::default();
        let backend = CrosstermBackend::new(written.clone());
        let inner = ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?;
        let (last, whole, unsure) = (Vec::new(), Vec::new(), Unsure::new());
        Ok(Self { inner, written, last, whole, unsure, area: Rect::ZERO })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.inner.size()?;
        Ok((size.width, size.height))
    }

    /// What is to be written for the next one; `None` if it looks as the one before.
    pub(super) fn next(
        &mut self,
        render: impl FnOnce(&mut Frame<'_>),
    ) -> io::Result<Option<&[u8]>> {
        let (mut rows, mut area) = (Unsure::new(), self.area);
        let before = &self.unsure;
        self.inner.draw(|frame| {
            render(frame);
            area = frame.area();
            rows = unsure_rows(frame.buffer_mut(), before);
        })?;
        let frame = self.written.0.take();
        // Each ends with where the cursor is. One that is nothing else has changed nothing: a cell that was drawn last time
        // can't change to the same again.
        if self.last.ends_with(&frame) {
            return Ok(None);
        }
        self.whole.clone_from(&frame);
        self.last = frame;
        if area != self.area {
            // The terminal was cleared.
            (self.area, self.unsure) = (area, Unsure::new());
        }
        self.draw_anew(&rows)?;
        self.whole.append(&mut self.written.0.borrow_mut());
        rows.retain(|_, cells| cells.iter().any(is_unsure));
        self.unsure = rows;
        Ok(Some(&self.whole))
    }

    /// Draws those of `rows` that have changed from an empty row on; after each text of which the width is unsure at the column that
    /// comes next. The cursor stays where it is.
    fn draw_anew(&mut self, rows: &Unsure) -> io::Result<()> {
        let changed = rows.iter().filter(|(y, cells)| self.unsure.get(y) != Some(cells));
        let changed: Vec<(u16, &Vec<Cell>)> = changed.map(|(y, cells)| (*y, cells)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let backend = self.inner.backend_mut();
        queue!(backend, SavePosition)?;
        for (y, cells) in changed {
            queue!(backend, MoveTo(0, y), Clear(ClearType::UntilNewLine))?;
            let (mut run, mut covered) = (Vec::new(), 0);
            for (x, cell) in (0_u16..).zip(cells) {
                if x < covered {
                    continue;
                }
                covered = x.saturating_add(u16::try_from(cell.symbol().width()).unwrap_or(1));
                run.push((x, y, cell));
                if is_unsure(cell) {
                    backend.draw(run.drain(..))?;
                }
            }
            backend.draw(run.into_iter())?;
        }
        queue!(backend, RestorePosition)
    }

    /// The next one is drawn whole.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks where the cursor is, and fails on a terminal that is slow to say so.
        Backend::clear(self.inner.backend_mut())?;
        self.inner.swap_buffers();
        self.last.clear();
        self.unsure.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::{Position, Rect};
    use ratatui::widgets::Paragraph;

    use super::*;

    /// What a terminal shows that counts the columns of each character by itself.
    fn shown(terminal: &mut vt100::Parser, frames: &mut Frames, text: &str) -> Vec<String> {
        let render = |frame: &mut Frame<'_>| {
            frame.render_widget(Paragraph::new(text), frame.area());
        };
        if let Some(bytes) = frames.next(render).unwrap() {
            terminal.process(bytes);
        }
        terminal.screen().rows(0, 20).map(|row| row.trim_end().to_owned()).collect()
    }

    #[test]
    fn what_a_terminal_takes_for_wider_leaves_nothing_behind() {
        let mut frames = Frames::new(Viewport::Fixed(Rect::new(0, 0, 20, 2))).unwrap();
        let [rows, columns] = [2, 20].map(|n| std::num::NonZero::new(n).unwrap());
        let mut terminal = vt100::Parser::new(rows, columns, 0);
        for family in ["\u{1f44d}\u{1f3fd}", "\u{915}\u{94d}\u{937}\u{93f}", "\u{1f1e9}\u{1f1ea}"] {
            for (text, expected) in [(format!("{family}\nbelow"), ""), ("xy\nbelow".into(), "xy")] {
                let rows = shown(&mut terminal, &mut frames, &text);
                assert_eq!(rows[1], "below");
                assert!(expected.is_empty() || rows[0] == expected, "{family} left {rows:?}");
            }
            let rows = shown(&mut terminal, &mut frames, &format!("{family}|end\nbelow"));
            assert!(rows[0].ends_with("|end"), "{rows:?}");
            assert_eq!(shown(&mut terminal, &mut frames, "\nbelow"), ["", "below"]);
        }
    }

    /// Whether something is written for this text, with the cursor at this column.
    fn drawn(frames: &mut Frames, text: &str, cursor: Option<u16>) -> bool {
        let render = |frame: &mut Frame<'_>| {
            frame.render_widget(Paragraph::new(text), frame.area());
            if let Some(x) = cursor {
                frame.set_cursor_position(Position { x, y: 0 });
            }
        };
        frames.next(render).unwrap().is_some()
    }

    #[test]
    fn a_frame_that_looks_as_the_one_before_is_not_written() {
        let mut frames = Frames::new(Viewport::Fixed(Rect::new(0, 0, 20, 2))).unwrap();
        for (text, cursor, is_written) in [
            ("live 0.1s", None, true),
            ("live 0.1s", None, false),
            ("live 0.2s", None, true),
            ("live 0.2s", None, false),
            ("live 0.2s", None, false),
            ("live 0.1s", None, true),
            ("live 0.1s", Some(3), true),
            ("live 0.1s", Some(3), false),
            ("live 0.1s", Some(4), true),
            ("live 0.9s", Some(4), true),
            ("live 0.9s", Some(4), false),
            ("live 0.9s", None, true),
            ("live 0.9s", None, false),
        ] {
            assert_eq!(drawn(&mut frames, text, cursor), is_written, "{text} {cursor:?}");
        }
        frames.forget().unwrap();
        assert!(drawn(&mut frames, "live 0.9s", None), "the screen was cleared");
        assert!(!drawn(&mut frames, "live 0.9s", None));
    }
}
