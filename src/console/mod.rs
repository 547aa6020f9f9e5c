//! The terminal console: what is blocked, why, and the repair of it.

pub mod text;
