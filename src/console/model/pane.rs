//! A difference on the screen: made beside the keys if it is long, wrapped so that no change is beyond the edge.

use super::Motion;
use crate::console::effect::RequestId;
use crate::console::text::diff::DiffLine;

/// Columns in front of a line: its sign and a space.
const SIGN_COLUMNS: usize = 2;

/// A difference and the part of it that is shown.
#[derive(Debug, Default)]
pub struct DiffPane {
    /// Which making of it is awaited.
    awaits: Option<RequestId>,
    /// Lines above its own.
    lead: Vec<DiffLine>,
    /// Its lines, or why there are none; nothing while they are made.
    lines: Option<Result<Vec<DiffLine>, String>>,
    rows: Vec<DiffLine>,
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
            self.rows = lines.flat_map(|line| line.wrapped(width - SIGN_COLUMNS)).collect();
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
    pub fn shown(&self) -> &[DiffLine] {
        self.rows.get(self.scroll..).unwrap_or_default()
    }

    /// `1-18 of 40` if not all rows are on the screen.
    pub fn place(&self) -> Option<String> {
        let end = (self.scroll + self.height).min(self.rows.len());
        (self.rows.len() > self.height)
            .then(|| format!("{}-{end} of {}", self.scroll + 1, self.rows.len()))
    }
}
