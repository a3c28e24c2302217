//! For people.

use std::fmt::Write as _;

use super::{Report, Row};

impl Report {
    pub fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{}, {} CPUs{}, {} MiB, Linux {}; load average {} before, up to {} during\n",
            machine.cpu,
            machine.cpus,
            if machine.virtual_machine { " of a virtual machine" } else { "" },
            machine.memory_mib,
            machine.kernel,
            machine.load_before,
            machine.load_during
        );
        for case in &self.cases {
            // Writing to a String does not fail.
            let _ = writeln!(text, "\n{} ({:.0} s)", case.case, case.seconds);
            if let Some(failure) = &case.failure {
                let _ = writeln!(text, "  FAILED: {failure}");
            }
            let lines: Vec<_> = case.rows.iter().map(columns).collect();
            text.push_str(&aligned(&lines));
        }
        text
    }
}

const HEADINGS: [&str; 7] = ["", "of", "", "median", "middle half", "least", "target"];

fn columns(row: &Row) -> [String; HEADINGS.len()] {
    let summary = &row.summary;
    let target = match (row.target, row.reached) {
        (Some(target), Some(true)) => format!("{target}  reached"),
        (Some(target), _) => format!("{target}  NOT REACHED"),
        (None, _) => String::new(),
    };
    [
        row.group.clone(),
        if row.at == 0 { String::new() } else { row.at.to_string() },
        row.subject.clone(),
        format!("{} {}", number(summary.median), row.unit),
        format!("{} - {}", number(summary.low), number(summary.high)),
        number(summary.least),
        target,
    ]
}

/// Three digits, or the whole number.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn aligned(lines: &[[String; HEADINGS.len()]]) -> String {
    let headings = HEADINGS.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(lines);
    let widths: [usize; HEADINGS.len()] =
        std::array::from_fn(|at| all().map(|line| line[at].len()).max().unwrap_or(0));
    let mut text = String::new();
    for line in all() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
        text.push('\n');
    }
    text
}
