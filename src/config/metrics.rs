//! `listen.metrics`: an address for scrapers, which don't speak HTTP over unix sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::addresses::Taken;
use super::error::{ConfigError, Place};
use super::file::{Listen, Source};
use super::{Sources, bad, from_file};

const KEY: &str = "listen.metrics";
const VARIABLE: &str = "MUBROKER_LISTEN__METRICS";

/// The address, if there is one. Of this machine only: nobody is asked who he is there.
pub(super) fn check(
    listen: &Listen,
    source: &Source<'_>,
    sources: &Sources,
    taken: &mut Taken,
) -> Result<Option<SocketAddr>, ConfigError> {
    let set = sources.env.iter().find(|(name, _)| name == VARIABLE);
    let set = set.map(|(_, value)| (value.clone(), Place::Env(VARIABLE.to_owned())));
    let Some((text, place)) = set.or_else(|| from_file(source, &listen.metrics)) else {
        return Ok(None);
    };
    if text.is_empty() {
        return Ok(None);
    }
    let form = || {
        let example = "tcp://127.0.0.1:9464";
        bad(&place, format!("{KEY} {text:?} is not an address; give one like {example}"))
    };
    let address = text.strip_prefix("tcp://").ok_or_else(form)?;
    let address = match address.strip_prefix("localhost:") {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().map_err(|_| form())?)),
        None => address.parse().map_err(|_| form())?,
    };
    if !IpAddr::is_loopback(&address.ip()) {
        let reason = format!(
            "{KEY} {text:?} lets other machines read it without a token; give a loopback address \
             (tcp://127.0.0.1:{}), or take /metrics from the admin API",
            address.port()
        );
        return Err(bad(&place, reason));
    }
    taken.take(KEY, &format!("tcp://{address}"), &place)?;
    Ok(Some(address))
}
