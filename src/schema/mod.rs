//! JSON Schemas of queues: compiled, asked, and where they are asked.
//!
//! A schema may cost any time to ask: `anyOf` within `$ref` doubles it with each level of the payload. So nothing asks one on
//! the loop's thread, nor on a runtime's: [`Checks`] has threads for it, with a time limit; and it may nest as deep as its text
//! and the payload's together, so that each of those threads has a stack for that.

mod checks;
mod compiled;
mod known;
mod pool;

#[cfg(test)]
mod tests;

pub use checks::Checks;
pub use compiled::{Compiled, Miss, SchemaError, with_room};
pub use known::Schemas;
