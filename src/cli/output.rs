//! What commands print: JSON for programs, tables of 80 columns for people. Never a control byte that
//! came from elsewhere, never a colour.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use super::failure::Failure;
use crate::console::text::clean::{clean, pad, truncate, width};

/// A terminal's width that everything fits; what doesn't is cut, `--json` has the whole.
const COLUMNS: usize = 80;
/// Between two columns.
const GAP: usize = 2;

/// Prints text as it is; the caller has cleaned it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever reads has seen enough: `mubroker queue ls | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::io("standard output", &error)),
        Ok(()) => Ok(()),
    }
}

/// Prints one JSON value on a line of its own.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(format!("the answer can't be written as JSON: {error}")))?;
    print(&format!("{text}\n"))
}

/// Tells a person something beside the result.
pub(super) fn note(text: &str) {
    // When standard error is gone there is nobody to tell.
    let _nobody = writeln!(io::stderr().lock(), "{text}");
}

/// Asks for a line; `None` where nobody can be asked. Nothing stands around the answer.
pub(super) fn ask(prompt: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut err = io::stderr().lock();
    let asked = write!(err, "{prompt} ").and_then(|()| err.flush());
    asked.map_err(|error| Failure::io("standard error", &error))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::io("standard input", &error))?;
    Ok(Some(answer.trim().to_owned()))
}

/// Asks whether to do it; `None` where nobody can be asked.
pub(super) fn agreed(question: &str) -> Result<Option<bool>, Failure> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(answer.map(|answer| matches!(&answer[..], "y" | "Y" | "yes")))
}

/// How long ago, in one or two characters of number and one of unit.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// A column: its title, and its width at most.
pub(super) struct Column(pub(super) &'static str, pub(super) usize);

/// Rows under titles; the last column takes what is left of the width.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let last = columns.len().saturating_sub(1);
    let mut left = COLUMNS;
    let mut widths = Vec::with_capacity(columns.len());
    for (at, Column(title, most)) in columns.iter().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell));
        let wanted = cells.max().unwrap_or(0).min(*most).max(title.len());
        let taken = if at == last { left } else { wanted.min(left) };
        widths.push(taken);
        left = left.saturating_sub(taken + GAP);
    }
    let mut out = String::new();
    let titles: Vec<_> = columns.iter().map(|Column(title, _)| clean(title)).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::new();
        for (at, (cell, &columns)) in row.iter().zip(&widths).enumerate() {
            if at == last {
                line.push_str(&truncate(cell, columns));
            } else {
                line.push_str(&pad(cell, columns));
                line.push_str("  ");
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_80_columns_and_shows_no_control_byte() {
        let rows = vec![
            vec!["q".repeat(60), "1".to_owned(), "\u{1b}[2J".to_owned() + &"e".repeat(100)],
            vec!["żółw".to_owned(), "22".to_owned(), String::new()],
        ];
        let text = table(&[Column("QUEUE", 28), Column("DEPTH", 9), Column("ERROR", 80)], &rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "QUEUE                         DEPTH  ERROR");
        assert_eq!(lines[2], "żółw                          22");
        assert!(lines.iter().all(|line| width(line) <= 80), "{text}");
        assert!(lines[1].ends_with('…') && lines[1].contains("␛[2J"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn an_age_has_one_unit() {
        for (ms, text) in
            [(0, "0s"), (119_999, "119s"), (120_000, "2m"), (7_200_000, "2h"), (172_800_000, "2d")]
        {
            assert_eq!(age(ms), text);
        }
    }
}
