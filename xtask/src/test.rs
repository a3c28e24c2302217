//! `cargo xtask test`: every test of the workspace, by cargo-nextest, whose closing lines come last.

use anyhow::{Result, bail};

use crate::{build, run::say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without the tests that need root and a kernel with BPF
    #[arg(long)]
    quick: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Passed on to cargo-nextest
    #[arg(last = true)]
    nextest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let built = build::run(&build::Args::default())?;
    // A workspace member that is no more (or not yet) there would make a green run mean nothing.
    if !built.binaries.join("sg-agent").is_file() || !built.binaries.join("sgctl").is_file() {
        bail!("no sg-agent and sgctl in {}", built.binaries.display());
    }
    let mut nextest = built.cargo();
    nextest.args(["nextest", "run", "--workspace"]).env("SG_BIN_DIR", &built.binaries);
    if args.quick {
        nextest.args(["--exclude", "sg-tests"]);
    }
    nextest.args(&args.filter).args(&args.nextest);
    say(&mut nextest)
}
