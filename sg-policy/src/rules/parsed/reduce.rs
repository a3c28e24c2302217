//! Shortens a file by the elements that an earlier file had, too.
//!
//! One placeholder, an element itself, stands for each run of left-out elements. A parser that is
//! within the array before a run is within it after the run, whatever the elements were. The rest
//! therefore keeps its meaning if the reader finds every placeholder as an element of its array,
//! where it was put.

use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use super::outline::{Outline, Owner, path};

const PLACEHOLDER: &str = "false";

/// Reducing is worth it only if the file is at least so many times longer than the rest.
const WORTH: usize = 2;

/// A placeholder and the elements that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) owner: Owner,
    /// Elements of the earlier file.
    pub(super) elements: Range<usize>,
    /// How much further back (wrapping) they stand in the new file.
    pub(super) moved: usize,
    /// Where the placeholder stands in the rest.
    at: usize,
}

/// A file without the elements of an earlier one.
#[derive(Debug)]
pub(super) struct Reduced {
    pub(super) text: String,
    /// In the order of the file.
    pub(super) runs: Vec<Run>,
    /// Where pieces of the rest begin, and where they stand in the file.
    pieces: Vec<(usize, usize)>,
}

/// None: it is not worth it.
pub(super) fn reduce(old: &str, outline: &Outline, new: &str) -> Option<Reduced> {
    let before = common_start(old.as_bytes(), new.as_bytes());
    let both = old.len().min(new.len()) - before;
    let behind = common_end(old.as_bytes(), new.as_bytes()).min(both);
    let changed = before..old.len() - behind;
    let moved = new.len().wrapping_sub(old.len());

    // With at least one byte that is the same between an element and the change, nothing can make
    // it longer.
    let mut runs: Vec<(Range<usize>, Run)> = Vec::new();
    for (owner, elements) in &outline.0 {
        // An entry tells the family of its list.
        let first = usize::from(matches!(owner, Owner::List(_)));
        let kept_before = elements.partition_point(|element| element.span.end < changed.start);
        let kept_behind = elements.partition_point(|element| element.span.start <= changed.end);
        for (range, moved) in [
            (first..kept_before, 0),
            (kept_behind.max(kept_before).max(first)..elements.len(), moved),
        ] {
            if let (Some(head), Some(tail)) = (elements.get(range.start), range.end.checked_sub(1))
                && range.start <= tail
            {
                let span = head.span.start..elements[tail].span.end;
                let run = Run { owner: *owner, elements: range, moved, at: 0 };
                runs.push((shifted(&span, moved), run));
            }
        }
    }
    let left_out: usize = runs.iter().map(|(span, _)| span.len()).sum();
    if left_out < new.len() - new.len() / WORTH {
        return None;
    }
    runs.sort_unstable_by_key(|(span, _)| span.start);
    let mut reduced = Reduced { text: String::new(), runs: Vec::new(), pieces: Vec::new() };
    let mut at = 0;
    for (span, mut run) in runs {
        reduced.piece(new.get(at..span.start)?, at);
        run.at = reduced.text.len();
        reduced.text += PLACEHOLDER;
        reduced.runs.push(run);
        at = span.end;
    }
    reduced.piece(new.get(at..)?, at);
    Some(reduced)
}

pub(super) fn shifted(span: &Range<usize>, moved: usize) -> Range<usize> {
    span.start.wrapping_add(moved)..span.end.wrapping_add(moved)
}

/// Bytes that are compared at once.
const BLOCK: usize = 256;

fn common_start(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let same = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

fn common_end(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK));
    let same = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

impl Reduced {
    fn piece(&mut self, text: &str, at: usize) {
        self.pieces.push((self.text.len(), at));
        self.text += text;
    }

    /// The place in the file of a place in the rest.
    pub(super) fn place(&self, span: &Range<usize>) -> Range<usize> {
        let piece = self.pieces.partition_point(|(start, _)| *start <= span.start) - 1;
        let (start, at) = self.pieces[piece];
        shifted(span, at.wrapping_sub(start))
    }

    /// Takes the placeholders out of the parsed rest; of each array that had some, what stands in
    /// it: elements of the rest by number, or a run. None: one is not where it was put.
    pub(super) fn take_out(&self, root: &mut DeTable<'_>) -> Option<Vec<(Owner, Vec<Part>)>> {
        let mut arrays = Vec::new();
        for runs in self.runs.chunk_by(|a, b| a.owner == b.owner) {
            let owner = runs[0].owner;
            let (key, number, inner) = path(owner);
            let DeValue::Array(tables) = root.get_mut(key)?.get_mut() else { return None };
            let DeValue::Table(table) = tables.get_mut(number)?.get_mut() else { return None };
            let DeValue::Array(array) = table.get_mut(inner)?.get_mut() else { return None };
            let (mut parts, mut rest) = (Vec::new(), DeArray::new());
            let mut expected = runs.iter().peekable();
            for value in std::mem::replace(array, DeArray::new()) {
                match expected.next_if(|run| run.at == value.span().start) {
                    Some(run) if matches!(value.get_ref(), DeValue::Boolean(false)) => {
                        parts.push(Part::Run(run.clone()));
                    }
                    Some(_) => return None,
                    None => {
                        parts.push(Part::Element(self.place(&value.span())));
                        rest.push(value);
                    }
                }
            }
            if expected.next().is_some() {
                return None;
            }
            *array = rest;
            arrays.push((owner, parts));
        }
        Some(arrays)
    }
}

/// A piece of an array, with where an element stands in the file.
#[derive(Debug)]
pub(super) enum Part {
    Element(Range<usize>),
    Run(Run),
}
