//! The results of guests, as a table for people.

use std::time::Duration;

use anyhow::Result;

/// The results of a guest, or of this machine.
#[derive(Debug)]
pub(crate) struct Report {
    kernel: String,
    programs: Vec<Program>,
    pub(crate) passed: u32,
    /// Tests; what else went wrong counts as one each.
    pub(crate) failed: u32,
    /// Commands that ended badly, or why the guest did.
    broken: Vec<String>,
    took: Duration,
}

/// A line of `sg-programs`.
#[derive(Debug)]
struct Program {
    name: String,
    verified: u32,
    instructions: u32,
    machine_code: u32,
    microseconds: u32,
}

impl Report {
    /// Reads the lines that a guest printed until its end.
    pub(crate) fn read(kernel: &str, said: &Result<Vec<String>>, took: Duration) -> Self {
        let lines = said.as_deref().unwrap_or_default();
        let programs = lines.iter().filter_map(|line| Program::read(line)).collect();
        let (mut passed, mut failed) = (0, 0);
        // nextest's, and that of a test binary run without it.
        let is_summary = |line: &&String| {
            line.trim_start().starts_with("Summary [") || line.starts_with("test result: ")
        };
        for summary in lines.iter().filter(is_summary) {
            passed += count(summary, "passed");
            failed += count(summary, "failed") + count(summary, "timed");
        }
        let mut broken: Vec<String> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("sg-init: "))
            .filter(|line| *line != "done" && !line.starts_with("exit 0:"))
            .map(str::to_owned)
            .collect();
        broken.extend(said.as_ref().err().map(|error| format!("{error:#}")));
        if failed == 0 {
            failed = broken.len() as u32;
        }
        Self { kernel: kernel.to_owned(), programs, passed, failed, broken, took }
    }

    /// Faults, each with the kernel's name.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> {
        self.broken.iter().map(|what| format!("{}: {what}", self.kernel))
    }
}

/// The number before a word: `41 tests run: 40 passed (1 slow), 1 failed`.
fn count(summary: &str, word: &str) -> u32 {
    let words: Vec<&str> = summary.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let found = words.windows(2).find(|pair| pair[1] == word);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

impl Program {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("sg-programs: ")?.split(' ');
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Self {
            name,
            verified: number()?,
            instructions: number()?,
            machine_code: number()?,
            microseconds: number()?,
        })
    }
}

pub(crate) fn print(reports: &[Report]) {
    println!(
        "\n{:<26} {:<10} {:>9} {:>13} {:>13} {:>9}",
        "kernel", "program", "verified", "instructions", "machine code", "load ms"
    );
    for report in reports {
        for program in &report.programs {
            println!(
                "{:<26} {:<10} {:>9} {:>13} {:>13} {:>9.1}",
                report.kernel,
                program.name,
                program.verified,
                program.instructions,
                program.machine_code,
                f64::from(program.microseconds) / 1000.0
            );
        }
    }
    println!("\n{:<26} {:>6} {:>6} {:>9}", "kernel", "passed", "failed", "seconds");
    for report in reports {
        let Report { kernel, passed, failed, took, .. } = report;
        println!("{kernel:<26} {passed:>6} {failed:>6} {:>9}", took.as_secs());
    }
}
