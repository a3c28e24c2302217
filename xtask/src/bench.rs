//! `cargo xtask bench`: builds, then runs the `bench` crate on what was built.

use anyhow::Result;

use crate::{build, run::say, setup};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed on: `--help` shows what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure_bench()?;
    let built = build::run(&build::Args::default())?;
    let mut bench = built.cargo();
    bench
        .args(["run", "--quiet", "--release", "--package", "sg-bench", "--"])
        .args(&args.bench)
        .env("SG_BIN_DIR", &built.binaries);
    say(&mut bench)
}
