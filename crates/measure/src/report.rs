//! Results: a table for people, JSON and a plot for the record.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::{Samples, Summary};
use crate::{Error, plot};

/// Which way is better, and where the line is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Ours divided by the reference, medians, must be at least this.
    RatioAtLeast(f64),
    /// Ours divided by the reference, medians, must be at most this.
    RatioAtMost(f64),
    /// Our median must be at most this.
    AtMost(f64),
    /// Our median must be at least this.
    AtLeast(f64),
    /// Our largest sample must be at most this.
    MaxAtMost(f64),
    /// Our median and our 99th percentile must be at most these.
    Within {
        /// The median.
        median: f64,
        /// The 99th percentile.
        p99: f64,
    },
    /// Nothing is asked: the figure explains another.
    None,
}

impl Target {
    /// In words; empty where nothing is asked.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("ratio >= {least:.3}"),
            Self::RatioAtMost(most) => format!("ratio <= {most:.3}"),
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
            Self::MaxAtMost(most) => format!("max <= {most}"),
            Self::Within { median, p99 } => format!("<= {median}, p99 {p99}"),
            Self::None => String::new(),
        }
    }
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// In which unit.
    pub unit: &'static str,
    /// The platform.
    pub ours: Option<Summary>,
    /// What stands beside it, and its samples.
    pub reference: Option<(String, Summary)>,
    /// Ours divided by the reference, medians.
    pub ratio: Option<f64>,
    /// What is asked.
    pub target: Target,
    /// Whether it is reached; `None` where nothing is asked.
    pub met: Option<bool>,
}

impl Figure {
    /// A figure beside a reference.
    #[must_use]
    pub fn beside(name: &str, unit: &'static str, ours: &Samples, reference: (&str, &Samples), target: Target) -> Self {
        let mut figure = Self::alone(name, unit, ours, target);
        figure.reference = reference.1.summary().map(|summary| (reference.0.to_owned(), summary));
        figure.judge();
        figure
    }

    /// A figure that stands for itself.
    #[must_use]
    pub fn alone(name: &str, unit: &'static str, ours: &Samples, target: Target) -> Self {
        let (name, ours) = (name.to_owned(), ours.summary());
        let mut figure = Self {
            name,
            unit,
            ours,
            reference: None,
            ratio: None,
            target,
            met: None,
        };
        figure.judge();
        figure
    }

    fn judge(&mut self) {
        let median = self.ours.map(|ours| ours.median);
        self.ratio = median
            .zip(self.reference.as_ref())
            .map(|(ours, (_, reference))| ours / reference.median);
        self.met = match self.target {
            Target::RatioAtLeast(least) => Some(self.ratio.is_some_and(|ratio| ratio >= least)),
            Target::RatioAtMost(most) => Some(self.ratio.is_some_and(|ratio| ratio <= most)),
            Target::AtMost(most) => Some(median.is_some_and(|median| median <= most)),
            Target::AtLeast(least) => Some(median.is_some_and(|median| median >= least)),
            Target::MaxAtMost(most) => Some(self.ours.is_some_and(|ours| ours.max <= most)),
            Target::Within { median, p99 } => {
                Some(self.ours.is_some_and(|ours| ours.median <= median && ours.p99 <= p99))
            }
            Target::None => None,
        };
    }

    fn line(&self) -> String {
        let show = |summary: Option<&Summary>| match summary {
            Some(s) => format!(
                "{:>9.2} {:>9.2} {:>9.2} {:>5.0}%",
                s.median,
                s.p90,
                s.p99,
                s.spread * 100.0
            ),
            None => " ".repeat(36),
        };
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let asked = self.target.text();
        let met = self.met.map_or("", |met| if met { "met" } else { "MISSED" });
        let reference = self.reference.as_ref().map(|(_, summary)| summary);
        let (ours, theirs) = (show(self.ours.as_ref()), show(reference));
        format!(
            "{:<44} {:>5} {ours} | {theirs} | {ratio:>6} {asked:>13} {met}",
            self.name, self.unit
        )
    }
}

/// The results of one suite.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name.
    pub suite: String,
    /// Where and when.
    pub machine: Machine,
    /// By what every number of repetitions and every time was multiplied.
    pub scale: f64,
    /// What was left out and why, what is pinned, and whatever else one must know to read the figures.
    pub notes: Vec<String>,
    /// What was found.
    pub figures: Vec<Figure>,
}

impl Report {
    /// The table for people.
    #[must_use]
    pub fn text(&self) -> String {
        let columns = "   median       p90       p99 spread";
        let mut text = format!("{}: {}\n", self.suite, self.circumstances());
        let _ = writeln!(text, "{:<44} {:>5} {columns} | {columns} |  ratio", "", "unit");
        for figure in &self.figures {
            let _ = writeln!(text, "{}", figure.line());
            if let Some((name, _)) = &figure.reference {
                let _ = writeln!(text, "{:<50} beside {name}", "");
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// Commit, machine and its state, in one line.
    #[must_use]
    pub fn circumstances(&self) -> String {
        let machine = &self.machine;
        let commit = if machine.commit.is_empty() {
            "unknown"
        } else {
            &machine.commit
        };
        format!(
            "commit {commit}, {}, {} cores, {} MiB, Linux {}, load {:.2}, favordynmods {}, scale {}",
            machine.processor,
            machine.cores,
            machine.memory_mib,
            machine.kernel,
            machine.load,
            if machine.favordynmods { "on" } else { "off" },
            self.scale,
        )
    }

    /// Writes `FOLDER/SUITE.json` and its plot, `FOLDER/SUITE.svg`; what was there before is in the history of the
    /// repository.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn record(&self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        for (ending, text) in [("json", json), ("svg", plot::svg(self))] {
            let path = folder.join(format!("{}.{ending}", self.suite));
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
            written.map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }

    /// How many targets are missed.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.figures.iter().filter(|figure| figure.met == Some(false)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        [value; 3].into_iter().collect()
    }

    #[test]
    fn targets_are_judged_by_medians() {
        let ratio = |target| Figure::beside("x", "ms", &samples(4.0), ("y", &samples(2.0)), target).met;
        assert_eq!(ratio(Target::RatioAtMost(2.0)), Some(true));
        assert_eq!(ratio(Target::RatioAtMost(1.9)), Some(false));
        assert_eq!(ratio(Target::RatioAtLeast(2.0)), Some(true));
        assert_eq!(ratio(Target::RatioAtLeast(2.1)), Some(false));
        assert_eq!(
            Figure::alone("x", "ms", &samples(4.0), Target::AtMost(3.0)).met,
            Some(false)
        );
        assert_eq!(
            Figure::alone("x", "ms", &Samples::default(), Target::AtMost(3.0)).met,
            Some(false)
        );
        let alone = |target| Figure::alone("x", "ms", &samples(4.0), target).met;
        assert_eq!(alone(Target::AtLeast(4.0)), Some(true));
        assert_eq!(alone(Target::MaxAtMost(3.9)), Some(false));
        assert_eq!(alone(Target::Within { median: 4.0, p99: 4.0 }), Some(true));
        assert_eq!(alone(Target::Within { median: 4.0, p99: 3.0 }), Some(false));
        assert_eq!(ratio(Target::None), None);
        assert!(
            Figure::alone("x", "ms", &samples(4.0), Target::AtMost(3.0))
                .line()
                .ends_with("MISSED")
        );
    }
}
