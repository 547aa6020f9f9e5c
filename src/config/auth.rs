//! `[auth]`: tokens.

use serde::Deserialize;

use super::bad;
use super::error::{ConfigError, Place};
use super::file::Source;
use crate::auth::{Grants, Right, Role, Token, TokenHash, token_name};
use crate::model::QueuePatterns;

/// Tokens of one broker: each is compared with what is shown, for each request.
const MAX_TOKENS: usize = 1024;

/// `[auth]`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Who may come in, beside this machine's user.
    pub tokens: Vec<Token>,
}

/// `[auth]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    #[serde(default)]
    tokens: Vec<toml::Spanned<Row>>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: toml::Spanned<String>,
    hash: toml::Spanned<String>,
    role: toml::Spanned<String>,
    queues: Option<toml::Spanned<Vec<String>>>,
    without: Option<toml::Spanned<Vec<String>>>,
}

pub(super) const KEYS: &[&str] = &["tokens"];
pub(super) const TOKEN_KEYS: &[&str] = &["name", "hash", "role", "queues", "without"];

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Auth, ConfigError> {
        let mut tokens: Vec<Token> = Vec::new();
        for row in self.tokens {
            let place = source.place(row.span());
            let token = token(row.into_inner(), source)?;
            let name = &token.name;
            if tokens.len() == MAX_TOKENS {
                return Err(bad(&place, format!("at most {MAX_TOKENS} tokens are allowed")));
            }
            if tokens.iter().any(|other| other.name == *name) {
                let reason = format!("there are two tokens {name:?}; give each its name");
                return Err(bad(&place, reason));
            }
            if let Some(other) = tokens.iter().find(|other| other.hash == token.hash) {
                let reason = format!("{name:?} has the hash of {:?}; make a new one", other.name);
                return Err(bad(&place, reason));
            }
            tokens.push(token);
        }
        Ok(Auth { tokens })
    }
}

fn token(row: Row, source: &Source<'_>) -> Result<Token, ConfigError> {
    let at = |place: Place| move |reason: String| bad(&place, format!("auth.tokens: {reason}"));
    let name = token_name(row.name.get_ref()).map_err(at(source.place(row.name.span())))?;
    let hash: TokenHash = row.hash.get_ref().parse().map_err(at(source.place(row.hash.span())))?;
    let role: Role = row.role.get_ref().parse().map_err(at(source.place(row.role.span())))?;
    let queues = match row.queues {
        None => QueuePatterns::all(),
        Some(texts) => {
            let place = source.place(texts.span());
            QueuePatterns::parse(texts.get_ref()).map_err(at(place))?
        }
    };
    let mut without = Vec::new();
    if let Some(texts) = row.without {
        let place = source.place(texts.span());
        for text in texts.get_ref() {
            let right: Right = text.parse().map_err(at(place.clone()))?;
            if !role.rights().contains(&right) {
                let reason = format!("`without` has {right}, which the role {role} has not anyway");
                return Err(at(place)(reason));
            }
            without.push(right);
        }
    }
    Ok(Token { name, hash, grants: Grants { role, without, queues } })
}
