//! `cargo xtask demo`: builds, then runs the demo of the `tests` crate, which has the harness.

use anyhow::Result;

use crate::{build, run::say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for Enter at the end, to look around in the namespaces
    #[arg(long)]
    pause: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let built = build::run(&build::Args::default())?;
    let mut demo = built.cargo();
    demo.args(["run", "--quiet", "--release", "--package", "sg-tests", "--bin", "sg-demo"])
        .env("SG_BIN_DIR", &built.binaries);
    if args.pause {
        demo.args(["--", "--pause"]);
    }
    say(&mut demo)
}
