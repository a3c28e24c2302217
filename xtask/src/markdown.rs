//! Files that Markdown files refer to must be in the repository: linked files and headings, and
//! files that the text names.

use std::{
    collections::HashSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// Endings of file names that a text must not invent. Kernel sources (`.c`, `.h`) are named, too.
const ENDINGS: &[&str] =
    &[".json", ".md", ".proto", ".py", ".rs", ".service", ".sh", ".svg", ".toml", ".yml"];
/// Files of users, of state directories and of Rust's build tools, which texts name and the
/// repository lacks.
const OTHERS: &[&str] = &["Cross.toml", "revisions/N.json", "revisions/N.toml", "state.json"];

/// Checks all Markdown files among `files`, which are those of the repository.
pub(crate) fn check(files: &[String]) -> Result<()> {
    let repository = Repository::new(files);
    let (mut faults, mut references) = (Vec::new(), 0);
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        let path = workspace::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let read = |other: &str| fs::read_to_string(workspace::root().join(other)).ok();
        for reference in references_of(&text) {
            references += 1;
            if let Some(fault) = repository.fault(file, &reference, read) {
                faults.push(format!("{file}: {fault}"));
            }
        }
    }
    ensure!(references > 0, "no Markdown file refers to anything: this check is broken");
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Reference {
    /// `[text](target)`, less those that lead to other sites.
    Link(String),
    /// A file's name in the text, which may lack the first folders.
    Name(String),
    /// A text that may be a path from the repository's root: `tests/tests/fields`.
    Path(String),
}

/// References of a text, without its blocks of code.
fn references_of(text: &str) -> Vec<Reference> {
    let mut references = Vec::new();
    for line in lines_of_prose(text) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.contains("://") && !target.starts_with("mailto:") {
                references.push(Reference::Link(target.to_owned()));
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./*<>:~$…".contains(c);
        for word in line.split(|c: char| !is_part(c)) {
            let word = word.trim_end_matches(['.', ':']);
            let word = word.trim_end_matches('/');
            if is_file_name(word) {
                references.push(Reference::Name(word.to_owned()));
            } else if word.contains('/') && is_plain(word) && !word.starts_with(['/', '.']) {
                references.push(Reference::Path(word.to_owned()));
            }
        }
    }
    references
}

fn lines_of_prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

fn is_file_name(word: &str) -> bool {
    let has_name = ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending));
    is_plain(word) && has_name && !word.starts_with(['/', '.']) && !OTHERS.contains(&word)
}

/// No placeholder, glob or address.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

struct Repository<'a> {
    files: HashSet<&'a str>,
    folders: HashSet<&'a Path>,
}

impl<'a> Repository<'a> {
    fn new(files: &'a [String]) -> Self {
        Self {
            files: files.iter().map(String::as_str).collect(),
            folders: files.iter().flat_map(|file| Path::new(file).ancestors().skip(1)).collect(),
        }
    }

    /// The fault of a reference in `file`. `read` gives a file's text.
    fn fault(
        &self,
        file: &str,
        reference: &Reference,
        read: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        match reference {
            Reference::Link(target) => {
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { file.to_owned() } else { join(file, path) };
                if !self.has(&path) {
                    return Some(format!("a link leads to {target}, which is not there"));
                }
                let is_there =
                    || headings(&read(&path).unwrap_or_default()).any(|it| it == heading);
                (!heading.is_empty() && !is_there())
                    .then(|| format!("a link leads to {target}; {path} has no such heading"))
            }
            Reference::Name(name) => {
                let ending = format!("/{name}");
                let is_there = self.has(&join(file, name))
                    || self.files.iter().any(|file| file == name || file.ends_with(&ending));
                (!is_there).then(|| format!("no file of the repository is called {name}"))
            }
            Reference::Path(path) => {
                // Only files of this repository count, not those of the kernel's sources or a
                // running system.
                let top = Path::new(path.split('/').next().unwrap_or_default());
                (self.folders.contains(top) && !self.has(path))
                    .then(|| format!("the repository has no {path}"))
            }
        }
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains(path) || self.folders.contains(Path::new(path))
    }
}

/// `path` as seen from the folder of `file`.
fn join(file: &str, path: &str) -> String {
    let mut joined = PathBuf::new();
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => drop(joined.pop()),
            Component::CurDir => {}
            part => joined.push(part),
        }
    }
    joined.display().to_string()
}

/// The headings of a text as links name them: GitHub's anchors.
fn headings(text: &str) -> impl Iterator<Item = String> {
    lines_of_prose(text).filter_map(|line| {
        let title = line.trim_start_matches('#');
        let title = (title.len() < line.len()).then_some(title)?.trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a text in `docs/guide.md`.
    fn faults(text: &str) -> Vec<String> {
        let files = ["README.md", "docs/guide.md", "tests/tests/race.rs"].map(str::to_owned);
        let repository = Repository::new(&files);
        let read = |file: &str| (file == "README.md").then(|| "# sg\n## Try it\n".to_owned());
        let references = references_of(text);
        references.iter().filter_map(|it| repository.fault("docs/guide.md", it, read)).collect()
    }

    #[test]
    fn links_lead_to_files_folders_and_headings() {
        let good = "[a](../README.md), [b](../README.md#try-it), [c](../tests), [d](guide.md)\n\
                    [e](https://example.invalid/none.html)\n```text\n[f](none.md)\n```\n";
        assert_eq!(faults(good), Vec::<String>::new());
        assert_eq!(faults("[a](README.txt)").len(), 1);
        assert_eq!(faults("[a](../README.md#try)").len(), 1);
        assert_eq!(faults("[a](../none)").len(), 1);
    }

    #[test]
    fn files_that_a_text_names_are_there() {
        let good =
            "See `race.rs`, `tests/race.rs`, README.md, /etc/sg/agent.toml, net/core/dev.c.\n";
        assert_eq!(faults(good), Vec::<String>::new());
        assert_eq!(faults("See `races.rs`."), ["no file of the repository is called races.rs"]);
        assert_eq!(faults("As design.md says.").len(), 1);
        assert_eq!(faults("See `race.rs/README.md`.").len(), 1);
        assert_eq!(faults("In tests/tests or `tests/tests/`, net/core, a/b.").len(), 0);
        assert_eq!(faults("In `tests/state`."), ["the repository has no tests/state"]);
    }
}
