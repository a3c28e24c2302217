//! The list of mutations.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace;

/// See the head of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutation {
    pub(super) name: String,
    pub(super) file: String,
    from: String,
    to: String,
    #[serde(default = "end_to_end")]
    pub(super) package: String,
    pub(super) tests: Vec<String>,
    /// Where the tests of sg-tests are.
    #[serde(default = "differential")]
    pub(super) binary: String,
    /// The tests run the agent's binary.
    #[serde(default)]
    pub(super) agent: bool,
}

fn end_to_end() -> String {
    "sg-tests".to_owned()
}

fn differential() -> String {
    "differential".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

pub(super) fn read() -> Result<Vec<Mutation>> {
    let path = workspace::root().join("tests/mutations.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(toml::from_str::<List>(&text).with_context(|| path.display().to_string())?.mutation)
}

impl Mutation {
    /// The file's text with the bug in it.
    pub(super) fn applied(&self, text: &str) -> String {
        text.replacen(&self.from, &self.to, 1)
    }

    /// Why it is of no use now.
    pub(super) fn fault(&self) -> Option<String> {
        let text = fs::read_to_string(workspace::root().join(&self.file)).unwrap_or_default();
        match text.matches(&self.from).count() {
            1 => {}
            count => {
                let Self { name, file, from, .. } = self;
                return Some(format!("{name}: {file} has this {count} times: {from}"));
            }
        }
        let missing = |test: &&String| {
            let function = test.rsplit("::").next().unwrap_or_default();
            !names(&self.folder(), function)
        };
        let missing = self.tests.iter().find(missing)?;
        Some(format!("{}: {} has no test or module {missing}", self.name, self.package))
    }

    fn folder(&self) -> PathBuf {
        // The one package whose folder is called otherwise.
        let folder = if self.package == "sg-tests" { "tests" } else { &self.package };
        workspace::root().join(folder)
    }

    /// The tests as an expression of nextest.
    pub(super) fn expression(&self) -> String {
        let tests: Vec<_> = self.tests.iter().map(|test| format!("test({test})")).collect();
        tests.join(" | ")
    }
}

/// Whether a function or a module of this name is in a folder's Rust files.
fn names(folder: &Path, name: &str) -> bool {
    let function = format!("fn {name}(");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return path.ends_with(name) || names(&path, name);
        }
        path.extension().is_some_and(|extension| extension == "rs")
            && (path.file_stem().is_some_and(|stem| stem == name)
                || fs::read_to_string(&path).is_ok_and(|text| text.contains(&function)))
    })
}
