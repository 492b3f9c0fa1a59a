//! The histograms that openraft keeps of its own work, in two kilobytes each and nothing besides.
//!
//! It takes the place of the published library of this name (`[patch.crates-io]`), which fills tables for sixteen
//! resolutions when the first histogram is made: 26 MB in every daemon for one resolution of 252 buckets. It offers what
//! openraft calls, no more; nothing of ours uses it. Windows over time and other resolutions are not built.
#![forbid(unsafe_code)]

mod chart;
mod percentile;

pub use chart::AsciiChart;
pub use percentile::PercentileStats;

use std::marker::PhantomData;

/// Buckets per power of two: a value is known to an eighth of itself.
const PER_DOUBLING: usize = 4;
/// Values below 4 have a bucket each; the 62 doublings above have four.
const BUCKETS: usize = PER_DOUBLING * 63;

/// Counts of values. `T` is what the published library notes per window of time: there is one window here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Vec<u64>,
    total: u64,
    window: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, window: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = bucket_of(value);
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
        self.total = self.total.saturating_add(count);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The lower bound of the bucket that holds the value of this rank (0 to 1); 0 if there are none.
    pub fn percentile(&self, rank: f64) -> u64 {
        let wanted = (self.total as f64 * rank.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, lower_bound)
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < PER_DOUBLING as u64 {
        return value as usize;
    }
    let doubling = value.ilog2() as usize;
    // The two bits after the highest one.
    let quarter = (value >> (doubling - 2)) as usize & (PER_DOUBLING - 1);
    (doubling - 1) * PER_DOUBLING + quarter
}

fn lower_bound(bucket: usize) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket as u64;
    }
    let (doubling, quarter) = (bucket / PER_DOUBLING + 1, bucket % PER_DOUBLING);
    ((PER_DOUBLING + quarter) as u64) << (doubling - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_it_says() {
        for bucket in 0..BUCKETS {
            let bound = lower_bound(bucket);
            assert_eq!(bucket_of(bound), bucket);
            if bound > 0 {
                assert_eq!(bucket_of(bound - 1), bucket - 1);
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_a_quarter_of_the_truth() {
        let mut histogram = Histogram::<()>::new();
        (1..=1000).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 1000);
        for (found, truth) in [(stats.p10, 100), (stats.p50, 500), (stats.p99, 990)] {
            assert!(found <= truth && found * 5 > truth * 4, "{found} for {truth}");
        }
    }

    #[test]
    fn an_empty_one_says_zero() {
        assert_eq!(Histogram::<()>::new().percentile_stats(), PercentileStats::default());
    }
}
