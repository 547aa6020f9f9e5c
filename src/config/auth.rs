//! `[auth]`: tokens.

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{Setting, bad, is_loopback, tcp_address};
use crate::auth::{CurvePublic, Grants, NoKey, Right, Role, Token, TokenHash, token_name};
use crate::model::QueuePatterns;

/// Tokens of one broker: each is compared with what is shown, for each request.
const MAX_TOKENS: usize = 1024;

/// `[auth]`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Who may come in, beside this machine's user.
    pub tokens: Vec<Token>,
    /// Whether peers of the clients' door need one.
    pub clients: bool,
    /// Whether peers of the workers' door need one.
    pub workers: bool,
    /// Whether the clients' door speaks CURVE alone.
    pub curve_clients: bool,
    /// The same for the workers'.
    pub curve_workers: bool,
    /// Doors that other machines reach, where tokens may be shown in clear: setting, address, and what to set.
    pub in_clear: Vec<(&'static str, String, &'static str)>,
}

/// `[auth]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    #[serde(default)]
    tokens: Vec<toml::Spanned<Row>>,
    #[serde(default)]
    clients: bool,
    #[serde(default)]
    workers: bool,
    curve_clients: Option<toml::Spanned<bool>>,
    curve_workers: Option<toml::Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: toml::Spanned<String>,
    hash: toml::Spanned<String>,
    role: toml::Spanned<String>,
    queues: Option<toml::Spanned<Vec<String>>>,
    without: Option<toml::Spanned<Vec<String>>>,
    curve_key: Option<toml::Spanned<String>>,
}

pub(super) const KEYS: &[&str] =
    &["tokens", "clients", "workers", "curve_clients", "curve_workers"];
pub(super) const TOKEN_KEYS: &[&str] = &["name", "hash", "role", "queues", "without", "curve_key"];

impl Table {
    /// Refuses CURVE alone at a door where it can't be: without a key, or where the broker's own workers are to connect, which
    /// don't speak it.
    pub(super) fn check_curve(
        &self,
        source: &Source<'_>,
        has_key: bool,
        has_own_workers: bool,
    ) -> Result<(), ConfigError> {
        for (key, set) in
            [("curve_clients", &self.curve_clients), ("curve_workers", &self.curve_workers)]
        {
            let Some(set) = set.as_ref().filter(|set| *set.get_ref()) else { continue };
            let place = source.place(set.span());
            if !has_key {
                let reason = format!(
                    "auth.{key} needs listen.curve_key_file; `mubroker curve keygen --out FILE` makes one"
                );
                return Err(bad(&place, reason));
            }
            if key == "curve_workers" && has_own_workers {
                let reason = "auth.curve_workers keeps the broker's own workers out, which speak no CURVE; leave out \
                              [workers], or start them elsewhere";
                return Err(bad(&place, reason.to_owned()));
            }
        }
        Ok(())
    }

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
            let other = tokens
                .iter()
                .find(|other| other.curve_key.is_some() && other.curve_key == token.curve_key);
            if let Some(other) = other {
                let reason =
                    format!("{name:?} has the curve_key of {:?}; make a new one", other.name);
                return Err(bad(&place, reason));
            }
            tokens.push(token);
        }
        let is_set = |set: Option<toml::Spanned<bool>>| set.is_some_and(toml::Spanned::into_inner);
        Ok(Auth {
            tokens,
            clients: self.clients,
            workers: self.workers,
            curve_clients: is_set(self.curve_clients),
            curve_workers: is_set(self.curve_workers),
            in_clear: Vec::new(),
        })
    }
}

impl Auth {
    /// Whether any token has the right.
    fn any_has(&self, right: Right) -> bool {
        self.tokens.iter().any(|token| token.grants.has(right))
    }
}

/// What there is to know of a door.
pub(super) struct Door {
    pub(super) address: String,
    /// Whether its peers need a token.
    pub(super) needs_token: bool,
    /// Whether other machines reach it.
    is_open: bool,
}

impl Auth {
    /// Takes over what became of the doors of clients and workers.
    pub(super) fn note_doors(&mut self, clients: &Door, workers: &Door) {
        (self.clients, self.workers) = (clients.needs_token, workers.needs_token);
        let doors = [
            (clients, self.curve_clients, super::CLIENTS, "auth.curve_clients"),
            (workers, self.curve_workers, super::WORKERS, "auth.curve_workers"),
        ];
        self.in_clear = doors
            .into_iter()
            .filter(|(door, is_curve_only, ..)| door.is_open && !is_curve_only)
            .map(|(door, _, setting, mends)| (setting, door.address.clone(), mends))
            .collect();
    }
}

/// The door's address, and whether its peers need a token: beyond loopback in any case. Then there must be one that has the
/// `right` there.
pub(super) fn door(
    setting: &Setting,
    key: &str,
    auth: &Auth,
    (is_asked, right, role): (bool, Right, Role),
) -> Result<Door, ConfigError> {
    let (text, place) = setting;
    let is_open = match text.strip_prefix("ipc://") {
        Some(_) => false,
        None => !is_loopback(&tcp_address(text, key, place)?.0),
    };
    let needed = is_open || is_asked;
    if needed && !auth.any_has(right) {
        let why = match is_open {
            true => "lets other machines connect",
            false => "is to ask for tokens, as [auth] says",
        };
        let reason = format!(
            "{key} {text:?} {why}, and [auth] has no token with the right `{right}`; make one by `mubroker token \
             new --role {role} --name NAME`, or give a loopback address or ipc://PATH, and an SSH tunnel for \
             who is elsewhere"
        );
        return Err(bad(place, reason));
    }
    Ok(Door { address: text.clone(), needs_token: needed, is_open })
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
    let curve_key = match row.curve_key {
        None => None,
        Some(key) => {
            let place = source.place(key.span());
            let key: Result<CurvePublic, NoKey> = key.get_ref().parse();
            Some(key.map_err(|error| at(place)(error.to_string()))?)
        }
    };
    Ok(Token { name, hash, curve_key, grants: Grants { role, without, queues } })
}
