//! The object under an index or guard key.

use serde::{Deserialize, Serialize};

use crate::key::{Index, Key};

/// An index or a guard with what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The index, as in its key: the key's text says all of it.
    #[serde(with = "text")]
    pub index: Index,
    /// Who holds the name or address, or the outcome of a request; empty for a guard.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub holder: String,
    /// How much of a quota is used; 0 for all else.
    #[serde(default, skip_serializing_if = "super::fields::is_default")]
    pub count: u64,
}

impl IndexEntry {
    /// Somebody holds the name, the address or the access key.
    pub fn held(index: Index, holder: &impl ToString) -> Self {
        Self { index, holder: holder.to_string(), count: 0 }
    }

    /// `count` of the quota is used.
    pub fn counted(index: Index, count: u64) -> Self {
        Self { index, holder: String::new(), count }
    }

    /// A guard, which only its revision matters of.
    pub fn guard(index: Index) -> Self {
        Self { index, holder: String::new(), count: 0 }
    }

    pub(super) fn own_key(&self) -> Key {
        Key::Index(self.index.clone())
    }
}

mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::key::{Index, Key, ROOT};

    pub(super) fn serialize<S: Serializer>(index: &Index, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(index)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Index, D::Error> {
        let text = String::deserialize(d)?;
        match format!("{ROOT}x/{text}").parse() {
            Ok(Key::Index(index)) => Ok(index),
            _ => Err(serde::de::Error::custom(format!("{text:?} is no index"))),
        }
    }
}
