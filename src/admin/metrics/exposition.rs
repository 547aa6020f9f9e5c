//! Prometheus' text form, version 0.0.4.
//!
//! Written here, since what there is to tell is looked at when somebody asks: the crates for it keep a registry, into
//! which each queue's series would have to be put, and out of which they would have to be taken.

use std::fmt::{Display, Write as _};

use crate::model::HistogramView;

/// What the answer says that it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a metric's values are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up only, and begins at 0 again with the broker.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// Its word in the text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its name, how its values are to be read, and what they say.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// With its unit; counters end in `_total`.
    pub name: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// Its labels, with commas between them.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

/// The text, as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a metric. All its values come next.
    pub(super) fn begin(&mut self, metric: &Metric) -> Values<'_> {
        let Metric { name, kind, help, labels: _ } = metric;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        Values { text: &mut self.0, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string doesn't fail");
    }
}

/// Takes the values of one metric.
pub(super) struct Values<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Values<'_> {
    /// A value under these labels.
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// A histogram, its bounds and sum divided by `unit`.
    pub(super) fn histogram(&mut self, view: &HistogramView, unit: u64) {
        let mut below: u64 = 0;
        let bounds = view.bounds.iter().map(|&bound| decimal(bound, unit));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&view.counts) {
            below = below.saturating_add(*count);
            self.line("_bucket", &[], Some(&bound), below);
        }
        self.line("_sum", &[], None, decimal(view.sum, unit));
        self.line("_count", &[], None, below);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: impl Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut mark = '{';
        for (label, text) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.text.push(mark);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(text, self.text);
            self.text.push('"');
            mark = ',';
        }
        if mark == ',' {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("writing to a string doesn't fail");
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// `value / unit` to the last digit, where `unit` is a power of ten.
pub(super) fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.checked_ilog10().unwrap_or(0) as usize;
    let (whole, rest) = (value / unit.max(1), value % unit.max(1));
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:0digits$}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: Metric =
        Metric { name: "a_seconds", kind: Kind::Histogram, labels: "", help: "Line\\\nbreak." };

    #[test]
    fn values_are_written_with_their_labels() {
        let mut text = Exposition::default();
        let mut values = text.begin(&Metric { kind: Kind::Gauge, ..METRIC });
        values.put(&[], 1).put(&[("queue", "a\\b\"c\nd"), ("state", "é")], decimal(1_500, 1_000));
        let expected = "# HELP a_seconds Line\\\\\\nbreak.\n# TYPE a_seconds gauge\na_seconds 1\n\
                        a_seconds{queue=\"a\\\\b\\\"c\\nd\",state=\"é\"} 1.5\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn a_histogram_counts_up_and_ends_with_all() {
        let mut text = Exposition::default();
        let view = HistogramView {
            bounds: &[250_000, 1_000_000_000],
            counts: vec![1, 2, 3],
            sum: 7_000_000_050,
        };
        text.begin(&METRIC).histogram(&view, 1_000_000_000);
        let lines: Vec<String> = text.into_text().lines().skip(2).map(str::to_owned).collect();
        let expected = [
            "a_seconds_bucket{le=\"0.00025\"} 1",
            "a_seconds_bucket{le=\"1\"} 3",
            "a_seconds_bucket{le=\"+Inf\"} 6",
            "a_seconds_sum 7.00000005",
            "a_seconds_count 6",
        ];
        assert_eq!(lines, expected);
    }
}
