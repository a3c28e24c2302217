//! Where the elements of a file's arrays of rules and of prefix list entries stand.

use std::ops::Range;

use sg_common::Direction;
use toml::de::{DeArray, DeTable, DeValue};

use super::super::table::Value;

/// An array of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// `entries` of the prefix list with this number.
    List(usize),
    /// Rules of the group with this number.
    Group(usize, Direction),
}

/// An element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Bytes of the file.
    pub(super) span: Range<usize>,
    /// Rules or entries that it makes.
    pub(super) makes: usize,
}

/// The arrays of a file without faults, in no order, each with its elements as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline(pub(super) Vec<(Owner, Vec<Element>)>);

/// The key under which an owner's table stands, its number there, and the array's key in it.
pub(super) fn path(owner: Owner) -> (&'static str, usize, &'static str) {
    match owner {
        Owner::List(number) => ("prefix_list", number, "entries"),
        Owner::Group(number, Direction::Ingress) => ("security_group", number, "ingress"),
        Owner::Group(number, Direction::Egress) => ("security_group", number, "egress"),
    }
}

impl Outline {
    pub(super) fn of(root: &DeTable<'_>) -> Self {
        let owners = owners(count(root, "prefix_list"), count(root, "security_group"));
        let listed = owners.filter_map(|owner| {
            let (key, number, inner) = path(owner);
            let table = root.get(key)?.get_ref().as_array()?.get(number)?.get_ref();
            let array = table.get(inner)?.get_ref().as_array()?;
            Some((owner, array.iter().map(element).collect()))
        });
        Self(listed.collect())
    }
}

fn count(root: &DeTable<'_>, key: &str) -> usize {
    root.get(key).and_then(|value| value.get_ref().as_array()).map_or(0, |array| array.len())
}

/// All arrays that a file with so many lists and groups can have.
pub(super) fn owners(lists: usize, groups: usize) -> impl Iterator<Item = Owner> {
    let of_group = |number| Direction::BOTH.map(|direction| Owner::Group(number, direction));
    (0..lists).map(Owner::List).chain((0..groups).flat_map(of_group))
}

fn element(value: &Value<'_>) -> Element {
    let makes = value.get_ref().as_table().filter(|table| table.get("cidr").is_none());
    Element { span: value.span(), makes: makes.map_or(1, rules) }
}

/// Rules that a rule's table makes: one for each peer and range of ports.
fn rules(table: &DeTable<'_>) -> usize {
    let array = |key| table.get(key).and_then(|value| value.get_ref().as_array());
    let length = |key| array(key).map_or(0, |array: &DeArray<'_>| array.len());
    let peers = ["cidrs", "groups", "prefix_lists"].map(length).iter().sum::<usize>();
    let ports = match table.get("ports").map(toml::Spanned::get_ref) {
        Some(DeValue::Array(ports)) => ports.len(),
        _ => 1,
    };
    peers * ports
}
