//! Who is on the other end of a unix socket: the kernel says, not the peer.

use std::io;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

use super::failure::Failure;
use crate::model::Actor;

/// The header by which console and command line say what they are.
const VIA: &str = "x-mubroker-via";

/// The user who opened the connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    name: String,
}

impl Peer {
    /// By the socket's peer credentials (SO_PEERCRED). A user without a name is called by the number.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let uid = Uid::from_raw(stream.peer_cred()?.uid());
        let name = match User::from_uid(uid) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => format!("uid {uid}"),
        };
        Ok(Self { name })
    }
}

/// Who acts, for the journal.
pub(super) struct Acting(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Acting {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<Peer>();
        let name = peer.expect("the server puts the peer into every request").name.clone();
        let via = match parts.headers.get(VIA).and_then(|via| via.to_str().ok()) {
            Some(via @ ("console" | "cli")) => via,
            Some(_) | None => "api",
        };
        Ok(Self(Actor { name, via: via.to_owned() }))
    }
}
