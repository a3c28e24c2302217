//! Typed access to TOML values. It reports faults and goes on.

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{fault::Findings, names::nearest};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A table of the file, with the keys it may have.
#[derive(Clone, Debug)]
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    /// The header, or the whole of an inline table.
    pub(super) span: Range<usize>,
    /// With its article, for messages: "a rule".
    what: &'static str,
}

impl<'t, 'i> Section<'t, 'i> {
    /// Reports keys that are not among `known`.
    pub(super) fn new(
        table: &'t DeTable<'i>,
        span: Range<usize>,
        what: &'static str,
        known: &[&str],
        findings: &mut Findings,
    ) -> Self {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{what} has the keys {}", listed(known)),
            };
            findings.add(key.span(), format!("unknown key `{}` in {what}", brief(name))).help(help);
        }
        Self { table, span, what }
    }

    /// The same for a value that has to be a table.
    pub(super) fn of(
        value: &'t Value<'i>,
        what: &'static str,
        known: &[&str],
        findings: &mut Findings,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type(value, what, "a table", findings);
            return None;
        };
        Some(Self::new(table, value.span(), what, known, findings))
    }

    /// The name of a value whose keys are reported elsewhere.
    pub(super) fn name_only(
        value: &'t Value<'i>,
        what: &'static str,
        findings: &mut Findings,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type(value, what, "a table", findings);
            return None;
        };
        Some(Self { table, span: value.span(), what })
    }

    /// Where the key's value stands, or else the table.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        self.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Value<'i>> {
        self.table.get(key)
    }

    pub(super) fn require(&self, key: &str, findings: &mut Findings) -> Option<&'t Value<'i>> {
        let value = self.get(key);
        if value.is_none() {
            findings.add(self.span.clone(), format!("{} needs `{key}`", self.what)).global();
        }
        value
    }

    pub(super) fn boolean(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        let value = self.get(key)?;
        let DeValue::Boolean(boolean) = value.get_ref() else {
            wrong_type(value, &format!("`{key}`"), "true or false", findings);
            return None;
        };
        Some(*boolean)
    }

    pub(super) fn string(&self, key: &str, findings: &mut Findings) -> Option<&'t str> {
        string(self.get(key)?, &format!("`{key}`"), findings)
    }

    /// An integer of `range`.
    pub(super) fn number(
        &self,
        key: &str,
        range: Range<u32>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let value = self.get(key)?;
        let what = format!("`{key}`");
        let Some(number) = integer(value) else {
            wrong_type(value, &what, "an integer", findings);
            return None;
        };
        let valid = u32::try_from(number).ok().filter(|number| range.contains(number));
        if valid.is_none() {
            let (least, most) = (range.start, range.end - 1);
            findings.add(value.span(), format!("{what} is {least} to {most}, not {number}"));
        }
        valid
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let word = self.string(key, findings)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            findings
                .add(self.place(key), format!("`{key}` cannot be \"{}\"", brief(word)))
                .help(format!("it is one of {}", listed(&names)));
        }
        found.map(|(_, choice)| *choice)
    }

    /// The values of an array; empty if the key is absent.
    pub(super) fn array(&self, key: &str, findings: &mut Findings) -> Option<&'t DeArray<'i>> {
        let value = self.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            wrong_type(value, &format!("`{key}`"), "an array", findings);
            return None;
        };
        Some(array)
    }
}

pub(super) fn string<'t>(
    value: &'t Value<'_>,
    what: &str,
    findings: &mut Findings,
) -> Option<&'t str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        wrong_type(value, what, "a string", findings);
    }
    text
}

/// The value of an integer, beyond 64 bits too; `None` for any other type.
pub(super) fn integer(value: &Value<'_>) -> Option<i128> {
    let DeValue::Integer(integer) = value.get_ref() else { return None };
    let huge = if integer.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
    Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(huge))
}

pub(super) fn wrong_type(value: &Value<'_>, what: &str, wanted: &str, findings: &mut Findings) {
    let article = if value.get_ref().type_str().starts_with(['a', 'i']) { "an" } else { "a" };
    let found = value.get_ref().type_str();
    findings.add(value.span(), format!("{what} has to be {wanted}, not {article} {found}"));
}

/// Text from the file for a message, cut where it is long.
pub(super) fn brief(text: &str) -> Cow<'_, str> {
    let clean =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    if text.len() <= 80 && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown: String = text.chars().take(60).map(clean).collect();
    if text.chars().nth(60).is_some() {
        shown.push_str("...");
    }
    Cow::Owned(shown)
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
