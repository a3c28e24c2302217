//! `cargo xtask vm-test --systemd`: what a package has to do on a real system. This side makes packages,
//! disk and first file system; `tests/src/bin/systemd` boots them and looks from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, image, kernel::Kernel, payload};
use crate::{build, dist, run::say, setup, workspace};

/// Modules that find the disk; all others are on it.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];
/// The agent of the package that an upgrade to another ABI installs.
const OTHER_ABI: &str = "sg-agent-abi";
/// As qemu's first disk is called.
const DISK: &str = "/dev/vda";

pub(crate) fn run(kernel: &Kernel, limit: Duration) -> Result<()> {
    setup::ensure_dist()?;
    let built = build::run(&build::Args::default())?;
    let folder = workspace::target().join("vm/systemd");
    let mut helpers = vec!["--package", "sg-tests"];
    for name in ["sg-init", "sg-systemd", OTHER_ABI] {
        helpers.extend(["--bin", name]);
    }
    say(built.cargo().arg("build").args(helpers))?;
    let pack = |name, version: &str| dist::package(&built, name, version, &folder);
    let first = pack(dist::AGENT, dist::VERSION)?;
    let upgrade = pack(dist::AGENT, &format!("{}+upgrade", dist::VERSION))?;
    let other = of_another_abi(&first, &folder)?;
    let packages = [&first, &upgrade, &other, &pack(dist::SERVER, dist::VERSION)?];
    let disk = image::fresh(kernel, &folder)?;
    let files = folder.join("files.cpio");
    first_files(kernel, &files)?;
    say(Command::new(payload::helper("sg-systemd"))
        .arg("--kernel")
        .arg(kernel.image()?)
        .arg("--initrd")
        .arg(&files)
        .arg("--disk")
        .arg(&disk)
        .arg("--console")
        .arg(folder.join("console.log"))
        .args(["--limit", &limit.as_secs().to_string()])
        .args(packages))
}

/// A package like `package` with an agent of another ABI in it.
fn of_another_abi(package: &Path, folder: &Path) -> Result<PathBuf> {
    let content = folder.join("other-abi");
    if content.exists() {
        fs::remove_dir_all(&content)?;
    }
    say(Command::new("dpkg-deb").arg("--raw-extract").args([package, &content]))?;
    let agent = content.join("usr/sbin/sg-agent");
    say(Command::new("strip").arg("-o").arg(agent).arg(payload::helper(OTHER_ABI)))?;
    let control = content.join("DEBIAN/control");
    let version = |version: &str| format!("\nVersion: {version}\n");
    let text = fs::read_to_string(&control)?;
    let other = version(&format!("{}+{OTHER_ABI}", dist::VERSION));
    fs::write(&control, text.replace(&version(dist::VERSION), &other))?;
    let other = content.with_extension("deb");
    say(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).args([&content, &other]))?;
    Ok(other)
}

/// The first root file system: loads modules and hands over to the disk.
fn first_files(kernel: &Kernel, to: &Path) -> Result<()> {
    let mut archive = Archive::default();
    let init = payload::helper("sg-init");
    archive.copy(&init, "/init")?;
    payload::libraries(&init, &mut archive)?;
    let mut plan = String::new();
    for module in kernel.modules(MODULES)? {
        let place = Path::new("/modules").join(module.file_name().context("a module")?);
        archive.copy(&module, &place)?;
        plan += &format!("module {}\n", place.display());
    }
    archive.text("/plan", format!("{plan}root {DISK}\n"));
    archive.write(to)
}
