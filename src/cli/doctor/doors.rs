//! Whether the addresses of the configuration are free, or the running broker's.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;

use super::Finding;
use crate::admin::dto::Overview;
use crate::cli::reload::IN_CLEAR;
use crate::config::Config;

const CHECK: &str = "address";

pub(super) fn all(config: &Config, running: Option<&Overview>) -> Vec<Finding> {
    let mut doors = vec![
        ("listen.clients".to_owned(), config.clients.clone()),
        ("listen.workers".to_owned(), config.workers.clone()),
    ];
    let beside =
        [("push", &config.doors.push), ("live", &config.doors.live), ("feed", &config.doors.feed)];
    for (name, address) in beside {
        doors.extend(address.iter().map(|address| (format!("listen.{name}"), address.clone())));
    }
    let pulls = config.doors.pulls.iter();
    doors.extend(pulls.map(|(queue, address)| (format!("listen.pull.{queue}"), address.clone())));
    let admin = config.admin.tcp.iter();
    doors.extend(admin.map(|tcp| ("listen.admin".to_owned(), format!("tcp://{}", tcp.address))));
    let metrics = config.metrics.iter();
    doors.extend(metrics.map(|address| ("listen.metrics".to_owned(), format!("tcp://{address}"))));
    if running.is_some() {
        // They are its own; that it took them it has said by starting.
        let listed: Vec<String> =
            doors.into_iter().map(|(name, address)| format!("{name} {address}")).collect();
        return vec![Finding::ok(CHECK, format!("the broker listens: {}", listed.join(", ")))];
    }
    doors.iter().map(|(name, address)| one(name, address)).collect()
}

/// Doors where others may read what peers show.
pub(super) fn in_clear(config: &Config) -> Vec<Finding> {
    let warn = |(setting, address, mends): &(&str, String, &str)| {
        let advice = format!(
            "set {mends} = true, and give peers keys (`mubroker curve keygen`); or let them come through a tunnel"
        );
        Finding::warning("encryption", format!("{setting} {address} {IN_CLEAR}"), advice)
    };
    config.auth.in_clear.iter().map(warn).collect()
}

fn one(name: &str, address: &str) -> Finding {
    if let Some(path) = address.strip_prefix("ipc://") {
        let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            let found = format!("{name} {address}: its folder is not there");
            return Finding::wrong(CHECK, found, "make it, or name another");
        }
        return Finding::ok(CHECK, format!("{name} {address}"));
    }
    let place = address.trim_start_matches("tcp://");
    // All interfaces, as the broker reads it.
    let place = match place.strip_prefix("*:") {
        Some(port) => format!("0.0.0.0:{port}"),
        None => place.to_owned(),
    };
    let resolved = place.to_socket_addrs().map(|mut found| found.next());
    let bound = match resolved {
        Ok(Some(address)) => TcpListener::bind(address).map(drop),
        Ok(None) => return Finding::ok(CHECK, format!("{name} {address}")),
        Err(error) => Err(error),
    };
    match bound {
        Ok(()) => Finding::ok(CHECK, format!("{name} {address} is free")),
        Err(error) => {
            let advice = "`ss -ltnp` shows who listens there; stop it, or choose another port";
            Finding::wrong(CHECK, format!("{name} {address} can't be taken: {error}"), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn an_address_is_free_or_somebody_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", taken.local_addr().unwrap());
        assert_eq!(one("listen.clients", &address).state, State::Wrong);
        assert_eq!(one("listen.clients", "tcp://127.0.0.1:0").state, State::Ok);
        assert_eq!(one("listen.clients", "ipc:///nowhere/x").state, State::Wrong);
        assert_eq!(one("listen.clients", "tcp://*:0").state, State::Ok, "all interfaces");
        let port = taken.local_addr().unwrap().port();
        assert_eq!(one("listen.clients", &format!("tcp://*:{port}")).state, State::Wrong);
    }
}
