//! A copy of the sources, and what becomes of a mutation in it.

use std::{
    fmt, fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result};

use super::list::Mutation;
use crate::{
    run::{clean, say, shown},
    workspace,
};

/// How nextest says that tests ran and some failed.
const TESTS_FAILED: i32 = 100;

/// A harness's message when the kernel does not take a program, which proves nothing.
const NOT_LOADED: &str = "the programs load";

#[derive(Debug)]
pub(super) enum Outcome {
    /// By the tests that were named for it.
    Caught(Vec<String>),
    /// Only by others.
    CaughtLate(Vec<String>),
    Survived,
    /// It does not compile, or the kernel does not take it.
    Broken(String),
}

impl Outcome {
    pub(super) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::CaughtLate(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(tests) => write!(f, "caught by {}", tests.join(", ")),
            Self::CaughtLate(tests) => write!(f, "caught, but only by {}", tests.join(", ")),
            Self::Survived => write!(f, "SURVIVED"),
            Self::Broken(why) => write!(f, "BROKEN: {why}"),
        }
    }
}

/// The copy. It stays, with a target folder of its own, so that only what changes is built.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Brings the copy up to what the working tree is: without the bug of a run that was
    /// interrupted, and with what is not committed yet.
    pub(super) fn copy() -> Result<Self> {
        let work = workspace::target().join("mutants");
        let tree = Self { root: work.join("tree"), target: work.join("target") };
        let files = workspace::files()?;
        tree.remove_others(&files)?;
        for file in files {
            tree.write(&file, &fs::read(workspace::root().join(&file))?)?;
        }
        Ok(tree)
    }

    /// Removes files that the working tree has no more, so that they are not compiled here either.
    fn remove_others(&self, files: &[String]) -> Result<()> {
        let manifest = self.root.join(".files");
        for old in fs::read_to_string(&manifest).unwrap_or_default().lines() {
            if !files.iter().any(|file| file == old) {
                // It may have gone with an earlier run that was interrupted.
                let _ = fs::remove_file(self.root.join(old));
            }
        }
        fs::create_dir_all(&self.root)?;
        Ok(fs::write(manifest, files.join("\n"))?)
    }

    /// Only what differs, because cargo goes by time stamps.
    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let to = self.root.join(file);
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
        fs::write(&to, bytes).with_context(|| to.display().to_string())
    }

    /// `thorough`: by all tests, where those that were named for it let it through.
    pub(super) fn try_mutation(&self, mutation: &Mutation, thorough: bool) -> Result<Outcome> {
        let original = fs::read_to_string(workspace::root().join(&mutation.file))?;
        self.write(&mutation.file, mutation.applied(&original).as_bytes())?;
        let outcome = self.judge(mutation, thorough);
        self.write(&mutation.file, original.as_bytes())?;
        outcome
    }

    fn judge(&self, mutation: &Mutation, thorough: bool) -> Result<Outcome> {
        let mut nextest = self.cargo(&["nextest", "run", "--fail-fast", "--package"]);
        nextest.arg(&mutation.package).args(["-E", &mutation.expression()]);
        if mutation.package == "sg-tests" {
            // One binary of many: linking them all takes longer than the tests.
            nextest.args(["--test", &mutation.binary]);
            let what = if mutation.agent { "--debug" } else { "--only-bpf" };
            if let Err(error) = say(&mut self.cargo(&["xtask", "build", what])) {
                return Ok(Outcome::Broken(format!("{error:#}")));
            }
            nextest
                .env("SG_BPF_OBJECT", self.target.join("bpf/sg.bpf.o"))
                .env("SG_BIN_DIR", self.target.join("debug"));
        }
        match failures(&mut nextest)? {
            Ok(tests) if tests.is_empty() && thorough => {}
            Ok(tests) if tests.is_empty() => return Ok(Outcome::Survived),
            Ok(tests) => return Ok(Outcome::Caught(tests)),
            Err(why) => return Ok(Outcome::Broken(why)),
        }
        eprintln!("mutants: {} got through; now all tests", mutation.name);
        Ok(match failures(&mut self.cargo(&["xtask", "test"]))? {
            Ok(tests) if tests.is_empty() => Outcome::Survived,
            Ok(tests) => Outcome::CaughtLate(tests),
            Err(why) => Outcome::Broken(why),
        })
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = clean("cargo");
        cargo.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }
}

/// The tests that failed, or why nothing can be said.
fn failures(nextest: &mut Command) -> Result<Result<Vec<String>, String>> {
    eprintln!("+ {}", shown(nextest));
    let Output { status, stdout, stderr } = nextest.output().context("cannot run cargo")?;
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() {
        return Ok(Ok(Vec::new()));
    }
    let failed = failed(&text);
    if failed.is_empty() || status.code().is_some_and(|code| code != TESTS_FAILED && code != 1) {
        let last: Vec<_> = text.lines().filter(|line| line.contains("error")).take(3).collect();
        return Ok(Err(format!("{status}: {}", last.join("; "))));
    }
    if text.contains(NOT_LOADED) {
        return Ok(Err("the kernel does not take the program".to_owned()));
    }
    Ok(Ok(failed))
}

/// From lines like `FAIL [   0.004s] (1/2) package::binary test`.
fn failed(text: &str) -> Vec<String> {
    let mut failed: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            ["FAIL [", "TIMEOUT [", "SIGABRT ["].iter().any(|mark| line.starts_with(mark))
        })
        .filter_map(|line| line.split_whitespace().last().map(str::to_owned))
        .collect();
    failed.sort();
    failed.dedup();
    failed
}
