//! Inside a crate arrows point down, too: no two files need each other, neither directly nor by way
//! of others. An item that both need is in a third file.
//!
//! A file needs another one when a path that begins with `crate`, `self` or `super` leads there. Paths lead
//! to the file that has an item, not to one that re-exports it; tests may need anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Files that do need each other, and why; `a::*` is `a` with all below it. Rows may go, and files in a
/// row; none may come.
const CIRCLES: &[(&str, &[&str])] = &[
    // The compiler's parts read and write one state.
    ("sg-policy", &["compile::*"]),
    // A rule's id is made of its services.
    ("sg-policy", &["id", "model"]),
    ("sg-policy", &["reference::generate::frame", "reference::generate::shape"]),
    ("sg-policy", &["reference::packet", "reference::transport"]),
    ("sg-policy", &["rules::names", "rules::table"]),
];

/// The file whose functions call the parts that the verifier is to check once. Its callers lie
/// below and above it, so its own needs do not count. Without it there is no circle.
const TRAMPOLINES: (&str, &str) = ("sg-ebpf", "global_fns");

const CRATES: [&str; 12] = [
    "sg-common",
    "sg-policy",
    "sg-datapath",
    "sg-api",
    "sg-iam",
    "sg-store",
    "sg-ec2",
    "sg-server",
    "sg-log",
    "sg-agent",
    "sgctl",
    "sg-ebpf",
];

/// Folders of a crate, or files beside them, from top to bottom. A file needs its own folder and rows below.
const LAYERS: &[(&str, &[&[&str]])] = &[(
    "sg-agent",
    &[
        &["agent"],
        &["sources"],
        &["metrics"],
        &["owner"],
        &["kernel", "config"],
        &["observe", "store", "flow_log"],
        &["system"],
    ],
)];

/// `a::b` is `["a", "b"]`; the root of a crate is empty.
type Module = Vec<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of it").to_owned()
}

/// Every file of a crate with its module; those of tests left out.
fn files(folder: &Path, module: &Module, found: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let below = || [&module[..], std::slice::from_ref(&name)].concat();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            files(&path, &below(), found);
        } else if matches!(&*name, "lib" | "main" | "mod") {
            found.insert(module.clone(), path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(below(), path);
        }
    }
}

/// The text without comments and without modules of tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths in a text that begin in this crate, those in braces apart.
fn paths(text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = ["crate::", "self::", "super::"]
        .iter()
        .filter_map(|begin| text[at..].find(begin))
        .min()
        .map(|start| start + at)
    {
        let is_whole = !text[..start].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '_' | ':' | '$')
        });
        at = start + 1;
        if is_whole {
            at = start + path(&text[start..], &Module::new(), &mut found);
        }
    }
    found
}

/// Reads a path, or a tree of them, behind `before`; returns how many bytes it takes.
fn path(text: &str, before: &Module, found: &mut Vec<Module>) -> usize {
    let mut path = before.clone();
    let mut at = 0;
    loop {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        let name: String = text[at..].chars().take_while(|letter| is_name(*letter)).collect();
        at += name.len();
        if !name.is_empty() {
            path.push(name);
        }
        if !text[at..].starts_with("::") {
            break;
        }
        at += 2;
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
                if text[at..].starts_with('}') || text[at..].is_empty() {
                    return at + 1;
                }
                let read = self::path(&text[at..], &path, found);
                // `as NAME`, or what is no path after all.
                at += read;
                let rest = text[at..].find([',', '}']).unwrap_or(text[at..].len());
                at += rest;
            }
        }
    }
    found.push(path);
    at.max(1)
}

/// The file that a path in `from` leads to.
fn target(path: &Module, from: &Module, files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut at = from.clone();
    let mut rest = path.iter().map(String::as_str).peekable();
    if rest.next_if_eq(&"crate").is_some() {
        at.clear();
    }
    while let Some(step) = rest.next_if(|step| matches!(*step, "self" | "super")) {
        if step == "super" {
            at.pop()?;
        }
    }
    for step in rest {
        let next = [&at[..], &[step.to_owned()]].concat();
        if !files.contains_key(&next) {
            break;
        }
        at = next;
    }
    files.contains_key(&at).then_some(at)
}

/// The files that each file needs.
type Needs = BTreeMap<Module, BTreeSet<Module>>;

fn needs(source: &Path) -> Needs {
    let mut found = BTreeMap::new();
    files(source, &Module::new(), &mut found);
    let of = |(module, path): (&Module, &PathBuf)| {
        let text = code(&fs::read_to_string(path).expect("UTF-8"));
        let targets = paths(&text).into_iter().filter_map(|path| target(&path, module, &found));
        (module.clone(), targets.filter(|target| target != module).collect())
    };
    found.iter().map(of).collect()
}

/// All that a file needs, directly or not.
fn reach(needs: &Needs, from: &Module) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from.clone()];
    while let Some(module) = waiting.pop() {
        for next in &needs[&module] {
            if reached.insert(next.clone()) {
                waiting.push(next.clone());
            }
        }
    }
    reached
}

/// Files that need themselves by way of others, those that need each other together.
fn circles(needs: &Needs) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<_, _> =
        needs.keys().map(|module| (module, reach(needs, module))).collect();
    let name = |module: &Module| {
        if module.is_empty() { "crate".to_owned() } else { module.join("::") }
    };
    let circle = |module: &&Module| {
        let mutual =
            |other: &&Module| reached[module].contains(*other) && reached[other].contains(*module);
        let circle: BTreeSet<String> = needs.keys().filter(mutual).map(name).collect();
        (!circle.is_empty()).then_some(circle)
    };
    needs.keys().filter_map(|module| circle(&module)).collect()
}

/// Whether all files of a circle are in a row.
fn covers(row: &[&str], circle: &BTreeSet<String>) -> bool {
    let is_in = |file: &str| {
        row.iter().any(|entry| match entry.strip_suffix('*') {
            Some(folder) => format!("{file}::").starts_with(folder),
            None => *entry == file,
        })
    };
    circle.iter().all(|file| is_in(file))
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let mut needs = needs(&root().join(name).join("src"));
        if name == TRAMPOLINES.0 {
            let trampolines = needs.get_mut(&vec![TRAMPOLINES.1.to_owned()]);
            trampolines.expect("the file of the trampolines").clear();
        }
        let found = circles(&needs);
        let rows: Vec<_> = CIRCLES.iter().filter(|(of, _)| *of == name).collect();
        let others = found.iter().filter(|circle| !rows.iter().any(|row| covers(row.1, circle)));
        wrong.extend(others.map(|circle| format!("{name}: {circle:?}")));
        let gone = rows.iter().filter(|row| !found.iter().any(|circle| covers(row.1, circle)));
        wrong
            .extend(gone.map(|row| format!("{name}: no circle any more, so it goes: {:?}", row.1)));
    }
    assert!(wrong.is_empty(), "files that need each other:\n{}", wrong.join("\n"));
}

#[test]
fn a_folder_needs_only_folders_below_it() {
    let mut wrong = Vec::new();
    for (name, rows) in LAYERS {
        let row_of = |module: &Module| {
            let folder = module.first()?;
            rows.iter().position(|row| row.contains(&folder.as_str()))
        };
        for (module, targets) in needs(&root().join(name).join("src")) {
            let Some(row) = row_of(&module) else { continue };
            let is_wrong = |target: &&Module| {
                target.first() != module.first() && row_of(target).is_some_and(|other| other <= row)
            };
            let say = |target: &Module| {
                format!("{name}: {} needs {}", module.join("::"), target.join("::"))
            };
            wrong.extend(targets.iter().filter(is_wrong).map(say));
        }
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

#[test]
fn paths_are_found_in_trees_and_in_code() {
    let text = "use crate::{\n    a::b,\n    c::{self, D as E},\n};\nfn f() { super::g::h(); x::self::y; }";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::a::b", "crate::c::self", "crate::c::D", "super::g::h"]);
}
