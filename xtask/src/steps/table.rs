//! The steps and their times.

use std::{fmt, time::Duration};

use super::Ran;

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { took, cpu, fault, .. } = self;
        write!(f, "{:.0} s, {:.0} s of CPU time", took.as_secs_f64(), cpu.as_secs_f64())?;
        fault.as_ref().map_or(Ok(()), |fault| write!(f, ", FAILED: {fault}"))
    }
}

/// A line for each step, and one for all of them, which took `all`.
pub(crate) fn table(ran: &[Ran], all: Duration) -> String {
    let line = |name: &str, took: Duration, cpu: Duration, result: &str| {
        let (took, cpu) = (took.as_secs_f64(), cpu.as_secs_f64());
        format!("{name:<16} {took:>8.0} {cpu:>8.0}  {result}").trim_end().to_owned() + "\n"
    };
    let mut text = format!("{:<16} {:>8} {:>8}  {}\n", "step", "seconds", "CPU", "result");
    for Ran { name, took, cpu, fault } in ran {
        let result = fault.as_ref().map_or("passed".to_owned(), |fault| format!("FAILED: {fault}"));
        text += &line(name, *took, *cpu, &result);
    }
    text + &line("all", all, ran.iter().map(|ran| ran.cpu).sum(), "")
}
