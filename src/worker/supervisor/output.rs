//! What a supervised process writes goes into the log: line by line, so much and no more.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// A line's length in bytes; what is beyond is left out.
const MAX_LINE_BYTES: usize = 2_000;
/// Lines in a window of one stream; beyond, they are counted. A worker that tells each message at its most.
const MAX_LINES: u32 = 500;
/// The window.
const WINDOW: Duration = Duration::from_secs(5);

/// Reads to the end, so that the process never waits for its reader; gives the last line that says something.
pub(super) async fn log(
    from: impl AsyncRead + Unpin,
    worker: String,
    stream: &'static str,
) -> String {
    let mut last = String::new();
    read(from, |said| match said {
        Said::Line { line, fits } => {
            if fits {
                tracing::info!(target: "mubroker::workers", worker, stream, "{line}");
            }
            if !line.trim().is_empty() {
                last = line;
            }
        }
        Said::LeftOut(left_out) => {
            tracing::warn!(target: "mubroker::workers", worker, stream, left_out, "it wrote too many lines");
        }
    })
    .await;
    last
}

/// What a stream says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// A line, and whether there is room for it in the log.
    Line { line: String, fits: bool },
    /// So many lines had no room.
    LeftOut(u64),
}

async fn read(mut from: impl AsyncRead + Unpin, mut say: impl FnMut(Said)) {
    let mut lines = Lines::default();
    let mut budget = Budget::new(Instant::now());
    let mut piece = [0; 4_096];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        let is_over = read == 0;
        let bytes = match is_over {
            // What has no line end is a line, too.
            true if !lines.begun.is_empty() => b"\n",
            true | false => piece.get(..read).unwrap_or_default(),
        };
        for line in lines.take(bytes) {
            let (fits, left_out) = budget.spend(Instant::now());
            if left_out > 0 {
                say(Said::LeftOut(left_out));
            }
            say(Said::Line { line, fits });
        }
        if is_over {
            if budget.left_out > 0 {
                say(Said::LeftOut(budget.left_out));
            }
            return;
        }
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8_lossy(&self.begun);
                    lines
                        .push(line.chars().map(|c| if c.is_control() { '␦' } else { c }).collect());
                    self.begun.clear();
                }
                _ if self.begun.len() < MAX_LINE_BYTES => self.begun.push(byte),
                _ => {}
            }
        }
        lines
    }
}

/// How many lines may still be written in this window.
#[derive(Debug)]
struct Budget {
    until: Instant,
    left: u32,
    left_out: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { until: now + WINDOW, left: MAX_LINES, left_out: 0 }
    }

    /// Whether the next line may be written, and how many were left out in the window before, if a new one begins.
    fn spend(&mut self, now: Instant) -> (bool, u64) {
        let mut told = 0;
        if now >= self.until {
            told = self.left_out;
            *self = Self::new(now);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                (true, told)
            }
            None => {
                self.left_out += 1;
                (false, told)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_cut_and_clean() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"a\nb\x1b[1m"), ["a"]);
        assert_eq!(lines.take(b"c\xff\n\n"), ["b␦[1mc\u{fffd}", ""]);
        lines.take(&[b'x'; 10_000]);
        assert_eq!(lines.take(b"\n")[0].len(), MAX_LINE_BYTES);
    }

    #[tokio::test]
    async fn what_was_left_out_is_told_at_the_end_too() {
        let count = usize::try_from(MAX_LINES).expect("few") + 7;
        let text = "x\n".repeat(count) + "last";
        let mut said = Vec::new();
        read(text.as_bytes(), |it| said.push(it)).await;
        assert_eq!(said.pop(), Some(Said::LeftOut(8)));
        let last = Said::Line { line: "last".to_owned(), fits: false };
        assert_eq!((said.len(), said.pop()), (count + 1, Some(last)));
    }

    #[test]
    fn so_many_lines_a_window_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..MAX_LINES {
            assert_eq!(budget.spend(now), (true, 0));
        }
        assert_eq!(budget.spend(now), (false, 0));
        assert_eq!(budget.spend(now), (false, 0));
        assert_eq!(budget.spend(now + WINDOW), (true, 2));
        assert_eq!(budget.spend(now + WINDOW), (true, 0));
    }
}
