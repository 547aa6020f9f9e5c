//! From when a message may be delivered, and until when it is of use: its header's `delay_ms` or `deliver_at`, and
//! `ttl_ms` (design.md rules 5 and 8).

use super::header::{HeaderError, number, text};
use super::header_fields::{Field, Fields};
use super::time::Timestamp;

/// The longest delay and the longest life, in milliseconds: ten years. What is longer was meant in another unit.
pub const MAX_TIMING_MS: u64 = 315_360_000_000;

/// What a header says of time. Most say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    start: Start,
    ttl_ms: Option<u64>,
}

/// From when a message may be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Start {
    #[default]
    AtOnce,
    /// So many milliseconds after it was accepted.
    After(u64),
    At(Timestamp),
}

impl Timing {
    /// Reads `ttl_ms`, `delay_ms` and `deliver_at`; `None` if nothing waits for time. A dead letter has had its delay: one
    /// that goes back to its queue doesn't wait again.
    pub(super) fn read(fields: &impl Fields) -> Result<Option<Self>, HeaderError> {
        let ttl_ms = bounded(fields, "ttl_ms", 1)?;
        let delay_ms = bounded(fields, "delay_ms", 0)?;
        let at = match text(fields, "deliver_at")? {
            None => None,
            Some(at) => Some(at.parse().map_err(|reason| refuse("deliver_at", reason))?),
        };
        let start = match (delay_ms, at) {
            (Some(_), Some(_)) => {
                let reason = "and `delay_ms` are both there; one of them is needed";
                return Err(refuse("deliver_at", reason.to_owned()));
            }
            _ if matches!(fields.field("dead_letter"), Some(Field::Object)) => Start::AtOnce,
            (Some(0) | None, None) => Start::AtOnce,
            (Some(ms), None) => Start::After(ms),
            (None, Some(at)) => Start::At(at),
        };
        let timing = Self { start, ttl_ms };
        Ok((timing != Self::default()).then_some(timing))
    }

    /// When a message that was accepted at `at` may be delivered, if not at once.
    pub fn due(self, at: Timestamp) -> Option<Timestamp> {
        match self.start {
            Start::AtOnce => None,
            Start::After(ms) => Some(at.plus_ms(ms)),
            Start::At(due) => Some(due).filter(|&due| due > at),
        }
    }

    /// Until when a message that was accepted at `at` is of use. Its life begins when it may be delivered; of the header's
    /// and its queue's (0: none) the shorter one counts.
    pub fn expiry(self, at: Timestamp, queue_ttl_ms: u64) -> Option<Timestamp> {
        let of_queue = Some(queue_ttl_ms).filter(|&ms| ms > 0);
        let ttl_ms = self.ttl_ms.into_iter().chain(of_queue).min()?;
        Some(self.due(at).unwrap_or(at).plus_ms(ttl_ms))
    }

    /// Whether the header itself says until when.
    pub fn has_ttl(self) -> bool {
        self.ttl_ms.is_some()
    }
}

fn bounded(
    fields: &impl Fields,
    field: &'static str,
    least: u64,
) -> Result<Option<u64>, HeaderError> {
    let value = number(fields, field)?;
    if value.is_some_and(|ms| !(least..=MAX_TIMING_MS).contains(&ms)) {
        let reason =
            format!("must be from {least} to {MAX_TIMING_MS} milliseconds, which are ten years");
        return Err(refuse(field, reason));
    }
    Ok(value)
}

fn refuse(field: &'static str, reason: String) -> HeaderError {
    HeaderError::Field { field, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Header;

    fn timing(json: &str) -> Result<Timing, String> {
        let header = Header::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
        Ok(header.timing())
    }

    #[test]
    fn a_life_begins_when_the_message_may_be_delivered() {
        let at = Timestamp(1_000);
        let both = timing(r#"{"id":"m","delay_ms":500,"ttl_ms":70}"#).expect("valid");
        assert_eq!(both.due(at), Some(Timestamp(1_500)));
        assert_eq!(both.expiry(at, 0), Some(Timestamp(1_570)));
        assert_eq!(both.expiry(at, 50), Some(Timestamp(1_550)), "the shorter one");
        let none = timing(r#"{"id":"m","delay_ms":0}"#).expect("valid");
        assert_eq!((none, none.due(at), none.expiry(at, 0)), (Timing::default(), None, None));
        assert_eq!(none.expiry(at, 50), Some(Timestamp(1_050)));
    }

    #[test]
    fn a_time_is_absolute_and_one_that_is_past_is_now() {
        let later = timing(r#"{"id":"m","deliver_at":"1970-01-01T00:00:02Z"}"#).expect("valid");
        assert_eq!(later.due(Timestamp(1_000)), Some(Timestamp(2_000)));
        assert_eq!(later.due(Timestamp(3_000)), None);
        assert_eq!(later.expiry(Timestamp(3_000), 7), Some(Timestamp(3_007)));
    }

    #[test]
    fn a_dead_letter_has_had_its_delay() {
        let dead = timing(r#"{"id":"m","delay_ms":500,"dead_letter":{}}"#).expect("valid");
        assert_eq!(dead.due(Timestamp(1)), None);
    }

    #[test]
    fn refusals_say_what_is_needed() {
        for (fields, text) in [
            (r#""ttl_ms":0"#, "header field `ttl_ms`: must be from 1 to"),
            (r#""ttl_ms":"5s""#, "header field `ttl_ms`: is a string; a whole number"),
            (r#""delay_ms":400000000000"#, "header field `delay_ms`: must be from 0 to"),
            (r#""deliver_at":"tomorrow""#, "is not an RFC 3339 time"),
            (
                r#""delay_ms":1,"deliver_at":"2030-01-01T00:00:00Z""#,
                "`deliver_at`: and `delay_ms` are both there",
            ),
        ] {
            let error = timing(&format!(r#"{{"id":"m",{fields}}}"#)).expect_err(fields);
            assert!(error.contains(text), "{error}");
        }
    }
}
