//! Programs that are not ours, which tests hold ours against. They are unpacked under `target/tools`:
//! Debian's packages would start services.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{run::say, setup::apt, workspace};

/// Reads VPC flow logs (PyPI).
const FLOWLOGS_READER: &str = "flowlogs-reader==5.0.1";
/// The library that it needs at the version that goes with it: pip would take the newest.
const BOTO3: &str = "boto3==1.44.8";

/// Drives sg-server (PyPI), in a folder of its own because its libraries are of other versions.
const AWS_CLI: &str = "awscli==1.46.3";

pub(crate) fn directory() -> PathBuf {
    workspace::target().join("tools")
}

fn prometheus() -> PathBuf {
    directory().join("prometheus")
}

fn python() -> PathBuf {
    directory().join("python")
}

fn aws() -> PathBuf {
    directory().join("aws")
}

pub(crate) fn has_aws_cli() -> bool {
    aws().join("bin/aws").is_file()
}

pub(crate) fn install_aws_cli() -> Result<()> {
    apt(&["python3", "python3-venv"])?;
    fs::create_dir_all(directory())?;
    say(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(aws()))?;
    let quiet = ["install", "--quiet", "--disable-pip-version-check"];
    say(Command::new(aws().join("bin/pip")).args(quiet).arg(AWS_CLI))
}

pub(crate) fn has_prometheus() -> bool {
    ["prometheus", "promtool"].iter().all(|name| prometheus().join("usr/bin").join(name).is_file())
}

pub(crate) fn has_flowlogs_reader() -> bool {
    python().join("bin/flowlogs_reader").is_file()
}

/// Debian's package, unpacked and not installed.
pub(crate) fn install_prometheus() -> Result<()> {
    let download = directory().join("download");
    fs::create_dir_all(&download).with_context(|| format!("{}", download.display()))?;
    say(Command::new("apt-get").args(["--quiet", "update"]))?;
    say(Command::new("apt-get")
        .args(["--quiet", "download", "prometheus"])
        .current_dir(&download))?;
    let package = fs::read_dir(&download)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    say(Command::new("dpkg-deb").arg("--extract").args([package, prometheus()]))?;
    fs::remove_dir_all(&download).with_context(|| format!("{}", download.display()))
}

pub(crate) fn install_flowlogs_reader() -> Result<()> {
    apt(&["python3", "python3-venv"])?;
    fs::create_dir_all(directory())?;
    say(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(python()))?;
    say(Command::new(python().join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        FLOWLOGS_READER,
        BOTO3,
    ]))
}
