//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A place in a file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Env(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default(name) => write!(f, "the default of {name}"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that it names can't be read.
    #[error("{key}: {} can't be read; give a file that the broker's user can read", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key that doesn't exist.
    #[error("{place}: unknown key `{key}`{}", nearest_text(nearest.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key with its tables.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A key or value that a later version has.
    #[error("{place}: {what} is not in this version")]
    Later {
        /// Where.
        place: Place,
        /// The key, or the key with its value.
        what: String,
    },
    /// Not TOML, or a value of the wrong type.
    #[error("{place}: {reason}")]
    Value {
        /// Where.
        place: Place,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// There is no home folder to put the store into.
    #[error("there is no home folder; set `data_dir`, MUBROKER_DATA_DIR or --data-dir")]
    NoHome,
}

fn nearest_text(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}
