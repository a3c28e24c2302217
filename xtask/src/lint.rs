//! `cargo xtask lint`: format, lints and documentation of the workspace, the fuzz targets and the BPF
//! crate, spelling, hard sentences, and what Markdown files refer to. Warnings are errors, and so are mutations that do
//! not apply any more and generated files that are not fresh.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{
    build::bpf_cargo, markdown, models, mutants, prose, run::say, setup, toolchain, workspace,
};

/// Not for people to read, or not by us.
const NOT_SPELLED: &[&str] = &[".lock", ".svg", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];
/// Inputs of tests: made up, recorded, or of others.
const INPUTS: &[&str] = &["fuzz/corpus/", "sg-iam/tests/"];
/// Private items are documented, too, and may be linked to.
const RUSTDOC_FLAGS: &str = "--deny warnings --allow rustdoc::private_intra_doc_links";
const STRICT: &[&str] = &["--", "--deny", "warnings"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List the sentences that are hard to read, and do nothing else
    #[arg(long)]
    prose: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.prose {
        return prose::list(&workspace::files()?);
    }
    for manifest in ["Cargo.toml", "sg-ebpf/Cargo.toml", "fuzz/Cargo.toml"] {
        say(cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    mutants::check_list()?;
    models::check()?;
    let files = workspace::files()?;
    markdown::check(&files)?;
    prose::check(&files)?;
    spelling(&files)?;
    say(cargo().args(["clippy", "--workspace", "--all-targets"]).args(STRICT))?;
    say(cargo()
        .args(["doc", "--workspace", "--lib", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", RUSTDOC_FLAGS))?;
    if setup::can_fuzz() {
        // Dependencies are checked already in there.
        let target = workspace::target();
        say(cargo()
            .args(["clippy", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
            .arg(target)
            .args(STRICT))?;
    } else {
        eprintln!("lint: fuzz targets need what `cargo xtask setup --lint` brings");
    }
    if !toolchain::has_clippy() {
        eprintln!("lint: no clippy for the BPF crate; `cargo xtask setup --lint` brings it");
        return Ok(());
    }
    say(bpf_cargo("clippy")?.args(STRICT))
}

/// Words that are no mistakes are in `.codespellrc`.
fn spelling(files: &[String]) -> Result<()> {
    if !setup::can_spell() {
        eprintln!("lint: no codespell; `cargo xtask setup --lint` brings it");
        return Ok(());
    }
    let is_text = |file: &&String| {
        !INPUTS.iter().any(|folder| file.starts_with(folder))
            && !NOT_SPELLED.iter().any(|end| file.ends_with(end))
    };
    eprintln!("+ codespell, on all files of the repository");
    let status = Command::new("codespell")
        .args(files.iter().filter(is_text))
        .current_dir(workspace::root())
        .status()
        .context("cannot run codespell")?;
    ensure!(status.success(), "codespell found mistakes; words that are none go into .codespellrc");
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root());
    cargo
}
