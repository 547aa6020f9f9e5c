//! What a trace is told of a message's way (OpenTelemetry's messaging conventions).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::header::Header;
use super::ids::{MessageId, Seq};

/// W3C Trace Context's version 0: `00-` trace `-` span `-` flags.
const TRACEPARENT_BYTES: usize = 55;
/// What W3C Trace Context asks to pass on at least. A longer `tracestate` goes to the worker as it is, but into no span: spans
/// wait in RAM.
const MAX_STATE_BYTES: usize = 512;
/// The flag that says that somebody keeps this trace.
const SAMPLED: u8 = 1;

/// In which trace a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// The producer's span; absent where the broker begins the trace.
    pub parent: Option<[u8; 8]>,
    /// Whether it is kept.
    pub is_sampled: bool,
    /// `tracestate` as the producer gave it.
    pub state: String,
}

impl TraceContext {
    /// What the header's `traceparent` and `tracestate` say; `None` without a right `traceparent`.
    pub fn of_header(header: &Header) -> Option<Self> {
        // A header is read again only if it may have one.
        let name = b"\"traceparent\"";
        header.json().windows(name.len()).find(|part| part == name)?;
        let fields = header.to_map();
        let parent = fields.get("traceparent")?.as_str()?;
        let state = fields.get("tracestate").and_then(|state| state.as_str());
        let state = state.filter(|state| state.len() <= MAX_STATE_BYTES).unwrap_or_default();
        Self::read(parent, state)
    }

    fn read(parent: &str, state: &str) -> Option<Self> {
        let bytes = parent.as_bytes();
        let (version, rest) =
            bytes.split_at_checked(TRACEPARENT_BYTES).map(|(all, rest)| (&all[..2], rest))?;
        let [version] = hex(version)?;
        // Later versions may say more, after a dash.
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|&next| next == b'-'),
        };
        if !is_whole || [2, 35, 52].iter().any(|&at| bytes[at] != b'-') {
            return None;
        }
        let trace_id: [u8; 16] = hex(&bytes[3..35])?;
        let span_id: [u8; 8] = hex(&bytes[36..52])?;
        let [flags] = hex(&bytes[53..55])?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let is_sampled = flags & SAMPLED != 0;
        Some(Self { trace_id, parent: Some(span_id), is_sampled, state: state.to_owned() })
    }
}

/// Lower case only, as the standard wants it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Took it in: from the request until it is durable.
    Publish,
    /// Handed it to a worker.
    Deliver,
    /// Heard that it is done: until that is durable.
    Ack,
    /// Heard that it failed: until that is durable.
    Nack,
}

impl SpanKind {
    /// `messaging.operation.name`
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Ack => "ack",
            Self::Nack => "nack",
        }
    }

    /// `messaging.operation.type`
    pub const fn operation_type(self) -> &'static str {
        match self {
            Self::Publish => "send",
            Self::Deliver => "receive",
            Self::Ack | Self::Nack => "settle",
        }
    }
}

/// A step of a message's way through the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What was done.
    pub kind: SpanKind,
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its own.
    pub span_id: [u8; 8],
    /// What it is a part of: the producer's span, of a settlement the delivery's.
    pub parent: Option<[u8; 8]>,
    /// `tracestate`
    pub state: String,
    /// The queue or topic.
    pub destination: String,
    /// The message's id.
    pub message_id: MessageId,
    /// The payload's bytes, where they are at hand.
    pub body_bytes: Option<u64>,
    /// The message's place, once it has one.
    pub seq: Option<Seq>,
    /// Which attempt, from 1, of what a worker has.
    pub attempt: Option<u32>,
    /// In nanoseconds since 1970.
    pub start_nanos: u64,
    /// Likewise.
    pub end_nanos: u64,
    /// The code of what went wrong (`error.type`).
    pub error: Option<String>,
}

/// How many spans came and went, since the broker started.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// [`SpanCounts`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanTotals {
    /// The collector has them.
    pub exported: u64,
    /// Too many waited, or the collector didn't take them.
    pub dropped: u64,
}

impl SpanCounts {
    /// So many were taken.
    pub fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    /// So many were lost.
    pub fn dropped(&self, spans: u64) {
        self.dropped.fetch_add(spans, Relaxed);
    }

    /// Both.
    pub fn totals(&self) -> SpanTotals {
        SpanTotals { exported: self.exported.load(Relaxed), dropped: self.dropped.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let read = TraceContext::read(PARENT, "a=b").expect("it is right");
        assert_eq!(read.trace_id[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(read.parent.expect("a span")[7], 0x31);
        assert!(read.is_sampled && read.state == "a=b");
        let unsampled = PARENT.replace("-01", "-02");
        assert!(!TraceContext::read(&unsampled, "").expect("it is right").is_sampled);
        let later = format!("cc{}-what-else", &PARENT[2..]);
        assert!(TraceContext::read(&later, "").is_some(), "a later version");
        for wrong in [
            String::new(),
            "00-a-b-01".to_owned(),
            PARENT.to_uppercase(),
            format!("{PARENT}-"),
            format!("ff{}", &PARENT[2..]),
            format!("cc{}x", &PARENT[2..]),
            PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            PARENT.replace("-b7", "_b7"),
            PARENT.replace("b7", "bé"),
        ] {
            assert_eq!(TraceContext::read(&wrong, ""), None, "{wrong}");
        }
    }
}
