//! A rules file that is applied again and again with small changes.
//!
//! Reading 10,000 rules takes 25 ms, nearly all of it for rules that were there before. A file
//! therefore remembers where the elements of its long arrays stand ([`Outline`]). When the next
//! file begins and ends with the same text, [`reduce()`] leaves out the elements within the common
//! parts. [`restore()`] joins the state of the short rest with the known elements.
//!
//! This is only a short cut. The whole file is read as soon as anything is uncertain: a fault of
//! any kind, or a changed name, quota or family. Only a whole read reports faults.

mod outline;
mod reduce;
mod restore;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::{outline::Outline, reduce::reduce, restore::restore};
use super::{Faults, read};
use crate::model::DesiredState;

/// A valid rules file and its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRules {
    text: Arc<str>,
    state: Arc<DesiredState>,
    outline: Outline,
}

impl ParsedRules {
    /// Reads the `text` of the rules file called `file`.
    ///
    /// # Errors
    /// All faults of the file.
    pub fn read(file: &str, text: impl Into<Arc<str>>) -> Result<Self, Faults> {
        Self::default().read_next(file, text)
    }

    /// The same, with less work where little has changed since this one.
    ///
    /// # Errors
    /// All faults of the file.
    pub fn read_next(&self, file: &str, text: impl Into<Arc<str>>) -> Result<Self, Faults> {
        let text = text.into();
        if let Some((state, outline)) = self.changed_to(&text) {
            return Ok(Self { text, state: Arc::new(state), outline });
        }
        let (state, root) = read(file, &text)?;
        let outline = Outline::of(&root);
        drop(root);
        Ok(Self { text, state: Arc::new(state), outline })
    }

    pub fn state(&self) -> &Arc<DesiredState> {
        &self.state
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The state of `text`, or `None` if the changed parts alone do not make it certain.
    fn changed_to(&self, text: &str) -> Option<(DesiredState, Outline)> {
        let reduced = reduce(&self.text, &self.outline, text)?;
        restore(&self.state, &self.outline, &reduced)
    }
}
