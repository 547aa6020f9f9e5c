//! A schema that payloads are held against.

use std::fmt::{self, Write as _};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::model::SchemaText;
use crate::model::limits::{MAX_CHECKED_BYTES, clip};

/// Memory of one compiled `pattern`, and of the cache with which it is matched, in bytes: some thousand states.
const PATTERN_BYTES: usize = 1024 * 1024;
/// A miss's path and its message, in bytes each: a line on the screen, and in a journal's reason.
const TOLD_BYTES: usize = 200;
/// The stack of a thread that compiles or asks: schema and payload nest 128 levels each, and a schema of the longest kind can
/// send each level of the payload through a thousand others. It is address space; only what is used takes memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// Why a text is no schema that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is no JSON.
    #[error("{line}:{column}: it is not JSON: {reason}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// It is JSON, and no schema that can be used.
    #[error("{}: {reason}", at(path))]
    NotASchema {
        /// Where in the schema, as a JSON pointer.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no thread to look at it.
    #[error("there is no thread to look at it: {reason}")]
    NoThread {
        /// Why.
        reason: String,
    },
}

/// How a payload misses a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", at(path))]
pub struct Miss {
    /// Where in the payload, as a JSON pointer; empty: the payload as a whole. Harmless to show; cut if it is long.
    pub path: String,
    /// What is wrong there. Harmless to show; cut if it is long.
    pub message: String,
}

impl Miss {
    /// Of the payload as a whole.
    pub(super) fn of_all(message: impl fmt::Display) -> Self {
        Self { path: String::new(), message: told(message) }
    }
}

fn at(path: &str) -> &str {
    if path.is_empty() { "the whole" } else { path }
}

/// A schema, ready to be asked.
#[derive(Debug)]
pub struct Compiled {
    validator: Validator,
}

impl Compiled {
    /// Draft 2020-12, or what its `$schema` says. Needs [`with_room`].
    pub fn new(text: &SchemaText) -> Result<Self, SchemaError> {
        let schema: Value = serde_json::from_str(text.as_str()).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            SchemaError::NotJson {
                line: error.line(),
                column: error.column(),
                reason: told(reason),
            }
        })?;
        let wrong = |path: String, reason: String| SchemaError::NotASchema { path, reason };
        if let Some((path, target)) = reference_elsewhere(&schema) {
            let reason = format!(
                "{target:?} is in another file or at a URL, which is not read: put it into this schema, under $defs"
            );
            return Err(wrong(told(path), told(reason)));
        }
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES);
        let built = jsonschema::options()
            .with_pattern_options(patterns.dfa_size_limit(PATTERN_BYTES))
            .build(&schema);
        match built {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => {
                // Of a value that the schema of schemas refuses it is where that value is.
                let path = error.instance_path().as_str().to_owned();
                let reason = told(&error);
                let advice = if reason.contains("is not a \"regex\"") {
                    "; patterns are matched in linear time: without look-around and back references, and not too large"
                } else {
                    ""
                };
                Err(wrong(told(path), format!("{reason}{advice}")))
            }
        }
    }

    /// Whether the payload fits; the first thing found where it doesn't. Takes any time; needs [`with_room`].
    pub fn check(&self, payload: &[u8]) -> Result<(), Miss> {
        if payload.len() > MAX_CHECKED_BYTES {
            let bytes = payload.len();
            return Err(Miss::of_all(format_args!(
                "it has {bytes} bytes, and at most {MAX_CHECKED_BYTES} are held against a schema"
            )));
        }
        let value: Value = serde_json::from_slice(payload).map_err(|error| {
            Miss::of_all(format_args!("it is not JSON that can be checked: {error}"))
        })?;
        self.validator.validate(&value).map_err(|error| miss(&error))
    }
}

fn miss(error: &ValidationError<'_>) -> Miss {
    Miss { path: told(error.instance_path().as_str()), message: told(error) }
}

/// Where the schema refers to what isn't in it, and to what.
fn reference_elsewhere(schema: &Value) -> Option<(String, String)> {
    let mut open = vec![(String::new(), schema)];
    // What it has under a name of its own may be referred to by that.
    let mut named = Vec::new();
    let mut references = Vec::new();
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    match (key.as_str(), value) {
                        ("$id" | "id", Value::String(name)) => named.push(name.as_str()),
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) => {
                            references.push((path, target.as_str()));
                        }
                        _ => open.push((path, value)),
                    }
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                open.extend(items.map(|(at, item)| (format!("{path}/{at}"), item)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let is_elsewhere = |target: &str| {
        let document = target.split('#').next().unwrap_or_default();
        let is_known = document.is_empty()
            // The drafts' own.
            || document.contains("://json-schema.org/")
            || named.iter().any(|name| name.trim_end_matches('#').ends_with(document));
        !is_known
    };
    let found = references.into_iter().find(|(_, target)| is_elsewhere(target));
    found.map(|(path, target)| (path, target.to_owned()))
}

/// What `work` makes, on a thread with room for what a schema may nest.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, SchemaError> {
    let failed = |reason: String| SchemaError::NoThread { reason };
    std::thread::scope(|scope| {
        let thread =
            thread().spawn_scoped(scope, work).map_err(|error| failed(error.to_string()))?;
        thread.join().map_err(|_| failed("it broke down".to_owned()))
    })
}

/// A thread with room for what a schema may nest.
pub(super) fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("schema".to_owned()).stack_size(STACK_BYTES)
}

/// At most [`TOLD_BYTES`] of it, without control characters. What is longer is not made, let alone kept.
pub(super) fn told(text: impl fmt::Display) -> String {
    let mut told = Told(String::new());
    // It says that it has enough.
    let _cut = write!(told, "{text}");
    let is_cut = told.0.len() > TOLD_BYTES;
    clip(&mut told.0, TOLD_BYTES);
    if is_cut {
        told.0.push('…');
    }
    told.0
}

struct Told(String);

impl fmt::Write for Told {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if self.0.len() > TOLD_BYTES {
                return Err(fmt::Error);
            }
            if char.is_control() {
                self.0.extend(char.escape_unicode());
            } else {
                self.0.push(char);
            }
        }
        Ok(())
    }
}
