//! How shared values and families are written by serde. A state is data, so a store can keep one that no
//! rules file says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shared::{Shared, SharedVec};

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

impl<T: Serialize> Serialize for SharedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de, T: Deserialize<'de> + Clone> Deserialize<'de> for SharedVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

/// A family as 4 or 6, for `#[serde(with)]`.
pub(crate) mod family {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
    use sg_common::Family;

    pub(crate) fn serialize<S: Serializer>(
        family: &Option<Family>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let number = |family: &Family| match family {
            Family::V4 => 4u8,
            Family::V6 => 6,
        };
        family.as_ref().map(number).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Family>, D::Error> {
        match Option::<u8>::deserialize(deserializer)? {
            None => Ok(None),
            Some(4) => Ok(Some(Family::V4)),
            Some(6) => Ok(Some(Family::V6)),
            Some(other) => Err(D::Error::custom(format!("there is no IP version {other}"))),
        }
    }
}
