//! Rows: for each class its services, in pages.

use foldhash::{HashMap, HashMapExt as _};
use sg_common::{
    image::PAGE_CLASSES,
    interval::{Kind, Ref, UNIT},
};

use super::{
    CompileError,
    classes::{Classes, PeerId},
    layout::Layout,
    services::ServiceSet,
};

const PAGE: usize = PAGE_CLASSES as usize;

/// Number of a distinct collection of services beyond those of everyone; 0 is the empty one.
type Grant = u32;

/// As it was written last.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// `None`: it never was.
    root: Option<Ref>,
    /// Classes that the row has, and classes that it has room for.
    classes: usize,
    room: usize,
}

impl Row {
    pub(super) fn root(&self) -> Ref {
        self.root.unwrap_or(Ref::NONE)
    }

    /// Writes all of it.
    pub(super) fn write(
        &mut self,
        layout: &mut Layout,
        classes: &Classes,
        everyone: &ServiceSet,
        allowed: &[(PeerId, ServiceSet)],
    ) -> Result<(), CompileError> {
        let count = classes.count();
        let base = layout.set(everyone.boundaries());
        let room = (count + count / 8).next_multiple_of(PAGE);
        let mut grants = Grants { classes: vec![0; room], made: Vec::with_capacity(allowed.len()) };
        allowed.iter().for_each(|(peer, services)| grants.add(services, classes.of_peer(*peer)));
        *self = Self { root: Some(base), classes: count, room };
        if grants.made.is_empty() && base.is_leaf() {
            return Ok(());
        }
        let refs = grants.write(layout, everyone, base)?;
        let mut uniform: HashMap<Grant, u32> = HashMap::new();
        let mut pages = Vec::with_capacity(room / PAGE);
        for page in grants.classes.chunks_exact(PAGE) {
            let mut write = || {
                let words: Vec<u32> = page.iter().map(|grant| refs[*grant as usize].0).collect();
                layout.block(&words)
            };
            let is_uniform = page.iter().all(|grant| *grant == page[0]);
            pages.push(if is_uniform {
                *uniform.entry(page[0]).or_insert_with(write)
            } else {
                write()
            });
        }
        self.root = Some(Ref::at(Kind::Run, 0, layout.own_block(&pages)));
        Ok(())
    }

    /// Writes changed classes: new ones, and those of the peers in `changed`. Returns false and
    /// changes nothing if the whole row has to be written.
    pub(super) fn patch(
        &mut self,
        layout: &mut Layout,
        classes: &Classes,
        everyone: &ServiceSet,
        allowed: &[(PeerId, ServiceSet)],
        changed: &[PeerId],
    ) -> Result<bool, CompileError> {
        let Some(root) = self.root else { return Ok(false) };
        let new = self.classes as u32..classes.count() as u32;
        let old = changed.iter().flat_map(|peer| classes.of_peer(*peer)).copied();
        let mut stale: Vec<u32> = old.chain(new).collect();
        let base = layout.set(everyone.boundaries());
        if root.is_leaf() {
            if stale.iter().any(|class| services(classes, *class, allowed).is_some()) {
                return Ok(false);
            }
            self.classes = classes.count();
            return Ok(true);
        }
        let becomes_leaf = allowed.is_empty() && base.is_leaf();
        let is_much = stale.len() > self.classes / 4 + 16;
        if becomes_leaf || is_much || classes.count() > self.room {
            return Ok(false);
        }
        stale.sort_unstable();
        for same in stale.chunk_by(|a, b| a / PAGE_CLASSES == b / PAGE_CLASSES) {
            let at = root.offset() as usize + same[0] as usize / PAGE;
            let page = layout.words[at] as usize * UNIT as usize;
            let mut page: [u32; PAGE] = layout.words[page..page + PAGE].try_into().expect("a page");
            for class in same {
                let place = &mut page[*class as usize % PAGE];
                *place = match services(classes, *class, allowed) {
                    Some(mut services) => {
                        services.extend(everyone);
                        layout.set(services.boundaries()).0
                    }
                    None => base.0,
                };
            }
            layout.words[at] = layout.block(&page);
            layout.check_size()?;
        }
        self.classes = classes.count();
        Ok(true)
    }
}

/// The services that a class is allowed beyond those of everyone; `None` if there are none.
fn services(classes: &Classes, class: u32, allowed: &[(PeerId, ServiceSet)]) -> Option<ServiceSet> {
    let of = |peer: &PeerId| allowed.binary_search_by_key(peer, |(peer, _)| *peer).ok();
    let mut all = classes.peers(class).iter().filter_map(of).map(|at| &allowed[at].1);
    let mut services = all.next()?.clone();
    all.for_each(|more| services.extend(more));
    Some(services)
}

/// Which classes may what. Few collections are distinct, and the services of each are put together
/// once, however many classes share them.
struct Grants<'a> {
    classes: Vec<Grant>,
    /// From 1 on: an earlier collection, and what came on top of it.
    made: Vec<(Grant, &'a ServiceSet)>,
}

impl<'a> Grants<'a> {
    fn add(&mut self, services: &'a ServiceSet, classes: &[u32]) {
        // Most peers are one address, in one class: skip the general case.
        if let [class] = classes {
            let grant = &mut self.classes[*class as usize];
            self.made.push((*grant, services));
            *grant = self.made.len() as Grant;
            return;
        }
        let mut grown: HashMap<Grant, Grant> = HashMap::new();
        // Neighbours mostly had the same before.
        let mut last = (Grant::MAX, 0);
        for class in classes {
            let grant = &mut self.classes[*class as usize];
            if *grant != last.0 {
                let made = &mut self.made;
                let to = *grown.entry(*grant).or_insert_with(|| {
                    made.push((*grant, services));
                    made.len() as Grant
                });
                last = (*grant, to);
            }
            *grant = last.1;
        }
    }

    /// Writes the services of each grant that a class still has; [`Ref::NONE`] for the others.
    fn write(
        &self,
        layout: &mut Layout,
        everyone: &ServiceSet,
        base: Ref,
    ) -> Result<Vec<Ref>, CompileError> {
        let mut used = vec![false; self.made.len() + 1];
        self.classes.iter().for_each(|grant| used[*grant as usize] = true);
        let mut refs = vec![Ref::NONE; used.len()];
        refs[0] = base;
        for grant in (1..used.len()).filter(|grant| used[*grant]) {
            let (earlier, only) = self.made[grant - 1];
            if earlier == 0 && everyone.is_empty() {
                refs[grant] = layout.set(only.boundaries());
                layout.check_size()?;
                continue;
            }
            let mut services = everyone.clone();
            let mut rest = grant;
            while rest != 0 {
                let (earlier, added) = self.made[rest - 1];
                services.extend(added);
                rest = earlier as usize;
            }
            refs[grant] = layout.set(services.boundaries());
            layout.check_size()?;
        }
        Ok(refs)
    }
}
