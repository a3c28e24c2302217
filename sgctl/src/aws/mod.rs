//! Security groups and prefix lists of AWS as rules.toml, and a list of what is none of that.

mod convert;
mod document;
mod json;
mod names;
mod rule;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::document::Documents;
use crate::{
    error::{Error, Result},
    input::Input,
};

/// An import's result.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    pub(crate) rules_toml: String,
    /// Different rules that the files have.
    pub(crate) rules: usize,
    pub(crate) carried_over: usize,
    /// Lost rules first.
    pub(crate) not_carried_over: Vec<Left>,
    pub(crate) tagged: Tagged,
}

/// How many objects have tags, which there are none of here. They let nothing in, so they are counted
/// instead of listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tagged {
    pub(crate) groups: usize,
    pub(crate) rules: usize,
    pub(crate) prefix_lists: usize,
}

/// Something that is not in the rules.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    /// Whether it is a rule; else it is something about one, a group or a list.
    pub(crate) is_rule: bool,
    pub(crate) what: String,
    pub(crate) why: String,
}

pub(crate) fn import(inputs: &[Input]) -> Result<Imported> {
    let imported = convert::convert(Documents::read(inputs)?);
    // Valid by construction, but for what no quota admits.
    match sg_policy::rules::parse("imported rules", imported.rules_toml.as_bytes()) {
        Ok(_) => Ok(imported),
        Err(faults) => Err(Error::Failed(format!("no rules.toml can say this:\n{faults}"))),
    }
}
