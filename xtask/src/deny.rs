//! `cargo xtask deny`: licences and sources of dependencies, by cargo-deny.

use std::process::Command;

use anyhow::Result;

use crate::{run::say, workspace};

/// Not advisories, whose database is no package.
const CHECKS: &[&str] = &["check", "bans", "licenses", "sources"];

pub(crate) fn run() -> Result<()> {
    let deny = || {
        let mut deny = Command::new("cargo");
        deny.arg("deny").current_dir(workspace::root());
        deny
    };
    say(deny().arg("--all-features").args(CHECKS))?;
    say(deny().args(["--manifest-path", "fuzz/Cargo.toml", "--config", "deny.toml"]).args(CHECKS))
}
