//! The client's side of CURVE, for tests: each step by itself.

use super::cipher::{between, numbered, open, random, seal};
use crate::auth::{CurvePublic, CurveSecret};
use crypto_box::{PublicKey, SalsaBox};

/// A client of the server with that key.
pub(in crate::net) struct Client {
    server: CurvePublic,
    own: CurveSecret,
    transient: CurveSecret,
    session: Option<SalsaBox>,
    said: u64,
}

impl Client {
    /// With keys made for it.
    pub(in crate::net) fn new(server: CurvePublic) -> Self {
        let key = || CurveSecret::new().expect("the system has random bytes");
        Self { server, own: key(), transient: key(), session: None, said: 0 }
    }

    fn number(&mut self) -> u64 {
        self.said += 1;
        self.said
    }

    /// HELLO's body.
    pub(in crate::net) fn hello(&mut self) -> Vec<u8> {
        let number = self.number();
        let key = between(&self.server.key(), self.transient.key());
        let sealed = seal(&key, &numbered(b"CurveZMQHELLO---", number), &[0; 64]);
        let public = self.transient.public().0;
        [b"\x05HELLO\x01\x00", &[0; 72][..], &public, &number.to_be_bytes(), &sealed].concat()
    }

    /// INITIATE's body, after WELCOME's.
    pub(in crate::net) fn initiate(&mut self, welcome: &[u8], properties: &[u8]) -> Vec<u8> {
        let mut welcome = welcome.strip_prefix(b"\x07WELCOME").expect("WELCOME").to_vec();
        let (fresh, sealed) = welcome.split_at_mut(16);
        let nonce = random(b"WELCOME-", (&*fresh).try_into().expect("a nonce"));
        let key = between(&self.server.key(), self.transient.key());
        let opened = open(&key, &nonce, sealed).expect("it is for us");
        let (theirs, cookie) = opened.split_at(32);
        let theirs = PublicKey::from(<[u8; 32]>::try_from(theirs).expect("a key"));
        let vouched = [self.transient.public().0, self.server.0].concat();
        let vouch =
            seal(&between(&theirs, self.own.key()), &random(b"VOUCH---", &[7; 16]), &vouched);
        let plain = [&self.own.public().0[..], &[7; 16], &vouch, properties].concat();
        let session = between(&theirs, self.transient.key());
        let number = self.number();
        let sealed = seal(&session, &numbered(b"CurveZMQINITIATE", number), &plain);
        self.session = Some(session);
        [b"\x08INITIATE", cookie, &number.to_be_bytes(), &sealed].concat()
    }

    /// A frame's body, in its box.
    pub(in crate::net) fn seal(&mut self, is_last: bool, text: &[u8]) -> Vec<u8> {
        let number = self.number();
        let plain = [&[u8::from(!is_last)], text].concat();
        let session = self.session.as_ref().expect("after the handshake");
        let sealed = seal(session, &numbered(b"CurveZMQMESSAGEC", number), &plain);
        [b"\x07MESSAGE", &number.to_be_bytes()[..], &sealed].concat()
    }

    /// What is in a box: whether it is its message's last frame, and its body.
    pub(in crate::net) fn open(&self, body: &[u8]) -> (bool, Vec<u8>) {
        let mut body = body.strip_prefix(b"\x07MESSAGE").expect("MESSAGE").to_vec();
        let (number, sealed) = body.split_at_mut(8);
        let number = u64::from_be_bytes((&*number).try_into().expect("a number"));
        let session = self.session.as_ref().expect("after the handshake");
        let opened = open(session, &numbered(b"CurveZMQMESSAGES", number), sealed);
        let (flags, text) = opened.expect("it is for us").split_first().expect("flags");
        (flags & 1 == 0, text.to_vec())
    }
}
