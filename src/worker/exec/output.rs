//! A child's output, bounded.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Stderr};

use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::worker::process::{LastWords, STDERR_TAIL_BYTES};

/// Read at once: a pipe holds 64 KiB.
const PIECE_BYTES: usize = 64 * 1024;

/// Standard output: the whole, up to a payload's bound. All reads are cancellation-safe.
#[derive(Debug)]
pub(super) struct Reply<R> {
    pipe: R,
    bytes: BytesMut,
}

impl<R: AsyncRead + Unpin> Reply<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { pipe, bytes: BytesMut::new() }
    }

    /// Reads; returns only when there is more than fits.
    pub(super) async fn too_large(&mut self) {
        self.rest().await;
        if self.bytes.len() <= MAX_PAYLOAD_BYTES {
            std::future::pending::<()>().await;
        }
    }

    /// Reads up to the end, or until there is more than fits.
    pub(super) async fn rest(&mut self) {
        while self.bytes.len() <= MAX_PAYLOAD_BYTES {
            self.bytes.reserve(PIECE_BYTES);
            match self.pipe.read_buf(&mut self.bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// What came; `None` if it was more than fits.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        (self.bytes.len() <= MAX_PAYLOAD_BYTES).then(|| self.bytes.freeze())
    }
}

/// Standard error: its end. All reads are cancellation-safe; of what is passed on, a cancelled one may lose a piece.
#[derive(Debug)]
pub(super) struct Tail<R> {
    pipe: R,
    pass_on: Option<Stderr>,
    kept: LastWords,
    piece: BytesMut,
}

impl<R: AsyncRead + Unpin> Tail<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { pipe, pass_on: None, kept: LastWords::default(), piece: BytesMut::new() }
    }

    /// The same, which is written to our own standard error, too.
    pub(super) fn passed_on(self) -> Self {
        Self { pass_on: Some(tokio::io::stderr()), ..self }
    }

    /// Reads for ever.
    pub(super) async fn read(&mut self) -> Infallible {
        self.rest().await;
        std::future::pending().await
    }

    /// Reads up to the end.
    pub(super) async fn rest(&mut self) {
        loop {
            self.piece.clear();
            self.piece.reserve(STDERR_TAIL_BYTES);
            match self.pipe.read_buf(&mut self.piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.kept.push(&self.piece),
            }
            if let Some(own) = &mut self.pass_on {
                // When nobody reads ours any more, the end is kept all the same.
                let _nobody = own.write_all(&self.piece).await;
            }
        }
    }

    /// What is kept.
    pub(super) fn text(&self) -> String {
        self.kept.text()
    }
}
