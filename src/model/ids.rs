//! Id newtypes. A string that comes from outside becomes one of these or a clear error.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::limits::{
    MAX_MESSAGE_ID_BYTES, MAX_PROCESS_ID_BYTES, MAX_QUEUE_NAME_BYTES, MAX_TOPIC_NAME_BYTES,
};

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The string is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which id.
        what: &'static str,
    },
    /// The string is longer than the limit.
    #[error("{what} is {len} bytes long; at most {max} are allowed")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A character that is not allowed.
    #[error("{what} has {found:?} at byte {at}; allowed: {allowed}")]
    Character {
        /// Which id.
        what: &'static str,
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Not of the expected form.
    #[error("{what} {found:?} is not of the form {form}")]
    Form {
        /// Which id.
        what: &'static str,
        /// The text (shortened).
        found: String,
        /// The form.
        form: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed_text:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty { what: $what });
                }
                if text.len() > $max {
                    return Err(IdError::TooLong { what: $what, len: text.len(), max: $max });
                }
                let allowed: fn(char) -> bool = $allowed;
                match text.char_indices().find(|&(_, c)| !allowed(c)) {
                    Some((at, found)) => Err(IdError::Character {
                        what: $what, found, at, allowed: $allowed_text,
                    }),
                    None => Ok(Self(Arc::from(text))),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
    };
}

text_id!(
    /// A queue's name, at most 128 bytes of letters, digits and `. _ - :`.
    QueueName, "queue", MAX_QUEUE_NAME_BYTES, "letters, digits, '.', '_', '-', ':'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
);
text_id!(
    /// A topic's name, at most 120 bytes of letters, digits and `. _ - :`.
    TopicName, "topic", MAX_TOPIC_NAME_BYTES, "letters, digits, '.', '_', '-', ':'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
);
text_id!(
    /// A saga's name, at most 120 bytes of letters, digits and `. _ - :`.
    SagaName, "saga", MAX_TOPIC_NAME_BYTES, "letters, digits, '.', '_', '-', ':'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
);
text_id!(
    /// A gather's name, at most 120 bytes of letters, digits and `. _ - :`.
    GatherName, "gather", MAX_TOPIC_NAME_BYTES, "letters, digits, '.', '_', '-', ':'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
);
text_id!(
    /// A message's id: the producer's, unique inside the queue's de-duplication window, or a UUIDv7 by
    /// the broker. At most 256 bytes of UTF-8 without control characters.
    MessageId, "id", MAX_MESSAGE_ID_BYTES, "any character but control characters",
    |c| !c.is_control()
);
text_id!(
    /// Names one process of a kind. At most 512 bytes of UTF-8 without control characters.
    ProcessId, "process id", MAX_PROCESS_ID_BYTES, "any character but control characters",
    |c| !c.is_control()
);
text_id!(
    /// Names one repair; the same key sent twice acts once (design.md rule 6).
    IdempotencyKey, "idempotency key", 128, "printable ASCII without spaces",
    |c| c.is_ascii_graphic()
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A queue inside one store; never reused.
    QueueId(u32)
);
number_id!(
    /// A message's place in its queue; starts at 1, rises by 1, never reused.
    Seq(u64)
);
number_id!(
    /// A message's content as of one edit: 0 is what the producer sent.
    Revision(u32)
);
number_id!(
    /// A worker's connection; minted by the broker's loop, never reused within a generation.
    WorkerId(u64)
);
number_id!(
    /// One run of the engine over a store: rises each time the store is opened or recovered.
    Generation(u64)
);
number_id!(
    /// Who waits for an answer; minted by the broker's loop, opaque to the engine.
    Origin(u64)
);

impl Seq {
    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Revision {
    /// The revision that the next edit makes.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// One lease of one message to one worker. Unique over all restarts: it holds the generation (the epoch
/// of design.md rule 7), so a late answer is told apart. Written `generation.number` in hexadecimal;
/// opaque to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The engine's run.
    pub generation: Generation,
    /// Counts deliveries within the run.
    pub number: u64,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.generation.0, self.number)
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let (generation, number) = text.split_once('.')?;
            let hex = |s: &str| {
                let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_hexdigit());
                plain.then(|| u64::from_str_radix(s, 16).ok()).flatten()
            };
            Some(Self { generation: Generation(hex(generation)?), number: hex(number)? })
        };
        parse().ok_or_else(|| IdError::Form {
            what: "delivery",
            found: text.chars().take(40).collect(),
            form: "HEX.HEX, as DELIVER gave it",
        })
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_reads_back_what_it_wrote() {
        let id = DeliveryId { generation: Generation(0xab), number: u64::MAX };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", ".", "1.", ".1", "+1.1", "1.1.1", "x.1", "1.10000000000000000"] {
            assert!(bad.parse::<DeliveryId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_say_what_is_wrong_and_where() {
        let error = QueueName::new("orders/eu").unwrap_err();
        assert_eq!(
            error.to_string(),
            "queue has '/' at byte 6; allowed: letters, digits, '.', '_', '-', ':'"
        );
        assert!(MessageId::new("a\u{1b}[2J").is_err());
        assert!(MessageId::new("żółw 🐢").is_ok());
        assert!(QueueName::new(&"q".repeat(MAX_QUEUE_NAME_BYTES + 1)).is_err());
    }
}
