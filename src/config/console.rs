//! `[console]`: how the console looks, and which keys do what. What the names mean is the console's to say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::Place;
use super::file::Source;

/// `[console]`, as far as it can be checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// The theme's name.
    pub theme: String,
    /// Where it stands, if it is another than the default.
    pub theme_place: Option<Place>,
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
        let theme = "default".to_owned();
        Self { theme, theme_place: None, ascii: false, mouse: false, keys: Vec::new() }
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
    pub(super) fn check(self, source: &Source<'_>) -> Console {
        let default = Console::default();
        let (theme, theme_place) = match self.theme {
            None => (default.theme, None),
            Some(theme) => {
                let place = source.place(theme.span());
                let is_default = *theme.get_ref() == default.theme;
                (theme.into_inner(), (!is_default).then_some(place))
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
        Console {
            theme,
            theme_place,
            ascii: self.ascii.unwrap_or(default.ascii),
            mouse: self.mouse.unwrap_or(default.mouse),
            keys: keys.collect(),
        }
    }
}
