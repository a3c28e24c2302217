//! Where things are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of it").to_owned()
}

/// Cargo's target folder, `CARGO_TARGET_DIR` respected.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_else(|_| root()).join(dir),
        None => root().join("target"),
    }
}

/// The repository's files, from its root: those that are committed, and new ones that are not ignored.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("cannot run git")?;
    ensure!(list.status.success(), "git does not say which files there are");
    let list = String::from_utf8(list.stdout)?;
    // One that is deleted and not committed yet is listed, too.
    let is_there = |file: &&str| root().join(file).exists();
    Ok(list.split_terminator('\0').filter(is_there).map(str::to_owned).collect())
}
