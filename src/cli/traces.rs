//! Traces of an embedded broker: spans to an OpenTelemetry collector.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

use crate::broker::SpanSink;
use crate::config::Traces;
use crate::model::SpanCounts;
use crate::telemetry::otlp::{Otlp, OtlpError, OtlpOptions};

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// They can't be sent.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The file can't be read.
    #[error("[traces] headers_file {}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of it is none.
    #[error("[traces] headers_file {}, line {line}: give `Name: value`", file.display())]
    Line {
        /// Which.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// Sends spans, if that is configured.
pub(super) fn start(config: &Traces) -> Result<Option<(SpanSink, Otlp)>, TracesError> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let headers = config.headers_file.as_deref().map(headers).transpose()?.unwrap_or_default();
    let (sender, receiver) = mpsc::channel(config.queue);
    let counts = Arc::<SpanCounts>::default();
    let options = OtlpOptions::new(config.endpoint.clone(), headers);
    let otlp = Otlp::start(options, receiver, Arc::clone(&counts))?;
    Ok(Some((SpanSink { spans: sender, counts, sample_ratio: config.sample_ratio }, otlp)))
}

/// What is wrong with a line is told without the line: it is secret.
fn headers(file: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, TracesError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| TracesError::File { file: file.to_owned(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = |(at, line): (usize, &str)| {
        let header = || {
            let (name, value) = line.split_once(':')?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name.trim().parse().ok()?, value))
        };
        header().ok_or_else(|| TracesError::Line { file: file.to_owned(), line: at + 1 })
    };
    lines.map(header).collect()
}
