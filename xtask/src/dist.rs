//! `cargo xtask dist`: the Debian package, by cargo-deb; what is in it is said in sg-agent/Cargo.toml.

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

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The package's version [default: the workspace's]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Also let lintian look at it
    #[arg(long)]
    lint: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure_dist()?;
    let built = build::run(&build::Args::default())?;
    let version = args.version.as_deref().unwrap_or(VERSION);
    let package = package(&built, version, &workspace::target().join("debian"))?;
    if args.lint {
        say(Command::new("lintian").args(["--fail-on", "error,warning"]).arg(&package))?;
    }
    println!("{}", package.display());
    Ok(())
}

/// Packs what was built, in a folder; the package's file. cargo-deb removes those of other versions from
/// `target/debian`.
pub(crate) fn package(built: &Built, version: &str, folder: &Path) -> Result<PathBuf> {
    generate(&built.binaries, version)?;
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("sg-agent_{version}_amd64.deb"));
    say(built
        .cargo()
        .args(["deb", "--package", "sg-agent", "--no-build", "--deb-version", version, "--output"])
        .arg(&file))?;
    Ok(file)
}

/// What the package holds and no compiler makes, in `dist` beside the binaries: man pages, completions, a
/// changelog.
fn generate(binaries: &Path, version: &str) -> Result<()> {
    let (sgctl, folder) = (&binaries.join("sgctl"), binaries.join("dist"));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    say(Command::new(sgctl).arg("man").arg(folder.join("man")))?;
    let page = ask(Command::new(binaries.join("sg-agent")).arg("man"));
    fs::write(folder.join("man/sg-agent.8"), page.context("sg-agent has no man page")? + "\n")?;
    for shell in ["bash", "zsh", "fish"] {
        let script = ask(Command::new(sgctl).args(["completions", shell]))
            .with_context(|| format!("sgctl has no completions for {shell}"))?;
        fs::write(folder.join(format!("sgctl.{shell}")), script + "\n")?;
    }
    fs::write(folder.join("changelog"), changelog(version)?)?;
    say(Command::new("gzip")
        .args(["--recursive", "--best", "--no-name"])
        .args([folder.join("changelog"), folder.join("man")]))
}

/// Debian's form of a changelog, which refers to ours.
fn changelog(version: &str) -> Result<String> {
    let date = ["-R", "-u"];
    let Some(date) = ask(Command::new("date").args(date)) else { bail!("no date") };
    Ok(format!(
        "sg-agent ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n \
         -- sg <sg@example.invalid>  {date}\n"
    ))
}
