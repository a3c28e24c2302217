//! `cargo xtask demo`: builds, then runs the demo of the `tests` crate, which has the harness.

use anyhow::Result;

use crate::{build, run::say, setup, tools};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only build it
    #[arg(long, conflicts_with = "pause")]
    no_run: bool,
    /// Drive it by the AWS CLI and a control plane instead of a rules file
    #[arg(long, conflicts_with = "pause")]
    api: bool,
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
    if args.api {
        setup::ensure_api()?;
        demo.env("SG_TOOLS_DIR", tools::directory()).args(["--", "--api"]);
    }
    if args.pause {
        demo.args(["--", "--pause"]);
    }
    say(&mut demo)
}
