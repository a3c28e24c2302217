//! The files of every guest: the programs, the test binaries as `cargo xtask test` builds them, and
//! cargo-nextest with its list of tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cpio::Archive;
use crate::{build::Built, run::ask, test, toolchain, workspace};

/// Where the guest has what lies in the workspace's and in cargo's target folder here.
pub(crate) const WORKSPACE: &str = "/workspace";
pub(crate) const TARGET: &str = "/target";
/// Where it has programs.
pub(crate) const PROGRAMS: &str = "/usr/bin";
pub(crate) const BINARIES_METADATA: &str = "/nextest/binaries.json";
pub(crate) const CARGO_METADATA: &str = "/nextest/cargo.json";

/// The package whose tests run in guests.
const PACKAGE: &str = "sg-tests";
/// Programs of this machine that tests and harness call.
const TOOLS: &[&str] = &["cargo-nextest", "ip", "cat", "ethtool"];

/// A program of [`PACKAGE`], built beside its tests.
pub(crate) fn helper(name: &str) -> PathBuf {
    workspace::target().join("debug").join(name)
}

/// The test binary that is run without nextest, in one process, so that it loads the programs once:
/// emulated, that takes longer than most of its tests.
const FIELDS: &str = "sg-tests::fields";

#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// All that a guest has but its kernel's modules and a plan.
    pub(crate) archive: Archive,
    /// Where the guest has [`FIELDS`].
    pub(crate) fields: PathBuf,
}

/// Builds the tests and packs them.
pub(crate) fn build(built: &Built) -> Result<Payload> {
    test::build_tests(built)?;
    let mut archive = Archive::default();
    let mut programs = vec![(helper("sg-init"), PathBuf::from("/init"))];
    for name in ["sg-agent", "sgctl"] {
        programs.push((built.binaries.join(name), Path::new(PROGRAMS).join(name)));
    }
    programs.push((helper("sg-programs"), Path::new(PROGRAMS).join("sg-programs")));
    for tool in TOOLS {
        programs.push((installed(tool)?, Path::new(PROGRAMS).join(tool)));
    }
    let listed = list(built)?;
    programs.extend(test_binaries(&listed)?);
    let stripped = workspace::target().join("vm/stripped");
    for (program, place) in &programs {
        // Debug information is two thirds of a test, and all of it is copied into memory.
        let strip = Command::new(toolchain::strip())
            .args(["--strip-debug", "-o"])
            .args([&stripped, program])
            .status();
        if !strip.is_ok_and(|status| status.success()) {
            bail!("cannot strip {}", program.display());
        }
        archive.copy(&stripped, place)?;
        libraries(program, &mut archive)?;
    }
    archive.text(BINARIES_METADATA, listed.to_string());
    archive.text(CARGO_METADATA, metadata(built)?);
    for file in [".config/nextest.toml", "Cargo.toml", "tests/Cargo.toml"] {
        archive.copy(&workspace::root().join(file), Path::new(WORKSPACE).join(file))?;
    }
    archive.directory("/root");
    let (_, fields) = test_binary(&listed["rust-binaries"][FIELDS])?;
    Ok(Payload { archive, fields })
}

fn installed(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not on this machine"))
}

/// nextest's list of the built tests, without those of other packages.
fn list(built: &Built) -> Result<Value> {
    let listed = ask(built
        .cargo()
        .args(["nextest", "list", "--workspace", "--list-type", "binaries-only"])
        .args(["--message-format", "json"]))
    .context("nextest does not list the tests")?;
    let mut listed: Value = serde_json::from_str(&listed).context("nextest's list")?;
    let binaries = listed["rust-binaries"].as_object_mut().context("no rust-binaries")?;
    binaries.retain(|_, binary| {
        binary["package-name"] == PACKAGE
            || binary["binary-id"].as_str().is_some_and(|id| id.starts_with(PACKAGE))
    });
    Ok(listed)
}

/// The test binaries and where the guest has them.
fn test_binaries(listed: &Value) -> Result<Vec<(PathBuf, PathBuf)>> {
    let binaries = listed["rust-binaries"].as_object().context("no rust-binaries")?;
    binaries.values().map(test_binary).collect()
}

fn test_binary(listed: &Value) -> Result<(PathBuf, PathBuf)> {
    let path = Path::new(listed["binary-path"].as_str().context("a binary without a path")?);
    let inside = path.strip_prefix(workspace::target()).context("a binary outside of target")?;
    Ok((path.to_owned(), Path::new(TARGET).join(inside)))
}

fn metadata(built: &Built) -> Result<String> {
    ask(built.cargo().args(["metadata", "--format-version", "1", "--all-features"]))
        .context("no metadata from cargo")
}

/// The shared libraries of a program, and its loader, where it looks for them.
pub(crate) fn libraries(program: &Path, archive: &mut Archive) -> Result<()> {
    let shown = ask(Command::new("ldd").arg(program))
        .with_context(|| format!("ldd cannot read {}", program.display()))?;
    // `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)`, and the vDSO, which is no file.
    for word in shown.split_whitespace().filter(|word| word.starts_with('/')) {
        if !archive.has(word) {
            archive.copy(&fs::canonicalize(word)?, word)?;
        }
    }
    Ok(())
}
