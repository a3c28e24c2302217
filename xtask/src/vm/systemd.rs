//! `cargo xtask vm-test --systemd`: what a package has to do on a real system. This side makes packages,
//! disk and first file system; `tests/src/bin/systemd` boots them and looks from outside.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, image, kernel::Kernel, payload};
use crate::{build, dist, run::say, setup, workspace};

/// What it takes to find the disk; all else is on it.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];
/// As qemu's first disk is called.
const DISK: &str = "/dev/vda";

pub(crate) fn run(kernel: &Kernel, limit: Duration) -> Result<()> {
    setup::ensure_dist()?;
    let built = build::run(&build::Args::default())?;
    let folder = workspace::target().join("vm/systemd");
    let packages = [
        dist::package(&built, dist::VERSION, &folder)?,
        dist::package(&built, &format!("{}+upgrade", dist::VERSION), &folder)?,
    ];
    let helpers = ["--package", "sg-tests", "--bin", "sg-init", "--bin", "sg-systemd"];
    say(built.cargo().arg("build").args(helpers))?;
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
        .args(&packages))
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
