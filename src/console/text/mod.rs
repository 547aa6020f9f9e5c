//! Text that an operator sees and edits: hostile bytes made harmless, JSON checked and re-indented, the
//! editor, differences, drafts and the hex view. Everything but `drafts` is pure.

pub mod clean;
pub mod diff;
pub mod drafts;
pub mod editor;
pub mod fold;
pub mod hex;
pub mod json;
pub mod rework;
