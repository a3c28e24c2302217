//! `cargo xtask`: everything a developer does that is more than one cargo command.

mod bench;
mod build;
mod demo;
mod lint;
mod run;
mod setup;
mod size;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "sg developer's tool")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what building and testing need and this machine lacks
    Setup(setup::Args),
    /// Build the BPF object, and sg-agent (with the object inside) and sgctl
    Build(build::Args),
    /// Show security groups at work between network namespaces
    Demo(demo::Args),
    /// Measure what a packet and a change cost, side by side with other filters
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Check format and lints of everything, the BPF crate included
    Lint,
    /// Compare the BPF programs' instructions and stack with the table that is checked in
    Size(size::Args),
    /// Run all tests, those that need root and a kernel with BPF included
    Test(test::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args).map(drop),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Lint => lint::run(),
        Verb::Size(args) => size::run(&args),
        Verb::Test(args) => test::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
