//! `cargo xtask lint`: rustfmt and clippy over the workspace, the fuzz targets and the BPF crate;
//! warnings are errors. So are mutations that do not apply any more.

use std::process::Command;

use anyhow::Result;

use crate::{build::bpf_cargo, mutants, run::say, setup, toolchain, workspace};

pub(crate) fn run() -> Result<()> {
    for manifest in ["Cargo.toml", "sg-ebpf/Cargo.toml", "fuzz/Cargo.toml"] {
        say(cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    mutants::check_list()?;
    let strict = ["--", "--deny", "warnings"];
    say(cargo().args(["clippy", "--workspace", "--all-targets"]).args(strict))?;
    if setup::can_fuzz() {
        // Dependencies are checked already in there.
        let target = workspace::target();
        say(cargo()
            .args(["clippy", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
            .arg(target)
            .args(strict))?;
    } else {
        eprintln!("lint: fuzz targets need what `cargo xtask setup --ci` brings");
    }
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
