//! `cargo xtask bench`: builds, then runs the `bench` crate on what was built.

use anyhow::Result;

use crate::{build, run::say, setup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only build it
    #[arg(long)]
    no_run: bool,
    /// Passed on: `--help` shows what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<String>,
}

const PACKAGE: &[&str] = &["--release", "--package", "sg-bench"];

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.no_run {
        return say(build::only_bpf()?.cargo().arg("build").args(PACKAGE));
    }
    setup::ensure_bench()?;
    let built = build::run(&build::Args::default())?;
    let mut bench = built.cargo();
    bench
        .args(["run", "--quiet"])
        .args(PACKAGE)
        .arg("--")
        .args(&args.bench)
        .env("SG_BIN_DIR", &built.binaries);
    say(&mut bench)
}
