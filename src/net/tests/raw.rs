//! A peer made of bytes: a ZMTP client of which each step can be left out or done wrong.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::LONG;

pub(super) struct Raw {
    pub(super) stream: TcpStream,
}

pub(super) fn greeting(mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

pub(super) fn ready(socket_type: &[u8], identity: &[u8]) -> Vec<u8> {
    let body = [&b"\x05READY"[..], &properties(socket_type, identity)].concat();
    [&[4, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

pub(super) fn properties(socket_type: &[u8], identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x0bSocket-Type".to_vec();
    for (name, value) in [(&b""[..], socket_type), (b"\x08Identity", identity)] {
        body.extend(name);
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
    }
    body
}

pub(super) fn message(frames: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, body) in frames.iter().enumerate() {
        out.extend(frame(u8::from(i + 1 < frames.len()), body));
    }
    out
}

pub(super) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if body.len() > 255 {
        out.push(flags | 2);
        out.extend((body.len() as u64).to_be_bytes());
    } else {
        out.extend([flags, body.len() as u8]);
    }
    out.extend_from_slice(body);
    out
}

impl Raw {
    pub(super) async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap() }
    }

    /// Connected and through the handshake.
    pub(super) async fn dealer(port: u16, identity: &[u8]) -> Self {
        let mut raw = Self::connect(port).await;
        raw.send(&greeting(b"NULL")).await;
        raw.send(&ready(b"DEALER", identity)).await;
        let mut theirs = [0; 64];
        raw.stream.read_exact(&mut theirs).await.unwrap();
        assert_eq!(&theirs[12..16], b"NULL");
        let (flags, body) = raw.frame().await;
        assert_eq!(flags, 4);
        assert!(body.starts_with(b"\x05READY"), "{body:?}");
        raw
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&mut self, frames: &[&[u8]]) -> Vec<Bytes> {
        self.send(&message(frames)).await;
        self.receive().await
    }

    pub(super) async fn receive(&mut self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        loop {
            let (flags, body) = self.frame().await;
            assert_eq!(flags & 4, 0, "a message, not a command: {body:?}");
            frames.push(Bytes::from(body));
            if flags & 1 == 0 {
                return frames;
            }
        }
    }

    /// The next frame's flags and body.
    pub(super) async fn frame(&mut self) -> (u8, Vec<u8>) {
        timeout(LONG, async {
            let flags = self.stream.read_u8().await.unwrap();
            let len = match flags & 2 {
                0 => u64::from(self.stream.read_u8().await.unwrap()),
                _ => self.stream.read_u64().await.unwrap(),
            };
            let mut body = vec![0; usize::try_from(len).unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            (flags, body)
        })
        .await
        .expect("a frame in time")
    }

    /// Reads until the other side has closed; the bytes that came before.
    pub(super) async fn until_closed(&mut self) -> usize {
        let mut sink = vec![0; 64 * 1024];
        let mut all = 0;
        timeout(LONG, async {
            loop {
                match self.stream.read(&mut sink).await {
                    Ok(0) | Err(_) => return all,
                    Ok(read) => all += read,
                }
            }
        })
        .await
        .expect("closed in time")
    }
}
