//! `[console]`: how the console looks, and which keys do what. What the names mean is the console's to say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;

/// The themes' names; the console has their colours.
pub const THEMES: [&str; 4] = ["default", "light", "sixteen", "plain"];

/// `[console]`, as far as it can be checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// One of [`THEMES`].
    pub theme: String,
    /// The console's own glyphs are ASCII.
    pub ascii: bool,
    /// The wheel moves, a click selects.
    pub mouse: bool,
    /// `[console.keys]`.
    pub keys: Vec<Keys>,
}

/// A line of `[console.keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// What they do.
    pub name: String,
    /// The keys; may be none.
    pub keys: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

impl Default for Console {
    fn default() -> Self {
        Self { theme: THEMES[0].to_owned(), ascii: false, mouse: false, keys: Vec::new() }
    }
}

/// `[console]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    theme: Option<toml::Spanned<String>>,
    ascii: Option<bool>,
    mouse: Option<bool>,
    #[serde(default)]
    keys: BTreeMap<toml::Spanned<String>, OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a key like \"t\", or a list of keys")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) const KEYS: &[&str] = &["theme", "ascii", "mouse", "keys"];

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Console, ConfigError> {
        let default = Console::default();
        let theme = match self.theme {
            None => default.theme,
            Some(theme) if THEMES.contains(&theme.get_ref().as_str()) => theme.into_inner(),
            Some(theme) => {
                let known = THEMES.map(|name| format!("{name:?}")).join(", ");
                let reason =
                    format!("console.theme {:?} is unknown; give one of {known}", theme.get_ref());
                return Err(super::bad(&source.place(theme.span()), reason));
            }
        };
        let keys = self.keys.into_iter().map(|(name, keys)| Keys {
            place: source.place(name.span()),
            name: name.into_inner(),
            keys: match keys {
                OneOrMany::One(key) => vec![key],
                OneOrMany::Many(keys) => keys,
            },
        });
        Ok(Console {
            theme,
            ascii: self.ascii.unwrap_or(default.ascii),
            mouse: self.mouse.unwrap_or(default.mouse),
            keys: keys.collect(),
        })
    }
}
