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
    let package = package(&built, args.version.as_deref())?;
    if args.lint {
        say(Command::new("lintian").args(["--fail-on", "error,warning"]).arg(&package))?;
    }
    println!("{}", package.display());
    Ok(())
}

/// Packs what was built; the package's file.
pub(crate) fn package(built: &Built, version: Option<&str>) -> Result<PathBuf> {
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    generate(&built.binaries.join("sgctl"), version)?;
    let folder = workspace::target().join("debian");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("sg-agent_{version}_amd64.deb"));
    say(built
        .cargo()
        .args(["deb", "--package", "sg-agent", "--no-build", "--deb-version", version, "--output"])
        .arg(&file))?;
    Ok(file)
}

/// What the package holds and no compiler makes, in `target/dist`: man pages, completions, a changelog.
fn generate(sgctl: &Path, version: &str) -> Result<()> {
    let folder = workspace::target().join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    say(Command::new(sgctl).arg("man").arg(folder.join("man")))?;
    for shell in ["bash", "zsh", "fish"] {
        let script = ask(Command::new(sgctl).args(["completions", shell]))
            .with_context(|| format!("sgctl has no completions for {shell}"))?;
        fs::write(folder.join(format!("sgctl.{shell}")), script + "\n")?;
    }
    fs::write(folder.join("changelog"), changelog(version)?)?;
    Ok(())
}

/// Debian's form of a changelog, which refers to ours.
fn changelog(version: &str) -> Result<String> {
    let date = ["-R", "-u"];
    let Some(date) = ask(Command::new("date").args(date)) else { bail!("no date") };
    Ok(format!(
        "sg-agent ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n \
         -- sg <sg@example.invalid>  {date}\n"
    ))
}
