//! The whole state from that of a file's rest and from that before.

use std::{hash::Hash, mem, ops::Range, sync::Arc};

use foldhash::{HashMap, HashSet, HashSetExt as _};
use sg_common::{Direction, Family};
use toml::de::DeTable;

use super::{
    super::{cidr::family, document, fault::Findings, group::MAX_RULES},
    outline::{Element, Outline, Owner, owners, path},
    reduce::{Part, Reduced, shifted},
};
use crate::model::{DesiredState, Peer, PrefixList, PrefixListId, Rule};

/// None: it is not certain.
pub(super) fn restore(
    old: &DesiredState,
    old_outline: &Outline,
    reduced: &Reduced,
) -> Option<(DesiredState, Outline)> {
    let (mut root, errors) = DeTable::parse_recoverable(&reduced.text);
    let root = root.get_mut();
    let arrays = errors.is_empty().then(|| reduced.take_out(root)).flatten()?;
    let mut findings = Findings::default();
    let mut state = document(root, &mut findings);
    if !findings.is_empty() || !is_alike(old, &state) {
        return None;
    }
    let rest = Outline::of(root);
    let mut outline = Vec::with_capacity(rest.0.len());
    for owner in owners(state.prefix_lists.len(), state.groups.len()) {
        let Some(read) = elements(&rest, owner) else { continue };
        let Some((_, parts)) = arrays.iter().find(|(of, _)| *of == owner) else {
            let placed = read.iter().map(|element| Element {
                span: reduced.place(&element.span),
                makes: element.makes,
            });
            outline.push((owner, placed.collect()));
            continue;
        };
        let known = elements(old_outline, owner)?;
        let mut array = Array { known, read, elements: Vec::new() };
        match owner {
            Owner::List(number) => {
                let explicit = has_max_entries(root, number);
                list(&mut array, parts, &old.prefix_lists[number], &mut state, number, explicit)?;
            }
            Owner::Group(number, direction) => {
                let group = &mut state.groups[number];
                let rules = match direction {
                    Direction::Ingress => &mut group.ingress,
                    Direction::Egress => &mut group.egress,
                };
                let was = old.groups[number].rules(direction);
                *rules = join(&array.pieces(parts)?, was, mem::take(rules))?;
                is_a_set(parts, rules, |rule: &Rule| rule.id).then_some(())?;
            }
        }
        outline.push((owner, array.elements));
    }
    (weights_alike(old, &state) && quotas_hold(&state)).then_some((state, Outline(outline)))
}

fn elements(outline: &Outline, owner: Owner) -> Option<&[Element]> {
    outline.0.iter().find(|(of, _)| *of == owner).map(|(_, elements)| &elements[..])
}

/// Whether elements that are not read anew keep their meaning: names and settings are the same.
fn is_alike(old: &DesiredState, rest: &DesiredState) -> bool {
    let names = |state: &DesiredState| -> Vec<String> {
        let lists = state.prefix_lists.iter().map(|list| &list.name);
        lists.chain(state.groups.iter().map(|group| &group.name)).cloned().collect()
    };
    old.settings == rest.settings
        && old.groups.len() == rest.groups.len()
        && names(old) == names(rest)
}

/// Lists as rules see them.
fn weights_alike(old: &DesiredState, new: &DesiredState) -> bool {
    let pairs = || old.prefix_lists.iter().zip(&new.prefix_lists);
    pairs().all(|(old, new)| old.family == new.family)
}

fn has_max_entries(root: &DeTable<'_>, number: usize) -> bool {
    let (key, number, _) = path(Owner::List(number));
    let table = root.get(key).and_then(|lists| lists.get_ref().get(number));
    table.is_some_and(|table| table.get_ref().get("max_entries").is_some())
}

/// An array that is put together.
struct Array<'o> {
    known: &'o [Element],
    read: &'o [Element],
    /// Elements of the new file.
    elements: Vec<Element>,
}

/// Items of an array that is put together.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// A number of those that were read.
    Read(usize),
    /// These of the earlier array.
    Kept(Range<usize>),
}

impl Array<'_> {
    /// Turns parts of the file into pieces of the state's list.
    fn pieces(&mut self, parts: &[Part]) -> Option<Vec<Piece>> {
        let mut pieces = Vec::with_capacity(parts.len());
        let mut next = self.read.iter();
        // Items before each element of the earlier array.
        let (mut passed, mut at) = (0, 0);
        for part in parts {
            match part {
                Part::Element(span) => {
                    let makes = next.next()?.makes;
                    pieces.push(Piece::Read(makes));
                    self.elements.push(Element { span: span.clone(), makes });
                }
                Part::Run(run) => {
                    let skipped = self.known.get(passed..run.elements.start)?;
                    at += skipped.iter().map(|element| element.makes).sum::<usize>();
                    let taken = &self.known[run.elements.clone()];
                    let end = at + taken.iter().map(|element| element.makes).sum::<usize>();
                    pieces.push(Piece::Kept(at..end));
                    (passed, at) = (run.elements.end, end);
                    self.elements.extend(taken.iter().map(|element| Element {
                        span: shifted(&element.span, run.moved),
                        makes: element.makes,
                    }));
                }
            }
        }
        Some(pieces)
    }
}

/// Joins pieces of earlier and of newly read items.
fn join<T: Clone>(pieces: &[Piece], was: &[T], read: Vec<T>) -> Option<Vec<T>> {
    let mut items = Vec::with_capacity(was.len() + read.len());
    let mut read = read.into_iter();
    for piece in pieces {
        match piece {
            Piece::Read(count) => items.extend(read.by_ref().take(*count)),
            Piece::Kept(range) => items.extend_from_slice(was.get(range.clone())?),
        }
    }
    read.next().is_none().then_some(items)
}

fn list(
    array: &mut Array<'_>,
    parts: &[Part],
    was: &PrefixList,
    state: &mut DesiredState,
    number: usize,
    explicit: bool,
) -> Option<()> {
    let list = &mut state.prefix_lists[number];
    let pieces = array.pieces(parts)?;
    // The first one is always read.
    let is_same = pieces == [Piece::Read(1), Piece::Kept(1..was.entries.len())]
        && list.entries[..] == was.entries[..1];
    list.entries = if is_same {
        Arc::clone(&was.entries)
    } else {
        let read = Arc::unwrap_or_clone(mem::take(&mut list.entries));
        Arc::new(join(&pieces, &was.entries, read)?)
    };
    let count = u32::try_from(list.entries.len()).ok()?;
    if !explicit {
        list.max_entries = count;
    }
    let of_one_family = list.entries.iter().all(|entry| Some(family(entry.cidr)) == list.family);
    let valid = list.max_entries >= count && of_one_family;
    (valid && is_a_set(parts, &list.entries, |entry| entry.cidr)).then_some(())
}

/// Returns true if no two items are the same. Items of the earlier file are known to differ from
/// each other.
fn is_a_set<T, K: Eq + Hash>(parts: &[Part], items: &[T], key: impl Fn(&T) -> K) -> bool {
    if parts.iter().all(|part| matches!(part, Part::Run(_))) {
        return true;
    }
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().all(|item| seen.insert(key(item)))
}

/// As the reading of a whole file demands them.
fn quotas_hold(state: &DesiredState) -> bool {
    let limit = u64::from(state.settings.quotas.rules_per_group);
    let lists: HashMap<PrefixListId, &PrefixList> =
        state.prefix_lists.iter().map(|list| (list.id, list)).collect();
    let mut total = 0;
    for (group, direction) in
        state.groups.iter().flat_map(|group| Direction::BOTH.map(|direction| (group, direction)))
    {
        let is_default = direction == Direction::Egress && group.default_egress;
        let rules = if is_default { &[] } else { group.rules(direction) };
        total += rules.len();
        let mut weights = [0; 2];
        for rule in rules {
            let (weight, of) = match &rule.peer {
                Peer::Cidr(net) => (1, Some(family(*net))),
                Peer::Group(_) => (1, None),
                Peer::PrefixList(id) => {
                    let Some(list) = lists.get(id) else { return false };
                    (u64::from(list.max_entries), list.family)
                }
            };
            for one in Family::BOTH {
                if of.is_none_or(|of| of == one) {
                    weights[one as usize] += weight;
                }
            }
        }
        if weights.iter().any(|weight| *weight > limit) {
            return false;
        }
    }
    total <= MAX_RULES
}
