//! `cargo xtask dist`: the Debian packages, by cargo-deb. sg-agent/Cargo.toml and sg-server/Cargo.toml list what is
//! in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Built},
    run::{ask, say},
    setup, workspace,
};

/// The workspace's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The packages.
pub(crate) const AGENT: &str = "sg-agent";
pub(crate) const SERVER: &str = "sg-server";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Version of the packages [default: the workspace's]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Also let lintian look at them
    #[arg(long)]
    lint: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure_dist()?;
    let built = build::run(&build::Args::default())?;
    let version = args.version.as_deref().unwrap_or(VERSION);
    for name in [AGENT, SERVER] {
        let package = package(&built, name, version, &workspace::target().join("debian"))?;
        if args.lint {
            say(Command::new("lintian").args(["--fail-on", "error,warning"]).arg(&package))?;
        }
        println!("{}", package.display());
    }
    Ok(())
}

/// Packs one of the packages from the programs that were built, in a folder; its file. cargo-deb removes those
/// of other versions from `target/debian`.
pub(crate) fn package(built: &Built, name: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    generate(&built.binaries, name, version)?;
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{name}_{version}_amd64.deb"));
    say(built
        .cargo()
        .args(["deb", "--package", name, "--no-build", "--deb-version", version, "--output"])
        .arg(&file))?;
    Ok(file)
}

/// The files of a package that no compiler makes, in `dist` beside the binaries: man pages, completions, a
/// changelog.
fn generate(binaries: &Path, name: &str, version: &str) -> Result<()> {
    let folder = binaries.join(if name == SERVER { "dist/server" } else { "dist" });
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    let page = ask(Command::new(binaries.join(name)).arg("man"));
    let page = page.with_context(|| format!("{name} has no man page"))? + "\n";
    fs::write(man.join(format!("{name}.8")), page)?;
    if name == AGENT {
        of_sgctl(&binaries.join("sgctl"), &folder)?;
    }
    fs::write(folder.join("changelog"), changelog(name, version)?)?;
    say(Command::new("gzip")
        .args(["--recursive", "--best", "--no-name"])
        .args([folder.join("changelog"), man]))
}

/// Man pages and completions.
fn of_sgctl(sgctl: &Path, folder: &Path) -> Result<()> {
    say(Command::new(sgctl).arg("man").arg(folder.join("man")))?;
    for shell in ["bash", "zsh", "fish"] {
        let script = ask(Command::new(sgctl).args(["completions", shell]))
            .with_context(|| format!("sgctl has no completions for {shell}"))?;
        fs::write(folder.join(format!("sgctl.{shell}")), script + "\n")?;
    }
    Ok(())
}

/// Debian's form of a changelog, which refers to ours.
fn changelog(name: &str, version: &str) -> Result<String> {
    let date = ["-R", "-u"];
    let Some(date) = ask(Command::new("date").args(date)) else { bail!("no date") };
    Ok(format!(
        "{name} ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n \
         -- sg <sg@example.invalid>  {date}\n"
    ))
}
