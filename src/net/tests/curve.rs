//! A peer made of bytes that speaks CURVE.

use std::sync::Arc;

use tokio::io::AsyncReadExt as _;

use super::raw::{Raw, frame, greeting, properties};
use super::*;
use crate::auth::{Access, CurvePublic, CurveSecret, Failures};
use crate::net::curve::client::Client;

pub(super) struct Curved {
    pub(super) raw: Raw,
    client: Client,
}

/// Doors that speak CURVE with anybody, by the key.
pub(super) fn options(change: impl FnOnce(&mut NetLimits)) -> (NetOptions, CurvePublic) {
    let secret = CurveSecret::new().unwrap();
    let public = secret.public();
    let folder = tempfile::tempdir().unwrap();
    let access = Arc::new(Access::open(Vec::new(), folder.path().join("revoked")).unwrap());
    let failures = Arc::<Failures>::default();
    let mut options = with_limits(change);
    let curve = Some(Arc::new(secret));
    options.client_auth =
        Some(DoorAuth { access, failures, curve, is_needed: false, is_curve_only: false });
    (options, public)
}

impl Curved {
    /// Connected and through the handshake.
    pub(super) async fn dealer(port: u16, server: CurvePublic) -> Self {
        let (mut raw, mut client) = (Raw::connect(port).await, Client::new(server));
        raw.send(&greeting(b"CURVE")).await;
        raw.stream.read_exact(&mut [0; 64]).await.unwrap();
        raw.send(&frame(4, &client.hello())).await;
        let (_, welcome) = raw.frame().await;
        raw.send(&frame(4, &client.initiate(&welcome, &properties(b"DEALER", b"")))).await;
        let (_, ready) = raw.frame().await;
        assert!(ready.starts_with(b"\x05READY"), "{ready:?}");
        Self { raw, client }
    }

    /// A message, its frames in boxes.
    pub(super) fn message(&mut self, frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, body) in frames.iter().enumerate() {
            out.extend(frame(0, &self.client.seal(at + 1 == frames.len(), body)));
        }
        out
    }

    pub(super) async fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let (_, body) = self.raw.frame().await;
            let (is_last, text) = self.client.open(&body);
            frames.push(text);
            if is_last {
                return frames;
            }
        }
    }
}
