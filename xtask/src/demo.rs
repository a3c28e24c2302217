//! `cargo xtask demo`: builds, then runs the demo of the `tests` crate, which has the harness.

use anyhow::Result;

use crate::{build, run::say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only build it
    #[arg(long, conflicts_with = "pause")]
    no_run: bool,
    /// Wait for Enter at the end, to look around in the namespaces
    #[arg(long)]
    pause: bool,
}

const PROGRAM: &[&str] = &["--release", "--package", "sg-tests", "--bin", "sg-demo"];

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.no_run {
        return say(build::only_bpf()?.cargo().arg("build").args(PROGRAM));
    }
    let built = build::run(&build::Args::default())?;
    let mut demo = built.cargo();
    demo.args(["run", "--quiet"]).args(PROGRAM).env("SG_BIN_DIR", &built.binaries);
    if args.pause {
        demo.args(["--", "--pause"]);
    }
    say(&mut demo)
}
