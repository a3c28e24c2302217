//! Values that states share: a copy costs a counter, and only a change copies.
//!
//! A state is made from the one before it by some edits. With both at hand, [`SharedVec::changes`]
//! finds what differs without a look at what they share.

use std::{
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut, Index, IndexMut},
    sync::Arc,
};

/// A value that is copied when it is changed while somebody else has it, too.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Whether both are one value, which need not be compared.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn address(&self) -> *const T {
        Arc::as_ptr(&self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || *self.0 == *other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Most elements of a chunk: one that changes is copied.
const CHUNK: usize = 32;

/// A list in chunks, which its copies share.
#[derive(Clone)]
pub struct SharedVec<T>(Vec<Chunk<T>>);

#[derive(Clone, Debug)]
struct Chunk<T> {
    /// Elements up to the end of this chunk.
    end: usize,
    /// Never empty.
    items: Shared<Vec<T>>,
}

impl<T> SharedVec<T> {
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |chunk| chunk.end)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        let (chunk, at) = self.locate(index)?;
        self.0[chunk].items.get(at)
    }

    pub fn iter(&self) -> Iter<'_, T> {
        Iter { chunks: self.0.iter(), items: [].iter(), left: self.len() }
    }

    /// A chunk, and the place in it. `None`: there is no such element.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        let chunk = self.0.partition_point(|chunk| chunk.end <= index);
        let found = self.0.get(chunk)?;
        Some((chunk, index + found.items.len() - found.end))
    }

    fn count_from(&mut self, first: usize) {
        let mut end = first.checked_sub(1).map_or(0, |before| self.0[before].end);
        for chunk in &mut self.0[first..] {
            end += chunk.items.len();
            chunk.end = end;
        }
    }
}

impl<T: Clone> SharedVec<T> {
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (chunk, at) = self.locate(index)?;
        self.0[chunk].items.get_mut(at)
    }

    pub fn push(&mut self, item: T) {
        let end = self.len() + 1;
        match self.0.last_mut() {
            Some(last) if last.items.len() < CHUNK => {
                last.items.push(item);
                last.end = end;
            }
            _ => self.0.push(Chunk { end, items: vec![item].into() }),
        }
    }

    /// # Panics
    /// `index` is beyond the end.
    pub fn insert(&mut self, index: usize, item: T) {
        let Some((chunk, at)) = self.locate(index) else {
            assert_eq!(index, self.len(), "an index within the list, or its end");
            return self.push(item);
        };
        let items = &mut self.0[chunk].items;
        items.insert(at, item);
        if items.len() > CHUNK {
            let rest = items.split_off(CHUNK / 2);
            self.0.insert(chunk + 1, Chunk { end: 0, items: rest.into() });
        }
        self.count_from(chunk);
    }

    /// # Panics
    /// There is no such element.
    pub fn remove(&mut self, index: usize) -> T {
        let (chunk, at) = self.locate(index).expect("an index within the list");
        let removed = self.0[chunk].items.remove(at);
        if self.0[chunk].items.is_empty() {
            self.0.remove(chunk);
        }
        self.count_from(chunk);
        removed
    }
}

impl<T: PartialEq> SharedVec<T> {
    /// Elements that went and elements that came from here to `newer`, in no order. Chunks that both
    /// share are not looked at. An element that moved may be in both.
    pub fn changes<'a>(&'a self, newer: &'a Self) -> (Vec<&'a T>, Vec<&'a T>) {
        let (mut old, mut new) = (&self.0[..], &newer.0[..]);
        let same = |(old, new): &(&Chunk<T>, &Chunk<T>)| old.items.is(&new.items);
        let first = old.iter().zip(new).take_while(same).count();
        (old, new) = (&old[first..], &new[first..]);
        let last = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        (old, new) = (&old[..old.len() - last], &new[..new.len() - last]);
        let (old, new) = (apart(old, new), apart(new, old));
        // A list that was read anew shares nothing, and mostly differs in one place.
        let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[first..], &new[first..]);
        let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new);
        let last = last.count();
        (old[..old.len() - last].to_vec(), new[..new.len() - last].to_vec())
    }
}

/// Elements of those chunks that `others` does not have.
fn apart<'a, T>(chunks: &'a [Chunk<T>], others: &[Chunk<T>]) -> Vec<&'a T> {
    let others: HashSet<_> = others.iter().map(|chunk| chunk.items.address()).collect();
    let own = chunks.iter().filter(|chunk| !others.contains(&chunk.items.address()));
    own.flat_map(|chunk| chunk.items.iter()).collect()
}

/// Iterates over a [`SharedVec`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    chunks: std::slice::Iter<'a, Chunk<T>>,
    items: std::slice::Iter<'a, T>,
    left: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let next = match self.items.next() {
            Some(next) => next,
            None => {
                self.items = self.chunks.next()?.items.iter();
                self.items.next()?
            }
        };
        self.left -= 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), items: self.items.clone(), left: self.left }
    }
}

impl<'a, T> IntoIterator for &'a SharedVec<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Index<usize> for SharedVec<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.get(index).expect("an index within the list")
    }
}

impl<T: Clone> IndexMut<usize> for SharedVec<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        self.get_mut(index).expect("an index within the list")
    }
}

impl<T> Default for SharedVec<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> From<Vec<T>> for SharedVec<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Clone> FromIterator<T> for SharedVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        list.extend(items);
        list
    }
}

impl<T: Clone> Extend<T> for SharedVec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T: PartialEq> PartialEq for SharedVec<T> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(own, other): (&Chunk<T>, &Chunk<T>)| own.items.is(&other.items);
        let is_one = self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same);
        is_one || (self.len() == other.len() && self.iter().eq(other))
    }
}

impl<T: Eq> Eq for SharedVec<T> {}

impl<T: fmt::Debug> fmt::Debug for SharedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A push, an insertion, a change or a removal at a place of the list.
    type Edit = (u8, prop::sample::Index, u32);

    fn edit(list: &mut SharedVec<u32>, model: &mut Vec<u32>, (what, place, value): Edit) {
        if model.is_empty() || what == 0 {
            list.push(value);
            return model.push(value);
        }
        let at = place.index(model.len());
        match what {
            1 => {
                list.insert(at, value);
                model.insert(at, value);
            }
            2 => (list[at], model[at]) = (value, value),
            _ => assert_eq!(list.remove(at), model.remove(at)),
        }
    }

    /// As a multiset: what is left of `list` without what `other` has.
    fn without<'a>(list: &[&'a u32], other: &[&u32]) -> Vec<&'a u32> {
        let mut other: Vec<u32> = other.iter().map(|item| **item).collect();
        let mut left = list.to_vec();
        left.retain(|item| match other.iter().position(|there| there == *item) {
            Some(at) => {
                other.swap_remove(at);
                false
            }
            None => true,
        });
        left.sort_unstable();
        left
    }

    proptest! {
        #[test]
        fn a_list_is_what_a_vec_is_and_knows_what_has_changed(
            length in 0..200u32,
            edits in prop::collection::vec((0..4u8, any::<prop::sample::Index>(), 0..300u32), 0..60),
            reread in any::<bool>(),
        ) {
            let mut model: Vec<u32> = (0..length).collect();
            let first: SharedVec<u32> = model.clone().into();
            let mut list = first.clone();
            for one in edits {
                edit(&mut list, &mut model, one);
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert!(list.iter().eq(&model));
            prop_assert!((0..model.len()).all(|at| list.get(at) == Some(&model[at])));
            prop_assert_eq!(list.get(model.len()), None);
            let read: SharedVec<u32> = model.clone().into();
            prop_assert_eq!(&read, &list);
            // The copy is as it was.
            prop_assert!(first.iter().copied().eq(0..length));

            let newer = if reread { &read } else { &list };
            let (removed, added) = first.changes(newer);
            let (old, new): (Vec<_>, Vec<_>) = (first.iter().collect(), newer.iter().collect());
            prop_assert_eq!(without(&removed, &added), without(&old, &new));
            prop_assert_eq!(without(&added, &removed), without(&new, &old));
        }
    }

    #[test]
    fn one_change_of_many_is_one_chunk() {
        let old: SharedVec<u32> = (0..10_000).collect();
        for edit in [
            (|list| assert_eq!(list.remove(5000), 5000)) as fn(&mut SharedVec<u32>),
            |list| list.insert(5000, 1),
            |list| list.push(1),
            |list| list[5000] = 1,
        ] {
            let mut new = old.clone();
            edit(&mut new);
            let shared =
                new.0.iter().filter(|chunk| old.0.iter().any(|old| old.items.is(&chunk.items)));
            assert!(shared.count() + 2 >= new.0.len());
            let (removed, added) = old.changes(&new);
            assert!(removed.len() + added.len() <= 2, "{removed:?} {added:?}");
        }
    }
}
