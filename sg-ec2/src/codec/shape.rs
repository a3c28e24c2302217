//! Ground of the generated shapes: the macros that they are written in, and how each kind of value is read.

use std::{fmt, ops::Deref};

use super::query::Node;
use crate::error::Error;

/// Where a value stands in a request, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    name: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) const ROOT: Place<'static> = Place { above: None, name: "" };

    pub(crate) fn below(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), name }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above.filter(|above| !above.name.is_empty()) {
            write!(f, "{above}.")?;
        }
        f.write_str(self.name)
    }
}

/// A value that a request can hold.
pub(crate) trait FromQuery: Sized {
    /// Reads the value; `node` is `None` where the parameter is absent.
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error>;
}

/// The value of a parameter that has no parts.
fn scalar<'n>(node: Option<&'n Node>, place: &Place<'_>) -> Result<&'n str, Error> {
    let node = node.ok_or_else(|| Error::missing(place))?;
    if let Some(part) = node.parts.keys().next() {
        return Err(Error::unknown_parameter(place.below(part)));
    }
    node.value.as_deref().ok_or_else(|| Error::missing(place))
}

/// A text that is required; an empty one is as good as none.
impl FromQuery for String {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        Ok(scalar(node, place)?.to_owned())
    }
}

impl FromQuery for bool {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        match scalar(node, place)? {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            text => Err(Error::invalid_value(place, text, "It must be true or false")),
        }
    }
}

fn integer<T: std::str::FromStr>(node: Option<&Node>, place: &Place<'_>) -> Result<T, Error> {
    let text = scalar(node, place)?;
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.ok_or_else(|| Error::invalid_value(place, text, "It must be an integer"))
}

impl FromQuery for i32 {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        integer(node, place)
    }
}

impl FromQuery for i64 {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        integer(node, place)
    }
}

impl<T: FromQuery> FromQuery for Option<T> {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        node.map(|node| T::read(Some(node), place)).transpose()
    }
}

/// Items are numbered from 1 without a gap. Some clients send an empty text for a list without items.
impl<T: FromQuery> FromQuery for Vec<T> {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        let Some(node) = node else { return Ok(Self::new()) };
        if node.value.as_deref().is_some_and(|value| !value.is_empty() || !node.parts.is_empty()) {
            return Err(Error::malformed_query(format!("The parameter {place} is a list")));
        }
        // Keys are distinct texts of numbers, so as many as there are must be 1 to that many.
        let item = |number: usize| {
            let number = number.to_string();
            let Some(item) = node.parts.get(&number) else {
                return Err(Error::malformed_query(format!(
                    "The items of {place} are not numbered from 1 without a gap"
                )));
            };
            T::read(Some(item), &place.below(&number))
        };
        (1..=node.parts.len()).map(item).collect()
    }
}

/// A list that a request must have, with one item at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NonEmpty<T>(pub Vec<T>);

impl<T> Deref for NonEmpty<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: FromQuery> FromQuery for NonEmpty<T> {
    fn read(node: Option<&Node>, place: &Place<'_>) -> Result<Self, Error> {
        let items = Vec::read(node, place)?;
        if items.is_empty() { Err(Error::missing(place)) } else { Ok(Self(items)) }
    }
}

/// Refuses parts that a structure does not have.
pub(crate) fn check_parts(
    node: Option<&Node>,
    known: &[&str],
    place: &Place<'_>,
) -> Result<(), Error> {
    let Some(node) = node else { return Ok(()) };
    if node.value.is_some() {
        return Err(Error::malformed_query(format!("The parameter {place} is a structure")));
    }
    match node.parts.keys().find(|part| !known.contains(&part.as_str())) {
        Some(part) => Err(Error::unknown_parameter(place.below(part))),
        None => Ok(()),
    }
}

/// Holds a number against the range that the model gives it.
pub(crate) fn check_range(
    value: Option<i32>,
    range: std::ops::RangeInclusive<i32>,
    place: &Place<'_>,
) -> Result<(), Error> {
    match value {
        Some(value) if value < *range.start() => Err(Error::invalid_value(
            place,
            &value.to_string(),
            &format!("Expecting a value greater than {}", range.start()),
        )),
        Some(value) if value > *range.end() => Err(Error::invalid_value(
            place,
            &value.to_string(),
            &format!("Expecting a value less than {}", range.end()),
        )),
        _ => Ok(()),
    }
}

/// Structures. A `request` is read from a form, an `answer` is written as XML, `both` is both.
macro_rules! shapes {
    (request struct $name:ident {
        $($field:ident: $type:ty = $in_query:literal $(in $range:expr)?;)*
    }) => {
        // No request is made of defaults: an enumeration that it must have has none.
        $crate::codec::shape::shapes!(@struct () $name { $($field: $type;)* });
        $crate::codec::shape::shapes!(@read $name { $($field: $type = $in_query $(in $range)?;)* });
    };
    (answer struct $name:ident { $($field:ident: $type:ty = $in_xml:literal;)* }) => {
        $crate::codec::shape::shapes!(@struct (Default) $name { $($field: $type;)* });
        $crate::codec::shape::shapes!(@write $name { $($field = $in_xml;)* });
    };
    (both struct $name:ident { $($field:ident: $type:ty = $in_query:literal, $in_xml:literal;)* }) => {
        $crate::codec::shape::shapes!(@struct (Default) $name { $($field: $type;)* });
        $crate::codec::shape::shapes!(@read $name { $($field: $type = $in_query;)* });
        $crate::codec::shape::shapes!(@write $name { $($field = $in_xml;)* });
    };
    (@struct ($($trait:ident)?) $name:ident { $($field:ident: $type:ty;)* }) => {
        #[derive(Clone, Debug, PartialEq, Eq $(, $trait)?)]
        pub struct $name {
            $(pub $field: $type,)*
        }
    };
    (@read $name:ident { $($field:ident: $type:ty = $in_query:literal $(in $range:expr)?;)* }) => {
        impl $crate::codec::shape::FromQuery for $name {
            fn read(
                node: Option<&$crate::codec::query::Node>,
                place: &$crate::codec::shape::Place<'_>,
            ) -> Result<Self, $crate::error::Error> {
                $crate::codec::shape::check_parts(node, &[$($in_query),*], place)?;
                $(let $field = <$type as $crate::codec::shape::FromQuery>::read(
                    node.and_then(|node| node.parts.get($in_query)),
                    &place.below($in_query),
                )?;
                $($crate::codec::shape::check_range($field, $range, &place.below($in_query))?;)?)*
                Ok(Self { $($field),* })
            }
        }
    };
    (@write $name:ident { $($field:ident = $in_xml:literal;)* }) => {
        impl $crate::codec::xml::Members for $name {
            fn write_members(&self, xml: &mut $crate::codec::xml::Xml) {
                $($crate::codec::xml::ToXml::write(&self.$field, $in_xml, xml);)*
            }
        }

        impl $crate::codec::xml::ToXml for $name {
            fn write(&self, name: &str, xml: &mut $crate::codec::xml::Xml) {
                xml.open(name);
                $crate::codec::xml::Members::write_members(self, xml);
                xml.close(name);
            }
        }
    };
}

/// Enumerations: texts of the API.
macro_rules! choices {
    (enum $name:ident { $($variant:ident = $text:literal;)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($variant,)*
        }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl $crate::codec::shape::FromQuery for $name {
            fn read(
                node: Option<&$crate::codec::query::Node>,
                place: &$crate::codec::shape::Place<'_>,
            ) -> Result<Self, $crate::error::Error> {
                let text = <String as $crate::codec::shape::FromQuery>::read(node, place)?;
                match &*text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::error::Error::invalid_value(
                        place,
                        &text,
                        concat!("It must be one of", $(" ", $text),*),
                    )),
                }
            }
        }

        impl $crate::codec::xml::ToXml for $name {
            fn write(&self, name: &str, xml: &mut $crate::codec::xml::Xml) {
                xml.element(name, self.as_str());
            }
        }
    };
}

/// The actions of a service: one request of any kind.
macro_rules! actions {
    ($name:ident; $($action:ident($request:ident);)*) => {
        /// A request that is well-formed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($action($request),)*
        }

        impl $name {
            /// Reads the request of an action; `None` where there is no such action.
            pub(crate) fn read(
                action: &str,
                node: &$crate::codec::query::Node,
            ) -> Option<Result<Self, $crate::error::Error>> {
                let root = &$crate::codec::shape::Place::ROOT;
                match action {
                    $(stringify!($action) => Some(
                        <$request as $crate::codec::shape::FromQuery>::read(Some(node), root)
                            .map(Self::$action),
                    ),)*
                    _ => None,
                }
            }

            /// The action's name, as policies and records have it.
            pub fn action(&self) -> &'static str {
                match self {
                    $(Self::$action(_) => stringify!($action),)*
                }
            }
        }
    };
}

pub(crate) use {actions, choices, shapes};

#[cfg(test)]
mod tests;
