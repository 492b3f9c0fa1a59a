//! Several histograms side by side, as text: a line of percentiles each.

use std::fmt::{Display, Formatter};

use crate::Histogram;

/// Named histograms.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl AsciiChart {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram));
        self
    }

    /// What is shown.
    pub fn detailed(&self) -> &Self {
        self
    }
}

impl Display for AsciiChart {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(name, h)| writeln!(f, "{name}: {}", h.percentile_stats()))
    }
}
