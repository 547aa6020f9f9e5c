//! JSON as a tree whose branches fold. Made of tokens: a number's digits, a key that stands twice and the order stay.

use std::collections::BTreeSet;

use super::clean::clean_lines;
use super::json::{self, TokenKind};

/// Levels that are set in: deeper ones stand below one another.
const MAX_INSET: usize = 24;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// How deep it is.
    depth: usize,
    /// Its key or place, cleaned.
    label: String,
    /// A scalar as it is written, or a branch's brackets; cleaned.
    value: String,
    /// Values directly in it; none for a scalar.
    inside: Option<usize>,
    /// The first line behind it and what is in it.
    end: usize,
}

/// A line as it is shown; all text is harmless.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// How far it is set in, in levels.
    pub inset: usize,
    /// A branch: whether it is folded.
    pub folded: Option<bool>,
    /// Key or place.
    pub label: &'a str,
    /// Scalar or brackets.
    pub value: &'a str,
    /// Values directly in a branch.
    pub inside: Option<usize>,
}

/// The tree, and which of its branches are folded.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    lines: Vec<Line>,
    folded: BTreeSet<usize>,
    shown: Vec<usize>,
}

impl Fold {
    /// All of `text` unfolded; `None` if it is no JSON.
    pub fn new(text: &str) -> Option<Self> {
        json::check(text.as_bytes()).ok()?;
        let mut lines: Vec<Line> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut key: Option<String> = None;
        for token in json::tokens(text) {
            let written = &text[token.range.clone()];
            match token.kind {
                TokenKind::Key => key = Some(clean_lines(written).into_owned()),
                TokenKind::Comma | TokenKind::Colon => {}
                TokenKind::Close => {
                    if let Some(at) = open.pop() {
                        let end = lines.len();
                        lines[at].end = end;
                        lines[at].value.push_str(written);
                    }
                }
                TokenKind::Open
                | TokenKind::String
                | TokenKind::Number
                | TokenKind::Literal
                | TokenKind::Bad => {
                    let place = open.last().and_then(|&at| {
                        let inside = lines[at].inside.as_mut()?;
                        *inside += 1;
                        Some(*inside - 1)
                    });
                    let label = key.take().or_else(|| place.map(|n| n.to_string()));
                    let is_branch = token.kind == TokenKind::Open;
                    lines.push(Line {
                        depth: open.len(),
                        label: label.unwrap_or_default(),
                        value: clean_lines(written).into_owned(),
                        inside: is_branch.then_some(0),
                        end: lines.len() + 1,
                    });
                    if is_branch {
                        open.push(lines.len() - 1);
                    }
                }
            }
        }
        let mut fold = Self { lines, ..Self::default() };
        fold.show();
        Some(fold)
    }

    fn show(&mut self) {
        self.shown.clear();
        let mut at = 0;
        while at < self.lines.len() {
            self.shown.push(at);
            at = if self.folded.contains(&at) { self.lines[at].end } else { at + 1 };
        }
    }

    /// Lines that are shown.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The line at this place of those that are shown.
    pub fn line(&self, at: usize) -> Option<Shown<'_>> {
        let index = *self.shown.get(at)?;
        let line = &self.lines[index];
        let is_branch = line.inside.is_some_and(|inside| inside > 0);
        Some(Shown {
            inset: line.depth.min(MAX_INSET),
            folded: is_branch.then(|| self.folded.contains(&index)),
            label: &line.label,
            value: &line.value,
            inside: line.inside,
        })
    }

    /// Folds a branch, or unfolds it; at a scalar its branch. Where the cursor is then.
    pub fn toggle(&mut self, at: usize) -> usize {
        let Some(&index) = self.shown.get(at) else { return at };
        let is_branch = |index: usize| self.lines[index].inside.is_some_and(|inside| inside > 0);
        let branch = if is_branch(index) { Some(index) } else { self.around(index).last() };
        let Some(branch) = branch else { return at };
        if !self.folded.remove(&branch) {
            self.folded.insert(branch);
        }
        self.show();
        self.shown.partition_point(|shown| *shown < branch)
    }

    /// Folds all branches but the outermost, or unfolds all if any is folded. Where the cursor is then.
    pub fn toggle_all(&mut self, at: usize) -> usize {
        let index = self.shown.get(at).copied().unwrap_or_default();
        if self.folded.is_empty() {
            let inner = self.lines.iter().enumerate().skip(1);
            let branches = inner.filter(|(_, line)| line.inside.is_some_and(|inside| inside > 0));
            self.folded = branches.map(|(at, _)| at).collect();
        } else {
            self.folded.clear();
        }
        self.show();
        self.shown.partition_point(|shown| *shown <= index).saturating_sub(1)
    }

    /// The branches around a line, the outermost first.
    fn around(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let before = self.lines[..index].iter().enumerate();
        before.filter(move |(_, line)| line.end > index).map(|(at, _)| at)
    }

    /// The next line after (or before) the one at `at` that has `query` as `found` says, going round the end; unfolded, and where it is
    /// then.
    pub fn find(
        &mut self,
        at: usize,
        forward: bool,
        found: impl Fn(&str) -> bool,
    ) -> Option<usize> {
        let from = self.shown.get(at).copied().unwrap_or_default();
        let count = self.lines.len();
        let hit = (1..=count).find_map(|n| {
            let index = if forward { (from + n) % count } else { (from + count - n) % count };
            let line = &self.lines[index];
            (found(&line.label) || found(&line.value)).then_some(index)
        })?;
        let around: Vec<usize> = self.around(hit).collect();
        for branch in around {
            self.folded.remove(&branch);
        }
        self.show();
        Some(self.shown.partition_point(|shown| *shown < hit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        r#"{"total":1.10,"lines":[{"sku":"a","n":1},{"sku":"ż\u001b[2J"}],"none":{},"total":2}"#;

    fn drawn(fold: &Fold) -> Vec<String> {
        let line = |at| {
            let Shown { inset, folded, label, value, .. } = fold.line(at).unwrap();
            let mark = match folded {
                Some(true) => "+",
                Some(false) => "-",
                None => " ",
            };
            format!("{}{mark}{label}={value}", " ".repeat(inset))
        };
        (0..fold.len()).map(line).collect()
    }

    #[test]
    fn values_keep_their_digits_order_and_doubles() {
        let fold = Fold::new(TEXT).unwrap();
        assert_eq!(
            drawn(&fold),
            [
                "-={}",
                "  \"total\"=1.10",
                " -\"lines\"=[]",
                "  -0={}",
                "    \"sku\"=\"a\"",
                "    \"n\"=1",
                "  -1={}",
                "    \"sku\"=\"ż\\u001b[2J\"",
                "  \"none\"={}",
                "  \"total\"=2",
            ]
        );
        assert!(Fold::new("{oops").is_none());
        assert_eq!(drawn(&Fold::new(" 7 ").unwrap()), [" =7"]);
    }

    #[test]
    fn a_branch_folds_at_itself_and_at_what_is_in_it() {
        let mut fold = Fold::new(TEXT).unwrap();
        assert_eq!(fold.toggle(4), 3, "at a scalar its branch folds");
        assert_eq!(drawn(&fold)[3], "  +0={}");
        assert_eq!(fold.len(), 8);
        assert_eq!(fold.toggle(3), 3);
        assert_eq!(fold.len(), 10);
        assert_eq!(fold.toggle_all(5), 2, "the branch that is left of where the cursor was");
        assert_eq!(fold.len(), 5);
        fold.toggle_all(0);
        assert_eq!(fold.len(), 10);
    }

    #[test]
    fn what_is_found_is_unfolded() {
        let mut fold = Fold::new(TEXT).unwrap();
        fold.toggle_all(0);
        let at = fold.find(0, true, |text| text.contains('ż')).unwrap();
        assert!(drawn(&fold)[at].contains('ż'));
        assert_eq!(fold.find(at, true, |text| text.contains("total")), Some(fold.len() - 1));
        assert_eq!(fold.find(0, false, |text| text.contains("total")), Some(fold.len() - 1));
        assert_eq!(fold.find(0, true, |text| text.contains("nowhere")), None);
    }

    #[test]
    fn what_is_nested_deep_takes_no_stack() {
        let deep = format!("{}1{}", "[".repeat(9_000), "]".repeat(9_000));
        let mut fold = Fold::new(&deep).unwrap();
        assert_eq!(fold.len(), 9_001);
        fold.toggle(9_000);
        assert_eq!(fold.len(), 9_000);
    }
}
