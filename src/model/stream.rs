//! Entries of the Redis streams behind `redis` queues.

use std::fmt;
use std::str::FromStr;

use super::message::{Content, WorkError};

/// An entry's id in its stream, as Redis gives it: rises within the stream. Written `ms-number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// When it was added by Redis' clock, in milliseconds since 1970.
    pub ms: u64,
    /// Counts within the millisecond.
    pub number: u64,
}

impl StreamId {
    /// Before every entry.
    pub const ZERO: Self = Self { ms: 0, number: 0 };
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for StreamId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (ms, number) = text.split_once('-')?;
            Some(Self { ms: ms.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not the id of a stream's entry"))
    }
}

/// A message's entry in its queue's stream, put there by another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Which.
    pub id: StreamId,
    /// Why it can't be delivered as it is; an operator decides.
    pub refused: Option<WorkError>,
}

/// An entry that another program has put into a queue's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// Which.
    pub entry: StreamEntry,
    /// What it is as a message; the payload is empty if it is beyond `limits::MAX_PAYLOAD_BYTES`.
    pub content: Content,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrys_id_reads_back_and_is_ordered() {
        let id = StreamId { ms: 1_700_000_000_000, number: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(StreamId::ZERO < id && id < StreamId { number: 10, ..id });
        for bad in ["", "1", "1-", "-1", "1-1-1", "a-1"] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad:?}");
        }
    }
}
