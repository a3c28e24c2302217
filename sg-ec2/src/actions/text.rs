//! Names and descriptions: which letters EC2 takes.

use crate::error::Error;

const MAX_CHARS: usize = 255;
const PUNCTUATION: &str = " ._-:/()#,@[]+=&;{}!$*";

/// Whether a text has at most 255 characters, all from EC2's set.
fn is_plain(text: &str) -> bool {
    text.chars().count() <= MAX_CHARS
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || PUNCTUATION.contains(letter))
}

/// `what` is `security group description` or the like.
pub(super) fn check(text: &str, what: &str) -> Result<(), Error> {
    if is_plain(text) {
        return Ok(());
    }
    let noun = what.rsplit(' ').next().unwrap_or(what);
    Err(Error::invalid(format!(
        "Invalid {what}. Valid {noun}s are strings less than 256 characters from the following set:  \
         a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*"
    )))
}

pub(super) fn check_rule_description(text: &str) -> Result<(), Error> {
    check(text, "rule description")
}

/// A group's name: without the spaces at its end, which EC2 cuts off.
pub(super) fn group_name(text: &str) -> Result<&str, Error> {
    let name = text.trim_end_matches(' ');
    if name.is_empty() {
        return Err(Error::missing("GroupName"));
    }
    check(name, "security group name")?;
    if name.to_ascii_lowercase().starts_with("sg-") {
        return Err(Error::invalid(format!(
            "Invalid group name '{name}'. Group names may not be in the format sg-*"
        )));
    }
    if name.eq_ignore_ascii_case("default") {
        return Err(Error::invalid("Cannot use reserved security group name: default"));
    }
    Ok(name)
}
