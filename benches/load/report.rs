//! Reports of a comparison: a text table, CSV and an SVG chart.

use std::fmt::Write as _;

/// One metric of two servers. Figures are medians of all rounds.
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) against: &'static str,
    pub(crate) theirs: f64,
    /// Ratio of `ours` to `theirs`: the median of the ratios of all rounds.
    pub(crate) ratio: f64,
    /// Target for the ratio.
    pub(crate) target: Bound,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Row {
    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Bound::AtLeast(bound) => self.ratio >= bound,
            Bound::AtMost(bound) => self.ratio <= bound,
            Bound::None => true,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Bound::AtLeast(bound) => format!(">= {bound:.3}"),
            Bound::AtMost(bound) => format!("<= {bound:.3}"),
            Bound::None => String::new(),
        }
    }
}

pub(crate) fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.metric.len() + ", ".len() + row.unit.len()).max().unwrap_or(0);
    let mut text =
        format!("{:<width$} {:>12} {:>12} {:<10} {:>8} {:>9}\n", "metric", "ours", "theirs", "", "ratio", "target");
    for row in rows {
        let mark = if row.is_met() { "" } else { "  missed" };
        let metric = format!("{}, {}", row.metric, row.unit);
        writeln!(
            text,
            "{metric:<width$} {:>12.2} {:>12.2} {:<10} {:>8.3} {:>9}{mark}",
            row.ours,
            row.theirs,
            row.against,
            row.ratio,
            row.target_text()
        )
        .expect("a string accepts every write");
    }
    text
}

pub(crate) fn csv(rows: &[Row]) -> String {
    let mut text = "metric,unit,ours,against,theirs,ratio,target,met\n".to_owned();
    for row in rows {
        let Row { metric, unit, ours, against, theirs, ratio, .. } = row;
        writeln!(text, "\"{metric}\",{unit},{ours},{against},{theirs},{ratio},{},{}", row.target_text(), row.is_met())
            .expect("a string accepts every write");
    }
    text
}

/// Returns a chart with one bar per ratio, on a logarithmic scale from 1/32 to 32 around a line at 1.
pub(crate) fn svg(rows: &[Row]) -> String {
    const LABELS: f64 = 430.0;
    const WIDTH: f64 = 400.0;
    const LINE: f64 = 22.0;
    let x = |ratio: f64| LABELS + WIDTH * (ratio.log2().clamp(-5.0, 5.0) + 5.0) / 10.0;
    let height = LINE * (rows.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" \
        font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        LABELS + WIDTH + 90.0
    );
    for power in [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5_i32] {
        let at = x(2_f64.powi(power));
        let label = if power < 0 { format!("1/{}", 1 << -power) } else { (1 << power).to_string() };
        let color = if power == 0 { "#333" } else { "#ddd" };
        writeln!(
            svg,
            "<line x1=\"{at}\" x2=\"{at}\" y1=\"{LINE}\" y2=\"{height}\" stroke=\"{color}\"/>\
            <text x=\"{at}\" y=\"15\" text-anchor=\"middle\">{label}</text>"
        )
        .expect("a string accepts every write");
    }
    for (nth, row) in rows.iter().enumerate() {
        let y = LINE * (nth as f64 + 1.5);
        let (from, to) = (x(1.0).min(x(row.ratio)), x(1.0).max(x(row.ratio)));
        let color = if row.is_met() { "#2a7d4f" } else { "#b4492d" };
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} / {}</text>\
            <rect x=\"{from}\" y=\"{}\" width=\"{}\" height=\"14\" fill=\"{color}\"/>\
            <text x=\"{}\" y=\"{}\">{:.2}</text>",
            LABELS - 10.0,
            y + 4.0,
            row.metric,
            row.against,
            y - 7.0,
            to - from,
            to + 5.0,
            y + 4.0,
            row.ratio
        )
        .expect("a string accepts every write");
    }
    svg.push_str("</svg>\n");
    svg
}
