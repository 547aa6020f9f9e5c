//! The event streams: server-sent events (WHATWG HTML, "Server-sent events") as JSON, read.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::Stream;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use super::{AdminError, Endpoint};
use crate::admin::dto::StreamEvent;

/// One event in bytes: a page of queues, each perhaps with an error of `limits::MAX_ERROR_BYTES`.
const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// What happens in the broker, as it happens.
///
/// Ends after its first error. An error doesn't say that the broker is gone: connect again, and read
/// again what is shown. Dropping it closes the connection; polling it is cancellation-safe.
#[derive(Debug)]
pub struct EventStream<T = StreamEvent> {
    endpoint: Endpoint,
    body: Incoming,
    parser: Parser,
    silence_limit: Duration,
    silence: Pin<Box<Sleep>>,
    over: bool,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> EventStream<T> {
    pub(super) fn new(endpoint: Endpoint, body: Incoming, silence_limit: Duration) -> Self {
        let silence = Box::pin(tokio::time::sleep(silence_limit));
        Self {
            endpoint,
            body,
            parser: Parser::default(),
            silence_limit,
            silence,
            over: false,
            of: PhantomData,
        }
    }

    /// The same events, of which only what `U` has is kept.
    pub fn of<U>(self) -> EventStream<U> {
        let Self { endpoint, body, parser, silence_limit, silence, over, of: _ } = self;
        EventStream { endpoint, body, parser, silence_limit, silence, over, of: PhantomData }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, AdminError>> {
        loop {
            if let Some(data) = self.parser.next_event() {
                let event = serde_json::from_slice(&data);
                return Poll::Ready(event.map_err(|e| AdminError::Protocol {
                    what: format!("an event that can't be read: {e}"),
                }));
            }
            if self.parser.held() > MAX_EVENT_BYTES {
                let what = format!("an event of more than {MAX_EVENT_BYTES} bytes");
                return Poll::Ready(Err(AdminError::Protocol { what }));
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                ready!(self.silence.as_mut().poll(cx));
                let endpoint = self.endpoint.clone();
                return Poll::Ready(Err(AdminError::Timeout { endpoint, sent: true }));
            };
            match frame {
                Some(Ok(frame)) => {
                    let until = Instant::now() + self.silence_limit;
                    self.silence.as_mut().reset(until);
                    if let Some(data) = frame.data_ref() {
                        self.parser.push(data);
                    }
                }
                Some(Err(source)) => {
                    let endpoint = self.endpoint.clone();
                    return Poll::Ready(Err(AdminError::Lost { endpoint, source }));
                }
                None => {
                    return Poll::Ready(Err(AdminError::StreamEnded {
                        endpoint: self.endpoint.clone(),
                    }));
                }
            }
        }
    }
}

impl<T: DeserializeOwned> Stream for EventStream<T> {
    type Item = Result<T, AdminError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let event = ready!(self.poll_event(cx));
        self.over = event.is_err();
        Poll::Ready(Some(event))
    }
}

/// Bytes to the `data` of events. Knows no JSON.
#[derive(Debug, Default)]
struct Parser {
    /// Not yet a whole line.
    rest: BytesMut,
    /// How much of `rest` is known to hold no line end.
    searched: usize,
    /// The current event's data lines so far.
    data: Vec<u8>,
    /// Whether the current event has a data line.
    has_data: bool,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// Bytes held for an event that is not whole yet.
    fn held(&self) -> usize {
        self.rest.len() + self.data.len()
    }

    fn next_event(&mut self) -> Option<Vec<u8>> {
        while let Some(line) = self.next_line() {
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    return Some(std::mem::take(&mut self.data));
                }
                continue;
            }
            // `event:` repeats what the data says, `id:` and `retry:` are not used, `:` is a comment.
            if let Some(value) = line.strip_prefix(b"data:") {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.has_data = true;
            }
        }
        None
    }

    fn next_line(&mut self) -> Option<BytesMut> {
        let Some(end) = self.rest[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let end = self.searched + end;
        self.searched = 0;
        let mut line = self.rest.split_to(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parser: &mut Parser) -> Vec<String> {
        std::iter::from_fn(|| parser.next_event())
            .map(|data| String::from_utf8(data).expect("the test sends UTF-8"))
            .collect()
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text =
            "event: a\ndata: {\"x\":1}\n\n: comment\n\nid: 3\r\ndata:one\r\ndata: two\r\n\r\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.push(piece);
                found.extend(events(&mut parser));
            }
            assert_eq!(found, ["{\"x\":1}", "one\ntwo"], "cut every {size} bytes");
            assert_eq!(parser.held(), 0);
        }
    }
}
