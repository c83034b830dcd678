//! The plot of a suite, as SVG: one row per figure, grouped by unit, each group on its own logarithmic axis. A bar ends at
//! the median; a thin line goes on to the 90th percentile and a tick stands at the 99th.

use std::fmt::Write as _;

use crate::report::{Figure, Report};
use crate::stats::Summary;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 110.0;
const ROW: f64 = 34.0;
const BAR: f64 = 11.0;
const OURS: &str = "#2563a8";
const THEIRS: &str = "#b0aca0";

/// Draws a suite.
#[must_use]
pub fn svg(report: &Report) -> String {
    let groups = by_unit(&report.figures);
    let mut body = String::new();
    let mut top = 64.0;
    for (unit, figures) in &groups {
        top = group(&mut body, top, unit, figures);
    }
    let height = top + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(
        &mut out,
        12.0,
        20.0,
        "start",
        &format!("sonagi bench: {}", report.suite),
    );
    text(&mut out, 12.0, 36.0, "start", &report.circumstances());
    let legend = "blue: sonagi, grey: reference; bar to the median, line to p90, tick at p99";
    text(&mut out, 12.0, 52.0, "start", legend);
    out + &body + "</svg>\n"
}

/// Figures by their unit, both in the order in which they come first.
fn by_unit(figures: &[Figure]) -> Vec<(&'static str, Vec<&Figure>)> {
    let mut groups: Vec<(&'static str, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        match groups.iter_mut().find(|(unit, _)| *unit == figure.unit) {
            Some((_, group)) => group.push(figure),
            None => groups.push((figure.unit, vec![figure])),
        }
    }
    groups
}

/// Draws one group below `top` and returns where it ends.
fn group(out: &mut String, top: f64, unit: &str, figures: &[&Figure]) -> f64 {
    let summaries = figures.iter().flat_map(|figure| {
        figure
            .ours
            .iter()
            .chain(figure.reference.iter().map(|(_, summary)| summary))
    });
    let axis = Axis::over(summaries);
    let bottom = top + 22.0 + ROW * figures.len() as f64;
    for (at, label) in axis.marks() {
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"#e4e2dc\"/>",
            top + 16.0
        );
        text(out, at, top + 12.0, "middle", &format!("{label} {unit}"));
    }
    for (row, figure) in figures.iter().enumerate() {
        let y = top + 24.0 + ROW * row as f64;
        text(out, LEFT - 8.0, y + 9.0, "end", &figure.name);
        if let Some(ours) = &figure.ours {
            bar(out, &axis, y, ours, OURS);
        }
        if let Some((name, theirs)) = &figure.reference {
            text(out, LEFT - 8.0, y + 21.0, "end", &format!("beside {name}"));
            bar(out, &axis, y + BAR + 2.0, theirs, THEIRS);
        }
    }
    bottom + 14.0
}

fn bar(out: &mut String, axis: &Axis, y: f64, summary: &Summary, color: &str) {
    let [median, p90, p99] = [summary.median, summary.p90, summary.p99].map(|value| axis.at(value));
    let middle = y + BAR / 2.0;
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\
         <path d=\"M{median:.1} {middle:.1}H{p90:.1}M{p99:.1} {y:.1}v{BAR}\" stroke=\"{color}\" fill=\"none\"/>",
        (median - LEFT).max(1.0)
    );
    let shown = median.max(p99) + 5.0;
    text(out, shown, y + 9.0, "start", &number(summary.median));
}

/// A logarithmic axis over whole decades; what is zero stands at its left end.
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn over<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Self {
        let (mut low, mut high) = (f64::MAX, 0.0_f64);
        for summary in summaries {
            if summary.median > 0.0 {
                low = low.min(summary.median);
            }
            high = high.max(summary.p99.max(summary.median));
        }
        if high <= 0.0 || low > high {
            return Self { low: 0, high: 1 };
        }
        let low = low.log10().floor() as i32;
        Self {
            // A bar at the very left end would have no length: the axis begins a decade lower then.
            low: low - i32::from(high.log10().ceil() as i32 <= low + 1),
            high: (high.log10().ceil() as i32).max(low + 1),
        }
    }

    fn at(&self, value: f64) -> f64 {
        if value <= 0.0 {
            return LEFT;
        }
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        (self.low..=self.high)
            .map(|decade| {
                let value = 10_f64.powi(decade);
                (self.at(value), number(value))
            })
            .collect()
    }
}

/// A number with three digits that matter.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Samples;

    #[test]
    fn numbers_keep_what_matters() {
        for (value, expected) in [
            (0.0, "0"),
            (0.001, "0.001"),
            (0.4567, "0.457"),
            (1.5, "1.5"),
            (10.0, "10"),
            (123_456.0, "123456"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn an_axis_covers_whole_decades() {
        let summary = |value: f64| [value].into_iter().collect::<Samples>().summary().unwrap();
        let (small, large) = (summary(0.3), summary(250.0));
        let axis = Axis::over([&small, &large].into_iter());
        assert_eq!((axis.low, axis.high), (-1, 3));
        assert!(axis.at(0.3) > LEFT && axis.at(250.0) <= WIDTH - RIGHT);
        assert_eq!((axis.at(0.0), axis.at(1e9)), (LEFT, WIDTH - RIGHT));
        let none = Axis::over(std::iter::empty());
        assert_eq!(none.marks().len(), 2);
    }

    #[test]
    fn words_cannot_break_the_drawing() {
        let mut out = String::new();
        text(&mut out, 0.0, 0.0, "start", "a <= b & c");
        assert!(out.contains("a &lt;= b &amp; c"), "{out}");
    }
}
