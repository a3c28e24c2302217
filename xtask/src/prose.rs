//! Counts sentences that are hard to read, in Markdown files and in comments of Rust and TOML files.
//!
//! Two kinds count: a sentence that begins with "What", "That", "Those" or "Whatever", and one of more
//! than 30 words. `xtask/prose-limits.toml` holds the largest counts that lint accepts. A count below its
//! limit is an error, too, so that the limits follow the counts down.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

const LIMITS: &str = "xtask/prose-limits.toml";
const OPENINGS: &[&str] = &["What", "That", "Those", "Whatever"];
const WORDS_AT_MOST: usize = 30;
/// Written by programs, or quoted from others. The corpus and recorded cases are not ours either.
const NOT_OURS: &[&str] = &["LICENSE", "/corpus/", "/testdata/", "/vectors/", "/generated/"];

/// Hard sentences by kind, each with its file and line.
#[derive(Debug, Default)]
struct Count {
    openings: Vec<String>,
    long: Vec<String>,
}

/// Compares the counts over `files`, which are those of the repository, with the limits.
pub(crate) fn check(files: &[String]) -> Result<()> {
    let count = count(files)?;
    let path = workspace::root().join(LIMITS);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let limits: BTreeMap<String, usize> = toml::from_str(&text).context(LIMITS)?;
    for (name, found) in [("openings", &count.openings), ("long", &count.long)] {
        let limit = *limits.get(name).with_context(|| format!("{LIMITS}: no `{name}`"))?;
        let number = found.len();
        ensure!(
            number <= limit,
            "{number} sentences are hard to read ({name}), {LIMITS} allows {limit}; \
             `cargo xtask lint --prose` lists them"
        );
        ensure!(number == limit, "{LIMITS}: lower `{name}` from {limit} to {number}");
    }
    Ok(())
}

/// Prints every hard sentence with its place.
pub(crate) fn list(files: &[String]) -> Result<()> {
    let count = count(files)?;
    for line in count.openings.iter().chain(&count.long) {
        println!("{line}");
    }
    println!("openings = {}\nlong = {}", count.openings.len(), count.long.len());
    Ok(())
}

fn count(files: &[String]) -> Result<Count> {
    let mut count = Count::default();
    for file in files.iter().filter(|file| !NOT_OURS.iter().any(|part| file.contains(part))) {
        let extract: fn(&str) -> Vec<Paragraph> =
            match Path::new(file).extension().and_then(|end| end.to_str()) {
                Some("md") => markdown,
                Some("rs") => |text| comments(text, "//"),
                Some("toml") => |text| comments(text, "#"),
                _ => continue,
            };
        let path = workspace::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if text.lines().take(3).any(|line| line.contains("@generated")) {
            continue;
        }
        for paragraph in extract(&text) {
            for sentence in sentences(&paragraph.text) {
                let place = || format!("{file}:{}: {sentence}", paragraph.line);
                let words = sentence.split_whitespace().count();
                if OPENINGS.contains(&first_word(&sentence)) {
                    count.openings.push(place());
                }
                if words > WORDS_AT_MOST {
                    count.long.push(format!("{} ({words} words)", place()));
                }
            }
        }
    }
    Ok(count)
}

#[derive(Debug, PartialEq, Eq)]
struct Paragraph {
    /// The number of its first line, from 1.
    line: usize,
    text: String,
}

/// Collects lines to paragraphs.
#[derive(Debug, Default)]
struct Collector {
    done: Vec<Paragraph>,
    open: Option<Paragraph>,
}

impl Collector {
    fn line(&mut self, line: usize, text: &str) {
        match &mut self.open {
            Some(paragraph) => {
                paragraph.text.push(' ');
                paragraph.text.push_str(text);
            }
            None => self.open = Some(Paragraph { line, text: text.to_owned() }),
        }
    }

    fn end(&mut self) {
        self.done.extend(self.open.take());
    }

    fn finish(mut self) -> Vec<Paragraph> {
        self.end();
        self.done
    }
}

/// Paragraphs, list items and cells of tables, without code and quotations.
fn markdown(text: &str) -> Vec<Paragraph> {
    let mut collector = Collector::default();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("```") {
            is_code = !is_code;
            collector.end();
            continue;
        }
        if is_code {
            continue;
        }
        if line.starts_with('|') {
            for cell in line.split('|') {
                collector.end();
                collector.line(number + 1, cell.trim());
            }
            collector.end();
            continue;
        }
        if line.is_empty() || line.starts_with(['#', '>', '<']) {
            collector.end();
            continue;
        }
        let item = list_item(line);
        if item.is_some() {
            collector.end();
        }
        collector.line(number + 1, item.unwrap_or(line));
    }
    collector.finish()
}

/// The text behind `- `, `* ` or `1. `.
fn list_item(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
    rest.or_else(|| {
        let (number, rest) = line.split_once(". ")?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
    })
}

/// Runs of lines that consist of a comment, each read as Markdown.
fn comments(text: &str, mark: &str) -> Vec<Paragraph> {
    let mut done = Vec::new();
    let mut block = String::new();
    let mut first = 0;
    for (number, line) in text.lines().chain([""]).enumerate() {
        let comment = line.trim_start().strip_prefix(mark);
        if let Some(comment) = comment {
            if block.is_empty() {
                first = number;
            }
            block.push_str(comment.trim_start_matches(['/', '!', '#']).trim_start());
            block.push('\n');
        } else if !block.is_empty() {
            let shifted = markdown(&block)
                .into_iter()
                .map(|paragraph| Paragraph { line: paragraph.line + first, ..paragraph });
            done.extend(shifted);
            block.clear();
        }
    }
    done
}

/// Splits at full stops, question marks and exclamation marks that end a word. Inline code is one word.
fn sentences(paragraph: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = String::new();
    for word in without_code(paragraph).split_whitespace() {
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(word);
        let word = word.trim_matches(['"', '(', ')', '*', '_']);
        if word.ends_with(['.', '?', '!']) && !matches!(word, "e.g." | "i.e." | "etc." | "vs.") {
            done.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        done.push(open);
    }
    done
}

fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 0 { part } else { "code" }).collect()
}

fn first_word(sentence: &str) -> &str {
    let word = sentence.split_whitespace().next().unwrap_or_default();
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(paragraphs: &[Paragraph]) -> Vec<(usize, &str)> {
        paragraphs.iter().map(|paragraph| (paragraph.line, paragraph.text.as_str())).collect()
    }

    #[test]
    fn comments_are_read_and_code_is_not() {
        let text = "//! One.\n//! Two.\n//!\n//! - item\n\nfn f() {} // no\n    // Three\n\
                    /// ```\n/// code\n/// ```\n/// end\n";
        let found = comments(text, "//");
        assert_eq!(texts(&found), [(1, "One. Two."), (4, "item"), (7, "Three"), (11, "end")]);
    }

    #[test]
    fn a_cell_is_a_paragraph_and_a_quotation_is_none() {
        let found = markdown("# Head\ntext\n> quoted\n| a | That b |\n1. first\n");
        let found: Vec<_> =
            texts(&found).into_iter().filter(|(_, text)| !text.is_empty()).collect();
        assert_eq!(found, [(2, "text"), (4, "a"), (4, "That b"), (5, "first")]);
    }

    #[test]
    fn sentences_end_at_full_stops_outside_of_code() {
        assert_eq!(
            sentences("See `a. b` (e.g. this.) That is 1.5 ms. End"),
            ["See code (e.g. this.)", "That is 1.5 ms.", "End"]
        );
        assert_eq!(first_word("**Those** are"), "Those");
        assert_eq!(first_word("Whatever, then"), "Whatever");
    }
}
