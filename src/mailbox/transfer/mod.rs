//! A store's content as lines, and back: exports, imports, and compaction by copying.
//!
//! Messages keep queue, place, id, header, payload, edits, state and attempts; the journal, the repairs'
//! keys and the ids in de-duplication windows come along. What a second export of the imported store
//! gives is byte for byte the same, but for the number of the run in its first line.

mod export;
mod import;
mod line;
#[cfg(test)]
mod tests;

pub use export::export;
pub use import::Import;
pub use line::{Counts, Line, Start};

use super::MailboxError;

/// Why an export or import doesn't go on.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] MailboxError),
    /// A line can't be written.
    #[error("the export can't be written")]
    Write(#[source] std::io::Error),
    /// The export was made by a later version.
    #[error("the export has form {found}; this version reads form {}", line::VERSION)]
    Version {
        /// Its form.
        found: u32,
    },
    /// A line says what can't be.
    #[error("{what}")]
    Invalid {
        /// What, and where in the line.
        what: String,
    },
    /// The last line is missing.
    #[error("the export ends without its line `end`: it was cut off")]
    CutOff,
}

impl TransferError {
    fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
