//! What was measured, as a table or as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::samples::Samples;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// What.
    pub(super) name: &'static str,
    /// Unanswered messages at once, or the records of one flush.
    pub(super) window: usize,
    /// Queues that it went through. A FIFO queue has one message in a worker's hands.
    pub(super) queues: usize,
    /// Messages measured.
    pub(super) messages: u64,
    /// How long that took.
    pub(super) seconds: f64,
    /// Messages a second.
    pub(super) per_second: f64,
    /// p50, p99, p99.9 in milliseconds: of a message, or of a flush.
    pub(super) latency_ms: Option<[f64; 3]>,
    /// The broker's processor time, in percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_cpu_percent: Option<f64>,
    /// The broker's resident memory at the end, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_rss_bytes: Option<u64>,
}

impl Row {
    pub(super) fn new(
        name: &'static str,
        window: usize,
        queues: usize,
        messages: u64,
        elapsed: Duration,
        samples: Samples,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            name,
            window,
            queues,
            messages,
            seconds,
            per_second: if seconds > 0.0 { messages as f64 / seconds } else { 0.0 },
            latency_ms: samples.percentiles(),
            broker_cpu_percent: None,
            broker_rss_bytes: None,
        }
    }
}

/// What the project holds itself to: mostly one figure against another of the same run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    /// What, or what to what.
    pub(super) name: &'static str,
    /// The figure.
    pub(super) value: f64,
    /// Its unit; empty for a ratio.
    pub(super) unit: &'static str,
    /// What the project asks for.
    pub(super) bar: Bar,
    /// Whether it is met.
    pub(super) met: bool,
}

/// A bound on a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bar {
    AtLeast(f64),
    Below(f64),
}

impl Figure {
    pub(super) fn new(name: &'static str, value: f64, unit: &'static str, bar: Bar) -> Self {
        let met = match bar {
            Bar::AtLeast(least) => value >= least,
            Bar::Below(most) => value < most,
        };
        Self { name, value, unit, bar, met }
    }
}

/// All of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// This program's version.
    pub(super) version: &'static str,
    /// Whether it was built without optimisation: its figures say nothing then.
    pub(super) debug_build: bool,
    /// The machine's cores.
    pub(super) cores: usize,
    /// A payload in bytes.
    pub(super) payload_bytes: usize,
    /// The measurements, in the order in which they were made.
    pub(super) rows: Vec<Row>,
    /// What the project asks of itself.
    pub(super) figures: Vec<Figure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if self.debug_build { ", DEBUG BUILD: the figures say nothing" } else { "" };
        writeln!(
            f,
            "mubroker {}, {} cores, payload {} bytes{build}\n",
            self.version, self.cores, self.payload_bytes
        )?;
        writeln!(
            f,
            "{:<26}{:>7}{:>7}{:>12}{:>10}{:>10}{:>10}{:>8}{:>9}",
            "", "window", "queues", "messages/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU %", "RSS MB"
        )?;
        for row in &self.rows {
            write!(
                f,
                "{:<26}{:>7}{:>7}{:>12.0}",
                row.name, row.window, row.queues, row.per_second
            )?;
            for at in 0..3 {
                cell(f, 10, row.latency_ms.map(|ms| format!("{:.3}", ms[at])))?;
            }
            cell(f, 8, row.broker_cpu_percent.map(|cpu| format!("{cpu:.0}")))?;
            cell(f, 9, row.broker_rss_bytes.map(|rss| format!("{:.1}", rss as f64 / 1e6)))?;
            writeln!(f)?;
        }
        writeln!(
            f,
            "\nA disk's and a mailbox's window is the records of one flush, its times are of flushes. \
             A FIFO queue\nhas one message in flight: workers' loads go through as many queues as shown. \
             CPU and RSS are the\nbroker's process alone.\n"
        )?;
        for Figure { name, value, unit, bar, met } in &self.figures {
            let (word, bound) = match bar {
                Bar::AtLeast(least) => ("at least", least),
                Bar::Below(most) => ("below", most),
            };
            let verdict = if *met { "met" } else { "MISSED" };
            let digits = if *value < 100.0 { 2 } else { 0 };
            writeln!(f, "{name:<58}{value:>9.digits$} {unit:<6} {word} {bound}: {verdict}")?;
        }
        Ok(())
    }
}

fn cell(f: &mut fmt::Formatter<'_>, width: usize, text: Option<String>) -> fmt::Result {
    write!(f, "{:>width$}", text.as_deref().unwrap_or("-"))
}
