//! Tokens: who may do what, with which queues. What the admin API and the ZeroMQ doors ask before they do anything.

mod access;
mod curve_key;
mod failures;
mod grants;
mod headers;
mod token;

pub use access::{Access, AccessError, Listed};
pub use curve_key::{CurvePublic, CurveSecret, NoKey};
pub use failures::{Failures, Verdict, network};
pub use grants::{Grants, Right, Role};
pub use token::{MAX_TOKEN_BYTES, NoToken, Secret, Token, TokenHash, token_name};
