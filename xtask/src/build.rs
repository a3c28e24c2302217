//! `cargo xtask build`: the BPF object, then the programs, with the object inside sg-agent.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    run::{clean, say},
    setup, toolchain, workspace,
};

/// Read by sg-datapath/build.rs: the object to embed. Without it the agent is built without one.
const OBJECT_VARIABLE: &str = "SG_BPF_OBJECT";
/// The programs that users run.
pub(crate) const PROGRAMS: [&str; 3] = ["sg-agent", "sg-server", "sgctl"];
const TARGET: &str = "bpfel-unknown-none";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Build the programs unoptimised, into target/debug; the BPF object is always optimised
    #[arg(long)]
    debug: bool,
    /// Build only the BPF object
    #[arg(long, conflicts_with = "debug")]
    only_bpf: bool,
}

/// The result of a build.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) object: PathBuf,
    /// The folder of the programs.
    pub(crate) binaries: PathBuf,
}

impl Built {
    /// A cargo command that embeds the object wherever it builds sg-datapath.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(workspace::root()).envs(self.embedding());
        cargo
    }

    /// The environment that makes any cargo embed the object.
    pub(crate) fn embedding(&self) -> [(&'static str, &Path); 1] {
        [(OBJECT_VARIABLE, &self.object)]
    }
}

pub(crate) fn run(args: &Args) -> Result<Built> {
    setup::ensure()?;
    let profile = if args.debug { "debug" } else { "release" };
    let built = Built { object: object()?, binaries: workspace::target().join(profile) };
    if args.only_bpf {
        return Ok(built);
    }
    let mut cargo = built.cargo();
    cargo.args(["build", "--bins"]);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    if !args.debug {
        cargo.arg("--release");
    }
    say(&mut cargo)?;
    Ok(built)
}

/// Only the object, for what embeds it into something else.
pub(crate) fn only_bpf() -> Result<Built> {
    run(&Args { only_bpf: true, ..Args::default() })
}

/// Builds the BPF object.
fn object() -> Result<PathBuf> {
    let target = bpf_target();
    say(&mut bpf_cargo("build")?)?;
    let (object, stripped) = (target.join("sg.bpf.o"), target.join("sg.bpf.new"));
    // Three quarters of it is for debuggers.
    say(Command::new(toolchain::strip())
        .args(["--strip-debug", "-o"])
        .args([&stripped, &target.join(TARGET).join("release/sg")]))?;
    move_if_new(&stripped, &object)?;
    Ok(object)
}

fn bpf_target() -> PathBuf {
    workspace::target().join("bpf")
}

/// A cargo verb for the BPF crate, which has its own toolchain and target folder.
pub(crate) fn bpf_cargo(verb: &str) -> Result<Command> {
    let toolchain = toolchain::find().context("no toolchain for BPF")?;
    let flags = [
        "--cfg=bpf_target_arch=\"x86_64\"",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
    ];
    let mut cargo = clean("rustup");
    cargo
        .args(["run", &toolchain, "cargo", verb])
        .args(["--release", "--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(bpf_target())
        .current_dir(workspace::root().join("sg-ebpf"))
        // Lets a stable compiler take `-Z`.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("CARGO_TARGET_DIR");
    Ok(cargo)
}

/// An object that has not changed keeps its time stamp, and with it what is built from it.
fn move_if_new(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("no BPF object at {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))
}
