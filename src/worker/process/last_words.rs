//! The end of what a process writes to standard error, where the reason stands.

use std::collections::VecDeque;

/// How much of standard error is kept, in bytes.
pub(crate) const STDERR_TAIL_BYTES: usize = 4 * 1024;

/// The last [`STDERR_TAIL_BYTES`] bytes of an output.
#[derive(Debug, Default)]
pub(crate) struct LastWords(VecDeque<u8>);

impl LastWords {
    /// More was written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let over = self.0.len().saturating_sub(STDERR_TAIL_BYTES);
        self.0.drain(..over);
    }

    /// As text; bytes that aren't UTF-8 become U+FFFD.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
