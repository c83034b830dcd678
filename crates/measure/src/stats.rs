//! Samples, and what is said about them.

use serde::{Deserialize, Serialize};

/// A set of samples of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

/// What is reported of a set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Half are at most this.
    pub median: f64,
    /// Nine in ten are at most this.
    pub p90: f64,
    /// 99 in 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// Distance between the quartiles as a share of the median: how much a repetition differs from the next.
    pub spread: f64,
}

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Adds many.
    pub fn extend(&mut self, samples: impl IntoIterator<Item = f64>) {
        self.0.extend(samples);
    }

    /// The samples, in the order in which they came.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The median; `None` of no samples.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.summary().map(|summary| summary.median)
    }

    /// The same samples, each less a constant, none below zero: what remains when what surrounds it is taken off.
    #[must_use]
    pub fn less(&self, constant: f64) -> Self {
        self.0.iter().map(|sample| (sample - constant).max(0.0)).collect()
    }

    /// The summary; `None` of no samples.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |share| quantile(&sorted, share);
        let median = at(0.5);
        let spread = if median > 0.0 {
            (at(0.75) - at(0.25)) / median
        } else {
            0.0
        };
        Some(Summary {
            count: sorted.len(),
            min,
            median,
            p90: at(0.9),
            p99: at(0.99),
            max,
            spread,
        })
    }
}

impl IntoIterator for Samples {
    type Item = f64;
    type IntoIter = std::vec::IntoIter<f64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// The nearest-rank quantile of sorted samples.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let summary = (1..=100).map(f64::from).collect::<Samples>().summary().unwrap();
        assert_eq!(
            (summary.min, summary.median, summary.p90, summary.p99, summary.max),
            (1.0, 50.0, 90.0, 99.0, 100.0)
        );
        assert_eq!(summary.spread, 1.0);
        let one = Samples(vec![7.0]).summary().unwrap();
        assert_eq!((one.median, one.p99, one.spread), (7.0, 7.0, 0.0));
        assert_eq!(Samples::default().summary(), None);
        let less = Samples(vec![7.0, 2.0]).less(3.0);
        assert_eq!((less.values(), less.median()), (&[4.0, 0.0][..], Some(0.0)));
    }
}
