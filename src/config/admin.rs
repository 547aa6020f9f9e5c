//! `listen.admin`: where the admin API is.

use std::path::{Path, PathBuf};

use super::addresses::Taken;
use super::auth::Auth;
use super::error::{ConfigError, Place};
use super::file::{Listen, Source};
use super::{ADMIN, Setting, bad, expand, from_file, is_loopback, tcp_address};

/// The unix socket, wherever nothing is said of it.
const DEFAULT_SOCKET: &str = "admin.sock";
const CERT_FILE: &str = "listen.admin_cert_file";
const KEY_FILE: &str = "listen.admin_key_file";

/// Where the admin API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket, which is always there: who may open it may read the store, too.
    pub socket: PathBuf,
    /// Over TCP as well.
    pub tcp: Option<AdminTcp>,
}

/// The admin API over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTcp {
    /// `HOST:PORT`
    pub address: String,
    /// Only this machine can connect.
    pub is_loopback: bool,
    /// Certificate chain and key, in PEM; without them it isn't encrypted.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Admin {
    pub(super) fn take(&self, taken: &mut Taken, place: &Place) -> Result<(), ConfigError> {
        taken.take(ADMIN, &format!("unix:{}", self.socket.display()), place)?;
        let tcp = self.tcp.iter().map(|tcp| format!("tcp://{}", tcp.address));
        tcp.into_iter().try_for_each(|address| taken.take(ADMIN, &address, place))
    }
}

/// `[unix:PATH][, tcp://HOST:PORT]`
pub(super) fn check(
    (text, place): &Setting,
    data_dir: &Path,
    listen: &Listen,
    source: &Source<'_>,
    auth: &Auth,
) -> Result<Admin, ConfigError> {
    let (mut socket, mut tcp) = (None, None);
    for part in text.split(',').map(str::trim) {
        let is_second = if part.starts_with("tcp://") {
            let (host, address) = tcp_address(part, ADMIN, place)?;
            tcp.replace((host, address, part)).is_some()
        } else {
            socket.replace(socket_of(part, place, data_dir)?).is_some()
        };
        if is_second {
            let reason =
                format!("{ADMIN} {text:?} has two of a kind; give one unix:PATH, one tcp://");
            return Err(bad(place, reason));
        }
    }
    let tls = tls(listen, source)?;
    let tcp = match (tcp, tls) {
        (Some((host, address, part)), (tls, _)) => {
            if auth.tokens.is_empty() {
                return Err(bad(place, no_tokens(part)));
            }
            Some(AdminTcp { is_loopback: is_loopback(&host), address, tls })
        }
        (None, (None, _)) => None,
        (None, (Some(_), place)) => {
            let reason = format!("{CERT_FILE} is for TCP; {ADMIN} {text:?} has no tcp://HOST:PORT");
            return Err(bad(&place, reason));
        }
    };
    let socket = socket.unwrap_or_else(|| data_dir.join(DEFAULT_SOCKET));
    Ok(Admin { socket, tcp })
}

fn no_tokens(address: &str) -> String {
    format!(
        "{ADMIN} {address:?} is over TCP, where only tokens tell who is there, and [auth] has none; \
         make one by `mubroker token new --role operator --name NAME`, or use unix:PATH alone"
    )
}

fn socket_of(text: &str, place: &Place, data_dir: &Path) -> Result<PathBuf, ConfigError> {
    let path = text.strip_prefix("unix:").map(|path| path.trim_start_matches("//"));
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        let reason =
            format!("{ADMIN} {text:?} is not an address; give unix:PATH or tcp://HOST:PORT");
        return Err(bad(place, reason));
    };
    match path.strip_prefix("{data_dir}/") {
        Some(rest) => Ok(data_dir.join(rest)),
        None => Ok(PathBuf::from(path)),
    }
}

type Tls = (Option<(PathBuf, PathBuf)>, Place);

fn tls(listen: &Listen, source: &Source<'_>) -> Result<Tls, ConfigError> {
    let set = |value| from_file(source, value).filter(|(text, _)| !text.is_empty());
    let half = |place: &Place, there: &str, missing: &str| {
        Err(bad(place, format!("{there} needs {missing} beside it, and that one needs it")))
    };
    match (set(&listen.admin_cert_file), set(&listen.admin_key_file)) {
        (None, None) => Ok((None, Place::Default(CERT_FILE))),
        (Some((_, place)), None) => half(&place, CERT_FILE, KEY_FILE),
        (None, Some((_, place))) => half(&place, KEY_FILE, CERT_FILE),
        (Some((cert, place)), Some((key, key_place))) => {
            Ok((Some((expand(&cert, &place)?, expand(&key, &key_place)?)), place))
        }
    }
}
