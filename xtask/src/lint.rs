//! `cargo xtask lint`: rustfmt and clippy over the workspace and the BPF crate; warnings are errors.

use std::process::Command;

use anyhow::Result;

use crate::{build::bpf_cargo, run::say, toolchain, workspace};

pub(crate) fn run() -> Result<()> {
    for manifest in ["Cargo.toml", "sg-ebpf/Cargo.toml"] {
        say(cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    let strict = ["--", "--deny", "warnings"];
    say(cargo().args(["clippy", "--workspace", "--all-targets"]).args(strict))?;
    if !toolchain::has_clippy() {
        eprintln!("lint: no clippy for the BPF crate; `cargo xtask setup --ci` brings it");
        return Ok(());
    }
    say(bpf_cargo("clippy")?.args(strict))
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root());
    cargo
}
