//! The output of the demo: one line a check, and a verdict at the end.

use std::{fmt::Display, process::ExitCode};

/// Counts checks as they are shown.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    checks: u32,
    failed: u32,
}

impl Transcript {
    /// A heading.
    pub(crate) fn scene(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Prints a step of the demo, or something that is there.
    pub(crate) fn note(&self, text: impl Display) {
        println!("   {text}");
    }

    /// Output of a program, set apart.
    pub(crate) fn quote(&self, text: &str) {
        for line in text.lines() {
            println!("   | {line}");
        }
    }

    /// One check: what should be, and whether it is; `found` is said when it is not.
    pub(crate) fn check(&mut self, holds: bool, what: &str, found: impl Display) {
        self.checks += 1;
        if holds {
            println!("   ok      {what}");
        } else {
            self.failed += 1;
            println!("   FAILED  {what}: {found}");
        }
    }

    /// The last line, and the status that says the same.
    pub(crate) fn close(&self) -> ExitCode {
        let Self { checks, failed } = self;
        println!("\n{} passed, {failed} failed", checks - failed);
        if *failed == 0 && *checks > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
