//! Holds documents against the code: TESTING.md's coverage table, the README's reasons, the files
//! of the package.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use sg_agent::config::{Cli, Config};
use sg_common::Reason;
use sg_policy::model::Settings;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Cells of the rows of the table under this heading.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no {heading}");
    let rows = lines.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        // A bar inside a cell is written `\|`.
        let line = line.replace("\\|", "\u{1}");
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    rows.skip(2).map(cells).collect()
}

/// Sentence and tests.
fn coverage() -> Vec<(String, String)> {
    held("## Coverage of the semantics")
}

/// Claims under this heading of TESTING.md, and the tests that hold them.
fn held(heading: &str) -> Vec<(String, String)> {
    let rows = table(&read("TESTING.md"), heading);
    rows.into_iter()
        .map(|row| match <[String; 2]>::try_from(row) {
            Ok([sentence, tests]) => (sentence, tests),
            Err(row) => panic!("not two cells: {row:?}"),
        })
        .collect()
}

/// Words only, in small letters: a table may cut a sentence where the document ends one.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The table's rows, one after the other, are the document: a sentence that is new in it, or is
/// not there any more, is seen.
#[test]
fn every_sentence_of_the_semantics_has_a_row() {
    let document = read("docs/semantics.md");
    let text = document.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let text = plain(&text);
    let mut rest = text.as_str();
    for (sentence, _) in coverage() {
        let sentence = plain(&sentence);
        let Some(after) = rest.strip_prefix(&sentence) else {
            let next: String = rest.chars().take(sentence.len() + 40).collect();
            panic!("TESTING.md has\n  {sentence}\nwhere docs/semantics.md has\n  {next}");
        };
        rest = after.trim_start();
    }
    assert_eq!(rest, "", "docs/semantics.md goes on after TESTING.md's last row");
}

/// `a::b::name` is a function `name` under `#[test]`, or in a table of tests, of a file whose path has
/// `a` and `b` in this order.
#[test]
fn every_test_that_is_named_exists() {
    let mut sources = Vec::new();
    for folder in [
        "sg-policy/src",
        "sg-common",
        "sg-agent/src",
        "sg-api/src",
        "sg-iam/src",
        "sg-ec2/src",
        "sg-datapath/src",
        "sgctl",
        "tests/tests",
    ] {
        collect(&root().join(folder), &mut sources);
    }
    let (mut named, mut missing) = (0, vec![]);
    let tried = held("## Tried by others");
    assert!(tried.iter().all(|(_, tests)| tests.contains('`')), "a line without a test");
    for (sentence, tests) in coverage().into_iter().chain(tried) {
        for test in tests.split('`').skip(1).step_by(2) {
            let (modules, name) = test.rsplit_once("::").unwrap_or(("", test));
            let place = modules.replace("::", "/");
            let parts: Vec<&str> = place.split('/').collect();
            let found = sources.iter().any(|(path, text)| {
                let mut of_path = path.iter().map(|part| part.to_string_lossy());
                let in_order = parts
                    .iter()
                    .all(|part| of_path.any(|of| of.strip_suffix(".rs").unwrap_or(&of) == *part));
                in_order && text.contains(&format!("fn {name}("))
            });
            if !found {
                missing.push(format!("{test} for: {sentence}"));
            }
            named += 1;
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
    assert!(named > 100, "only {named} tests are named");
}

/// Whole sentences are covered by a test or say why there is none.
#[test]
fn no_row_is_empty() {
    for (sentence, tests) in coverage() {
        assert!(!tests.is_empty(), "nothing for: {sentence}");
    }
}

/// One list of reasons: the README has them all, with their verdicts, in the order of the numbers.
#[test]
fn the_readme_has_every_reason() {
    let rows = table(&read("README.md"), "### Reasons");
    let shown: Vec<String> =
        rows.iter().map(|row| format!("{} {}", row[0].trim_matches('`'), row[1])).collect();
    let verdict = |reason: &Reason| if reason.allowed() { "allowed" } else { "dropped" };
    let listed: Vec<String> =
        Reason::ALL.iter().map(|reason| format!("{} {}", reason.name(), verdict(reason))).collect();
    assert_eq!(shown, listed);
}

/// The first block of this language under a heading.
fn block(text: &str, heading: &str, language: &str) -> String {
    let after = text.split_once(heading).unwrap_or_else(|| panic!("no {heading}")).1;
    let block = after.split_once(&format!("```{language}\n")).expect("a block").1;
    block.split_once("```").expect("its end").0.to_owned()
}

/// The README's rules.toml is one, and the settings in it are the defaults, as it says.
#[test]
fn the_readme_s_rules_are_valid() {
    let rules = block(&read("README.md"), "\n## rules.toml\n", "toml");
    let rules = sg_policy::rules::parse("rules.toml", rules.as_bytes()).expect("valid rules");
    assert_eq!(rules.settings, Settings::default());
    assert_eq!((rules.groups.len(), rules.interfaces.len()), (1, 1));
}

/// The README's settings of the flow log are valid.
#[test]
fn the_readme_s_flow_log_is_valid() {
    let folder = sg_tests::sandbox::directory("readme");
    let path = folder.join("agent.toml");
    fs::write(&path, block(&read("README.md"), "\n## Flow log\n", "toml")).expect("a file");
    let args = ["sg-agent", "--config", path.to_str().expect("UTF-8")];
    let config = Config::load(&Cli::try_parse_from(args).expect("flags")).expect("settings");
    let log = config.flow_log.expect("a flow log");
    assert_eq!((log.places.len(), log.interval, log.style.keep), (2, 60, 5));
}

/// The files of the package under /etc/sg are accepted by the programs that read them, and filter
/// nothing.
#[test]
fn the_files_of_the_package_change_nothing() {
    let rules = read("packaging/debian/rules.toml");
    let rules = sg_policy::rules::parse("rules.toml", rules.as_bytes()).expect("valid rules");
    assert!(rules.interfaces.is_empty(), "{:?}", rules.interfaces);
    let settings = |file: &str| {
        let path = root().join(file);
        let args = ["sg-agent", "--config", path.to_str().expect("UTF-8")];
        Config::load(&Cli::try_parse_from(args).expect("flags")).expect("settings")
    };
    let shipped = settings("packaging/debian/agent.toml");
    assert_eq!(shipped, settings("packaging/debian/absent.toml"));
    // Settings are commented out by a `#` without a space behind it. As the file's head says, those
    // above `control` are the defaults, and the others are examples, which are taken too.
    let text = read("packaging/debian/agent.toml");
    let (defaults, _) = text.split_once("#control = ").expect("the first example");
    let folder = sg_tests::sandbox::directory("settings");
    let path = folder.join("agent.toml");
    let in_force = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(' '));
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).expect("a file");
        settings(path.to_str().expect("UTF-8"))
    };
    assert_eq!(Config { metrics: None, ..in_force(defaults) }, shipped);
    let control = in_force(&text).control.expect("a server to follow");
    assert!(!control.closed.is_empty(), "{control:?}");
}

fn collect(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            let path = path.strip_prefix(root()).expect("below the root").to_owned();
            sources.push((path, text));
        }
    }
}
