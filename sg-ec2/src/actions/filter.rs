//! Filters: values of one are alternatives, and all filters must hold. `*` and `?` are wildcards, `\` takes their meaning
//! away. Names and values are case-sensitive.

use sg_store::objects::Tags;

use crate::{error::Error, generated::ec2::Filter};

const MAX_FILTERS: usize = 50;
const MAX_VALUES: usize = 200;

/// Filters whose names are known.
pub(super) struct Filters<'r>(Vec<(&'r str, Vec<Pattern>)>);

impl<'r> Filters<'r> {
    /// Checks names: those in `known`, and `tag:KEY`, `tag-key` and `tag-value`.
    pub(super) fn read(filters: &'r [Filter], known: &[&str]) -> Result<Self, Error> {
        let values: usize = filters.iter().map(|filter| filter.values.len()).sum();
        if filters.len() > MAX_FILTERS || values > MAX_VALUES {
            let message =
                format!("A request has at most {MAX_FILTERS} filters with {MAX_VALUES} values");
            return Err(Error::new("FilterLimitExceeded", message));
        }
        let read = |filter: &'r Filter| {
            let name = filter.name.as_deref().ok_or_else(|| Error::missing("Filter.Name"))?;
            let is_known =
                known.contains(&name) || name.starts_with("tag:") || TAGS.contains(&name);
            if !is_known {
                return Err(Error::invalid(format!("The filter '{name}' is invalid")));
            }
            if filter.values.is_empty() {
                return Err(Error::invalid(format!("The filter '{name}' has no value")));
            }
            Ok((name, filter.values.iter().map(|value| Pattern::new(value)).collect()))
        };
        Ok(Self(filters.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether all filters hold. `values` gives the object's values for a filter's name.
    pub(super) fn hold(&self, tags: &Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, patterns)| {
            let is_match = |value: &str| patterns.iter().any(|pattern| pattern.matches(value));
            match *name {
                "tag-key" => tags.keys().any(|key| is_match(key)),
                "tag-value" => tags.values().any(|value| is_match(value)),
                name => match name.strip_prefix("tag:") {
                    Some(key) => tags.get(key).is_some_and(|value| is_match(value)),
                    None => values(name).iter().any(|value| is_match(value)),
                },
            }
        })
    }

    /// The plain values of a filter: those of ids are checked for their form.
    pub(super) fn values<'f>(
        filters: &'f [Filter],
        name: &str,
    ) -> impl Iterator<Item = &'f String> {
        let named = move |filter: &&Filter| filter.name.as_deref() == Some(name);
        let named: Vec<_> = filters.iter().filter(named).collect();
        named.into_iter().flat_map(|filter| &filter.values)
    }
}

const TAGS: &[&str] = &["tag-key", "tag-value"];

/// A value with wildcards.
struct Pattern(Vec<Part>);

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Letter(char),
    AnyLetter,
    AnyText,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut letters = text.chars();
        let mut parts = Vec::new();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' => Part::AnyText,
                '?' => Part::AnyLetter,
                '\\' => Part::Letter(letters.next().unwrap_or('\\')),
                letter => Part::Letter(letter),
            });
        }
        Self(parts)
    }

    /// Goes back to the last `*` only, so a text costs its length times the pattern's.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut letter) = (0, 0);
        let mut star = None;
        while letter < text.len() {
            match self.0.get(part) {
                Some(Part::AnyText) => {
                    star = Some((part, letter));
                    part += 1;
                    continue;
                }
                Some(Part::AnyLetter) => {}
                Some(Part::Letter(expected)) if *expected == text[letter] => {}
                _ => match star {
                    Some((at, from)) => {
                        star = Some((at, from + 1));
                        (part, letter) = (at + 1, from + 1);
                        continue;
                    }
                    None => return false,
                },
            }
            part += 1;
            letter += 1;
        }
        self.0[part..].iter().all(|part| *part == Part::AnyText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "acbc", true),
            ("a*d", "abc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("??", "éa", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\?", "a?", true),
            ("a\\?", "ab", false),
            ("a\\\\", "a\\", true),
            ("a\\", "a\\", true),
            ("**", "", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
        let slow = "a*".repeat(60) + "b";
        assert!(!Pattern::new(&slow).matches(&"a".repeat(255)));
    }
}
