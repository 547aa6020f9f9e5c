//! `mubroker curve keygen`, and the broker's key file.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Exit;
use super::failure::Failure;
use super::output::{json, print};
use crate::auth::{CurveSecret, NoKey};

/// Keys for CURVE, by which ZeroMQ peers connect over networks that nobody trusts
#[derive(Debug, Args)]
pub struct CurveArgs {
    #[command(subcommand)]
    command: CurveCommand,
}

#[derive(Debug, Subcommand)]
enum CurveCommand {
    /// Make a pair of keys, for the broker or for a peer; nothing keeps it
    Keygen {
        /// Write the secret key to this file, which must not be there, and show the public one only
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Pair {
    public: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

pub(super) async fn run(args: CurveArgs) -> Result<Exit, Failure> {
    let CurveCommand::Keygen { out, json: as_json } = args.command;
    let secret = CurveSecret::new().map_err(|error| Failure::new(error.to_string()))?;
    if let Some(file) = &out {
        let what = format!("the secret key can't be written to {}", file.display());
        write(file, &secret).map_err(|error| Failure::io(&what, &error))?;
    }
    let secret_shown = out.is_none().then(|| secret.reveal());
    let pair = Pair { public: secret.public().to_string(), secret: secret_shown };
    if as_json {
        json(&pair)?;
        return Ok(Exit::Done);
    }
    let secret = match (&pair.secret, &out) {
        (Some(secret), _) => secret.clone(),
        (None, Some(file)) => format!("in {}", file.display()),
        (None, None) => String::new(),
    };
    print(&format!("public {}\nsecret {secret}\n", pair.public))?;
    Ok(Exit::Done)
}

fn write(path: &Path, secret: &CurveSecret) -> io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()
}

/// Why the broker has no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file can't be read.
    #[error("listen.curve_key_file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "listen.curve_key_file {} can be read by others; `chmod 600` it, or make a new key",
        path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// There is no key in it.
    #[error("listen.curve_key_file {}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: NoKey,
    },
}

/// The broker's key.
pub(super) fn read_key(path: &Path) -> Result<CurveSecret, KeyFileError> {
    let unread = |source| KeyFileError::Read { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(unread)?.mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    text.parse().map_err(|source| KeyFileError::Key { path: path.to_owned(), source })
}
