//! Curves over what grows, as SVG.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, anyhow};
use plotters::prelude::*;

use super::{Finished, Row};

/// A contender's medians over what grows.
type Curve<'a> = (&'a str, Vec<(f64, f64)>);

pub(super) struct Chart<'a> {
    case: &'static str,
    group: &'a str,
    unit: &'static str,
    curves: Vec<Curve<'a>>,
}

/// The groups that have more than one point.
pub(super) fn of(case: &Finished) -> Vec<Chart<'_>> {
    let mut groups: BTreeMap<(&str, &'static str), BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in case.rows.iter().filter(|row| row.at > 0) {
        let subjects = groups.entry((&row.group, row.unit)).or_default();
        subjects.entry(&row.subject).or_default().push(row);
    }
    let charts = groups.into_iter().map(|((group, unit), subjects)| {
        let curve = |(subject, rows): (_, Vec<&Row>)| {
            (subject, rows.iter().map(|row| (row.at as f64, row.summary.median)).collect())
        };
        Chart { case: case.case, group, unit, curves: subjects.into_iter().map(curve).collect() }
            .readable()
    });
    charts.filter(|chart| chart.curves.iter().any(|(_, points)| points.len() > 1)).collect()
}

const SIZE: (u32, u32) = (800, 450);
const MARGIN: u32 = 16;

impl Chart<'_> {
    /// Where one takes many times what another does, packets a second show more than their inverse.
    fn readable(mut self) -> Self {
        let values = || self.curves.iter().flat_map(|(_, points)| points).map(|point| point.1);
        let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        if self.unit == "ns" && most > 4.0 * least {
            self.unit = "million packets a second";
            let points = self.curves.iter_mut().flat_map(|(_, points)| points);
            points.for_each(|point| point.1 = 1000.0 / point.1);
        }
        self
    }

    pub(super) fn draw(&self, dir: &Path) -> Result<()> {
        let name = format!("{} {} {}", self.case, self.group, self.unit);
        let file: String = name
            .to_lowercase()
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let file = dir.join(file + ".svg");
        // Plotters' errors borrow what they are about.
        self.draw_to(&file).map_err(|error| anyhow!("{error}")).context(file.display().to_string())
    }

    fn draw_to(&self, file: &Path) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || self.curves.iter().flat_map(|(_, points)| points);
        let least = points().map(|point| point.0).fold(f64::MAX, f64::min);
        let most = points().map(|point| point.0).fold(0.0, f64::max);
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{}: {}", self.case, self.group), ("sans-serif", 20))
            .margin(MARGIN)
            .margin_right(3 * MARGIN)
            .x_label_area_size(32)
            .y_label_area_size(64)
            .build_cartesian_2d((least..most).log_scale(), 0.0..highest * 1.1)?;
        chart
            .configure_mesh()
            .y_desc(self.unit)
            .x_label_formatter(&|at| format!("{at:.0}"))
            .y_label_formatter(&|value| format!("{value}"))
            .light_line_style(WHITE)
            .draw()?;
        for (index, (subject, points)) in self.curves.iter().enumerate() {
            let colour = Palette99::pick(index).stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour).point_size(3))?
                .label(*subject)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
