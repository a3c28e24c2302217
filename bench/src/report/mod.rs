//! The results: a table for people, JSON for programs, charts.

mod chart;
mod table;

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    cases::Effort,
    machine::Machine,
    statistics::{Samples, Summary},
};

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub quick: bool,
    pub cases: Vec<Finished>,
}

#[derive(Debug, Serialize)]
pub struct Finished {
    pub case: &'static str,
    pub seconds: f64,
    pub rows: Vec<Row>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// One contender in one situation, or two compared.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub group: String,
    /// Rules, flows, interfaces: what grows. 0 where nothing does.
    pub at: u64,
    pub subject: String,
    pub unit: &'static str,
    #[serde(flatten)]
    pub summary: Summary,
    pub target: Option<Target>,
    pub reached: Option<bool>,
    /// In quick mode it must be reached.
    pub guard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

impl Row {
    pub fn new(
        group: impl Into<String>,
        at: u64,
        subject: impl Into<String>,
        unit: &'static str,
        samples: &Samples,
    ) -> Self {
        Self {
            group: group.into(),
            at,
            subject: subject.into(),
            unit,
            summary: samples.summary(),
            target: None,
            reached: None,
            guard: false,
        }
    }

    /// Sets the target that the median has to reach.
    pub fn target(mut self, target: impl Into<Option<Target>>) -> Self {
        self.target = target.into();
        self.reached = self.target.map(|target| target.is_reached(self.summary.median));
        self
    }

    /// In quick mode this is what counts, and must be reached.
    pub fn guard(self, effort: &Effort, target: Target) -> Self {
        if effort.quick { Self { guard: true, ..self.target(target) } } else { self }
    }
}

impl Report {
    pub fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, cases: Vec::new() }
    }

    /// Takes what a case found. Few rounds say nothing of targets: in quick mode only guards are any.
    pub fn add(&mut self, mut case: Finished) {
        if self.quick {
            for row in case.rows.iter_mut().filter(|row| !row.guard) {
                (row.target, row.reached) = (None, None);
            }
        }
        self.cases.push(case);
    }

    /// Reasons to fail the whole run: cases without proof, and in quick mode broken guards.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for case in &self.cases {
            if let Some(failure) = &case.failure {
                faults.push(format!("{}: {failure}", case.case));
            }
            for row in case.rows.iter().filter(|row| row.guard && row.reached == Some(false)) {
                let Row { group, subject, unit, summary, .. } = row;
                let target = row.target.map_or_else(String::new, |target| target.to_string());
                let median = summary.median;
                let name = case.case;
                faults
                    .push(format!("{name}: {group}: {subject}: {median:.2} {unit}, not {target}"));
            }
        }
        faults
    }

    pub fn write_json(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    /// A chart for each group whose rows make a curve.
    pub fn plot(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for case in &self.cases {
            for chart in chart::of(case) {
                chart.draw(dir)?;
            }
        }
        Ok(())
    }
}
