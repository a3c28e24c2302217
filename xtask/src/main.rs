//! `cargo xtask`: everything a developer does that is more than one cargo command.

mod bench;
mod build;
mod ci;
mod demo;
mod deny;
mod dist;
mod duration;
mod fuzz;
mod lint;
mod markdown;
mod models;
mod mutants;
mod nightly;
mod prose;
mod run;
mod setup;
mod size;
mod steps;
mod test;
mod toolchain;
mod tools;
mod vm;
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
    /// Build the BPF object, and sg-agent (with the object inside), sg-server and sgctl
    Build(build::Args),
    /// Run what CI runs: `.ci/run` is this
    Ci,
    /// Check licences and sources of all dependencies, those of the fuzz targets included
    Deny,
    /// Show security groups at work between network namespaces
    Demo(demo::Args),
    /// Measure what a packet and a change cost, side by side with other filters
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Make the Debian package, in target/debian
    Dist(dist::Args),
    /// Check format and lints of everything, the BPF crate included
    Lint(lint::Args),
    /// Feed parser, compiler, API and loaded programs with what a fuzzer makes up
    Fuzz(fuzz::Args),
    /// Write request and response types of the API from the API models
    Models(models::Args),
    /// Plant bugs in a copy of the sources and see that the tests find them
    Mutants(mutants::Args),
    /// Run everything in full, also what CI leaves out; takes a night
    Nightly(nightly::Args),
    /// Compare the BPF programs' instructions and stack with the table that is checked in
    Size(size::Args),
    /// Run all tests, those that need root and a kernel with BPF included
    Test(test::Args),
    /// Run the tests that need a kernel on other kernels, in guests under qemu
    VmTest(vm::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args).map(drop),
        Verb::Ci => ci::run(),
        Verb::Deny => deny::run(),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Dist(args) => dist::run(&args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Models(args) => models::run(&args),
        Verb::Mutants(args) => mutants::run(&args),
        Verb::Nightly(args) => nightly::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Size(args) => size::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::VmTest(args) => vm::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
