//! Which interface a slot belongs to. The owner says; the log, which must not wait for it, looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub ifindex: u32,
    pub name: Arc<str>,
    /// Filtered now. One that was stays known until its slot is used again, because there may be
    /// packets of it that nobody has read yet.
    pub present: bool,
}

pub type BySlot = BTreeMap<u16, Named>;

#[derive(Clone, Debug, Default)]
pub struct InterfaceNames(Arc<Mutex<Arc<BySlot>>>);

impl InterfaceNames {
    /// The interfaces that are filtered from now on: slot, index, name.
    pub fn set<N: Into<Arc<str>>>(&self, filtered: impl Iterator<Item = (u16, u32, N)>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = BySlot::clone(&held);
        names.values_mut().for_each(|named| named.present = false);
        for (slot, ifindex, name) in filtered {
            names.insert(slot, Named { ifindex, name: name.into(), present: true });
        }
        if **held != names {
            *held = Arc::new(names);
        }
    }

    pub fn get(&self) -> Arc<BySlot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_gone_keeps_its_name_until_another_has_its_slot() {
        let names = InterfaceNames::default();
        names.set([(0, 7, "a"), (1, 8, "b")].into_iter());
        names.set([(1, 8, "b")].into_iter());
        let held = names.get();
        assert_eq!((&*held[&0].name, held[&0].present), ("a", false));
        assert_eq!((&*held[&1].name, held[&1].present), ("b", true));
        names.set([(0, 9, "c")].into_iter());
        assert_eq!((&*names.get()[&0].name, names.get()[&0].ifindex), ("c", 9));
    }
}
