//! Rows: for each class its services, in pages.

use foldhash::{HashMap, HashMapExt as _};
use sg_common::{
    image::PAGE_CLASSES,
    interval::{Kind, Ref},
};

use super::{CompileError, layout::Layout, services::ServiceSet};

const PAGE: usize = PAGE_CLASSES as usize;

/// What is allowed besides what everyone may: services, and the classes that may them.
pub(super) type Allowed<'a> = (&'a ServiceSet, &'a [u32]);

/// Number of a distinct collection of [`Allowed`]; 0 is the one of none.
type Grant = u32;

/// The row of `count` classes.
pub(super) fn write_row<'a>(
    layout: &mut Layout,
    count: usize,
    everyone: &ServiceSet,
    allowed: impl Iterator<Item = Allowed<'a>>,
) -> Result<Ref, CompileError> {
    let base = layout.set(everyone.boundaries());
    let made = Vec::with_capacity(allowed.size_hint().0);
    let mut grants = Grants { classes: vec![0; count.next_multiple_of(PAGE)], made };
    allowed.for_each(|allowed| grants.add(allowed));
    if grants.made.is_empty() && base.is_leaf() {
        return Ok(base);
    }
    let refs = grants.write(layout, everyone, base)?;
    let mut uniform: HashMap<Grant, u32> = HashMap::new();
    let mut pages = Vec::with_capacity(grants.classes.len() / PAGE);
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
    Ok(Ref::at(Kind::Run, 0, layout.block(&pages)))
}

/// Which classes may what. Few collections are distinct, and the services of each are put together
/// once, however many classes share them.
struct Grants<'a> {
    classes: Vec<Grant>,
    /// From 1 on: an earlier collection, and what came on top of it.
    made: Vec<(Grant, &'a ServiceSet)>,
}

impl<'a> Grants<'a> {
    fn add(&mut self, (services, classes): Allowed<'a>) {
        // What most peers are: one address, in one class.
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

    /// Services by grant, those that classes are left with; [`Ref::NONE`] for the others.
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
