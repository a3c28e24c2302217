//! `cargo xtask bench`: the cost of a packet and of a change. All figures are ratios measured side
//! by side in one run: against doing nothing, and against other filters of the machine.
//!
//! | folder | what is in it |
//! |---|---|
//! | `cases/` | a file per case: what is measured, and what it has to reach |
//! | `contenders/` | a file per filter that takes part |
//! | `report/` | table, JSON, charts |
//!
//! No figure without proof: a case fails unless the contenders' own counters say that each packet got
//! what the case is about.

mod cases;
mod contenders;
mod cpu;
mod daemon;
mod echo;
mod lab;
mod machine;
mod memory_latency;
mod packets;
mod prober;
mod report;
mod routed_path;
mod rules;
mod statistics;
mod testbed;

use std::{path::PathBuf, process::ExitCode, thread, time::Instant};

use clap::Parser;

use crate::{
    cases::{CASES, Case, Effort},
    machine::Machine,
    report::{Finished, Report},
};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about = "What a packet and a change cost")]
struct Cli {
    /// Cases to run; all if none is named
    #[arg(value_parser = cases::named)]
    cases: Vec<&'static dyn Case>,
    /// Also as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also as charts, SVG files in this folder
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// In less than 3 minutes: what must hold on any machine, or the exit status is 1
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    let cases = if cli.cases.is_empty() { CASES.to_vec() } else { cli.cases };
    let mut report = Report::new(Machine::look(), cli.quick);
    for case in cases {
        eprintln!("bench: {}", case.name());
        let start = Instant::now();
        // A thread of its own, because the harness gives each a sandbox, and panics when it fails.
        let mut rows = Vec::new();
        let outcome = thread::scope(|scope| scope.spawn(|| case.run(&effort, &mut rows)).join());
        report.machine.look_again();
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("it panicked".to_owned()),
        };
        let seconds = start.elapsed().as_secs_f64();
        report.add(Finished { case: case.name(), seconds, rows, failure });
    }
    print!("{}", report.table());
    let written = cli.json.as_ref().map_or(Ok(()), |file| report.write_json(file));
    if let Err(error) = written.and_then(|()| cli.plot.map_or(Ok(()), |dir| report.plot(&dir))) {
        eprintln!("bench: {error:#}");
        return ExitCode::FAILURE;
    }
    let faults = report.faults();
    faults.iter().for_each(|fault| eprintln!("bench: FAILED: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
