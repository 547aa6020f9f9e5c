//! Times, exactly: every one is kept, none is estimated.

use std::time::Duration;

/// How many times one measurement keeps, 4 bytes each; beyond it only counts.
const MAX_SAMPLES: usize = 8_000_000;

/// The times of one measurement, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<u32>);

impl Samples {
    pub(super) fn add(&mut self, time: Duration) {
        if self.0.len() < MAX_SAMPLES {
            self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// p50, p99 and p99.9 in milliseconds, by the nearest rank; `None` without samples.
    pub(super) fn percentiles(mut self) -> Option<[f64; 3]> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        Some([500, 990, 999].map(|permille| {
            let rank = (self.0.len() * permille).div_ceil(1000).saturating_sub(1);
            f64::from(self.0[rank.min(last)]) / 1000.0
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(Samples::default().percentiles(), None);
        for ms in (1..=1000).rev() {
            samples.add(Duration::from_millis(ms));
        }
        assert_eq!(samples.percentiles(), Some([500.0, 990.0, 999.0]));
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let mut samples = Samples::default();
        samples.add(Duration::from_micros(1500));
        assert_eq!(samples.percentiles(), Some([1.5; 3]));
    }
}
