//! `[traces]`: where spans go.

use std::path::PathBuf;

use serde::Deserialize;

use super::error::ConfigError;
use super::file::Source;
use super::{bad, expand};
use crate::https;

pub(super) const KEYS: &[&str] = &["endpoint", "headers_file", "sample_ratio", "queue"];

/// Spans that wait for the collector: at most some 30 MB.
const MAX_QUEUE: u64 = 65_536;
/// Whether this program can send spans.
const HAS_OTLP: bool = cfg!(feature = "otlp");

/// Where spans go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector's URL for traces, by OTLP over HTTP; empty: nothing is traced.
    pub endpoint: String,
    /// A file with header fields for it, `Name: value` a line.
    pub headers_file: Option<PathBuf>,
    /// The share of messages without a `traceparent` that get a trace, from 0 to 1.
    pub sample_ratio: f64,
    /// How many spans may wait for the collector.
    pub queue: usize,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: String::new(), headers_file: None, sample_ratio: 0.0, queue: 4_096 }
    }
}

/// `[traces]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    endpoint: Option<toml::Spanned<String>>,
    headers_file: Option<toml::Spanned<String>>,
    sample_ratio: Option<toml::Spanned<f64>>,
    queue: Option<toml::Spanned<i64>>,
}

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Traces, ConfigError> {
        self.check_for(source, HAS_OTLP)
    }

    fn check_for(self, source: &Source<'_>, has_otlp: bool) -> Result<Traces, ConfigError> {
        let defaults = Traces::default();
        let endpoint = match self.endpoint.filter(|url| !url.get_ref().is_empty()) {
            None => String::new(),
            Some(url) => {
                let place = source.place(url.span());
                if !has_otlp {
                    let reason = "traces.endpoint: this program was built without OTLP; build it with `cargo build --release \
                                  --features otlp`, or leave the endpoint empty";
                    return Err(bad(&place, reason));
                }
                https::uri(url.get_ref())
                    .map_err(|error| bad(&place, format!("traces.endpoint: {error}")))?;
                url.into_inner()
            }
        };
        let headers_file = match self.headers_file {
            Some(file) if !file.get_ref().is_empty() => {
                Some(expand(file.get_ref(), &source.place(file.span()))?)
            }
            Some(_) | None => None,
        };
        let sample_ratio = match self.sample_ratio {
            Some(ratio) if !(0.0..=1.0).contains(ratio.get_ref()) => {
                let reason = "traces.sample_ratio must be from 0.0 to 1.0";
                return Err(bad(&source.place(ratio.span()), reason));
            }
            ratio => ratio.map_or(defaults.sample_ratio, toml::Spanned::into_inner),
        };
        let queue = match self.queue {
            None => defaults.queue,
            Some(queue) => match u64::try_from(*queue.get_ref()) {
                Ok(spans @ 1..=MAX_QUEUE) => usize::try_from(spans).unwrap_or(defaults.queue),
                Ok(_) | Err(_) => {
                    let reason = format!("traces.queue must be a number from 1 to {MAX_QUEUE}");
                    return Err(bad(&source.place(queue.span()), reason));
                }
            },
        };
        Ok(Traces { endpoint, headers_file, sample_ratio, queue })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(text: &str, has_otlp: bool) -> Result<Traces, String> {
        let text = format!("[traces]\n{text}");
        let source = Source { path: Path::new("mubroker.toml"), text: &text };
        let table = source.read().expect("it can be read").traces;
        table.check_for(&source, has_otlp).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_without_otlp_says_what_to_do() {
        let endpoint = "endpoint = 'http://127.0.0.1:4318/v1/traces'";
        let error = check(endpoint, false).unwrap_err();
        assert!(error.contains("--features otlp") && error.contains("mubroker.toml:2:"), "{error}");
        assert_eq!(check("endpoint = ''", false), Ok(Traces::default()));
        assert_eq!(check(endpoint, true).unwrap().endpoint, "http://127.0.0.1:4318/v1/traces");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("endpoint = 'localhost:4318'", "is not a URL"),
            ("sample_ratio = 1.5", "from 0.0 to 1.0"),
            ("sample_ratio = nan", "from 0.0 to 1.0"),
            ("queue = 0", "from 1 to 65536"),
            ("queue = 70000", "from 1 to 65536"),
        ] {
            let error = check(text, true).unwrap_err();
            assert!(error.contains(why) && error.contains("mubroker.toml:2:"), "{text}: {error}");
        }
    }
}
