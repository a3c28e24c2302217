//! Names and descriptions: their allowed characters, and looking names up ignoring case.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use super::{
    fault::Findings,
    table::{Section, Value, brief, string},
};

/// EC2's character set for names and descriptions, besides letters and digits.
const PUNCTUATION: &str = " ._-:/()#,@[]+=&;{}!$*";
const LONGEST: usize = 255;

/// A name that must not begin like one that the cloud gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameKind {
    /// For messages: "security group".
    pub(super) what: &'static str,
    pub(super) with_article: &'static str,
    pub(super) reserved: &'static str,
}

pub(super) const GROUP: NameKind =
    NameKind { what: "security group", with_article: "a security group", reserved: "sg-" };
pub(super) const LIST: NameKind =
    NameKind { what: "prefix list", with_article: "a prefix list", reserved: "com.amazonaws" };

impl NameKind {
    /// The `name` of a section, trailing spaces trimmed. One that is refused is returned all the
    /// same, so that references to it are not reported as well.
    pub(super) fn read<'t>(
        self,
        section: &Section<'t, '_>,
        findings: &mut Findings,
    ) -> Option<&'t str> {
        let value = section.require("name", findings)?;
        let name = string(value, "`name`", findings)?.trim_end_matches(' ');
        if name.is_empty() {
            findings.add(value.span(), format!("{}'s name cannot be empty", self.with_article));
            return None;
        }
        if let Some((message, help)) = self.reserved_fault(name) {
            findings.add(value.span(), message).help(help);
        }
        check_text(value, name, "a name", findings);
        Some(name)
    }

    fn reserved_fault(self, name: &str) -> Option<(String, &'static str)> {
        let reserved = name.get(..self.reserved.len());
        let is_reserved = reserved.is_some_and(|start| start.eq_ignore_ascii_case(self.reserved));
        is_reserved.then(|| {
            let message =
                format!("{}'s name cannot begin with `{}`", self.with_article, self.reserved);
            (message, "EC2 reserves this prefix")
        })
    }

    /// The fault of a name that is there, and how to mend it.
    pub(super) fn fault(self, name: &str) -> Option<(String, String)> {
        let reserved = self.reserved_fault(name).map(|(message, help)| (message, help.to_owned()));
        reserved.or_else(|| text_fault(name, "a name"))
    }
}

/// The `description` of a section; absent is empty.
pub(super) fn description(section: &Section<'_, '_>, findings: &mut Findings) -> String {
    let Some(text) = section.string("description", findings) else { return String::new() };
    if let Some(value) = section.get("description") {
        check_text(value, text, "a description", findings);
    }
    text.to_owned()
}

fn check_text(value: &Value<'_>, text: &str, what: &str, findings: &mut Findings) {
    let Some((message, help)) = text_fault(text, what) else { return };
    let finding = findings.add(value.span(), message);
    if !help.is_empty() {
        finding.help(help);
    }
}

/// The fault of a name or a description, and how to mend it.
pub(super) fn text_fault(text: &str, what: &str) -> Option<(String, String)> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || PUNCTUATION.contains(c);
    if let Some(other) = text.chars().find(|c| !allowed(*c)) {
        let help = format!("letters, digits, spaces and {} are allowed", PUNCTUATION.trim_start());
        return Some((format!("{what} cannot contain {other:?}"), help));
    }
    let message = || format!("{what} has at most {LONGEST} characters, not {}", text.len());
    (text.len() > LONGEST).then(|| (message(), String::new()))
}

/// Definitions by name, ignoring case.
#[derive(Debug)]
pub(super) struct Names<'t> {
    kind: NameKind,
    by_name: HashMap<Cow<'t, str>, usize>,
    definitions: Vec<(&'t str, Range<usize>)>,
}

impl<'t> Names<'t> {
    pub(super) fn new(kind: NameKind) -> Self {
        Self { kind, by_name: HashMap::new(), definitions: Vec::new() }
    }

    /// Adds a definition; its number, or a fault if the name is taken.
    pub(super) fn define(
        &mut self,
        name: &'t str,
        span: Range<usize>,
        findings: &mut Findings,
    ) -> Option<usize> {
        let number = self.definitions.len();
        let earlier = *self.by_name.entry(folded(name)).or_insert(number);
        if earlier == number {
            self.definitions.push((name, span));
            return Some(number);
        }
        let (_, first) = &self.definitions[earlier];
        findings
            .add(span, format!("the {} \"{name}\" is defined twice", self.kind.what))
            .help("names have to differ in more than case")
            .related(first.clone(), "first defined here")
            .global();
        None
    }

    /// The number of the definition that a reference in the file means.
    pub(super) fn resolve(&self, value: &Value<'_>, findings: &mut Findings) -> Option<usize> {
        let what = self.kind.what;
        let name = string(value, &format!("the name of a {what}"), findings)?;
        let trimmed = name.trim_end_matches(' ');
        let found = self.by_name.get(folded(trimmed).as_ref()).copied();
        if found.is_none() {
            let hint = if !findings.wants_hints() {
                None
            } else if let Some(near) = nearest(trimmed, self.all()) {
                Some(format!("did you mean \"{near}\"?"))
            } else if self.definitions.is_empty() {
                Some(format!("the file defines no {what}"))
            } else {
                None
            };
            let message = format!("there is no {what} \"{}\"", brief(name));
            let finding = findings.add(value.span(), message).global();
            if let Some(hint) = hint {
                finding.help(hint);
            }
        }
        found
    }

    /// As the definition spells it.
    pub(super) fn name(&self, number: usize) -> &'t str {
        self.definitions[number].0
    }

    fn all(&self) -> impl Iterator<Item = &'t str> {
        self.definitions.iter().map(|(name, _)| *name)
    }
}

fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

/// The candidate that `word` may have been meant to be.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    let near = candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 3)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= (word.chars().count() / 3).clamp(1, 3))
        .map(|(_, candidate)| candidate)
}
