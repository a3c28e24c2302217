//! The interfaces of the network namespace, as rtnetlink tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// Tells an interface from an earlier one with the same ifindex.
    pub generation: u64,
    /// Whether frames have an Ethernet header.
    pub ethernet: bool,
    pub addresses: BTreeSet<IpAddr>,
}

/// Interfaces by ifindex.
pub type View = BTreeMap<u32, Interface>;

/// One thing that rtnetlink says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// New, renamed, or otherwise changed.
    Interface {
        ifindex: u32,
        name: String,
        ethernet: bool,
    },
    Gone {
        ifindex: u32,
    },
    Address {
        ifindex: u32,
        address: IpAddr,
    },
    AddressGone {
        ifindex: u32,
        address: IpAddr,
    },
}

/// Keeps a [`View`] true to events.
#[derive(Debug, Default)]
pub struct Tracker {
    view: View,
    generations: u64,
}

impl Tracker {
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes in an event; says whether the view differs from before.
    pub fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Interface { ifindex, name, ethernet } => self.interface(ifindex, name, ethernet),
            Event::Gone { ifindex } => self.view.remove(&ifindex).is_some(),
            Event::Address { ifindex, address } => self
                .view
                .get_mut(&ifindex)
                .is_some_and(|interface| interface.addresses.insert(address)),
            Event::AddressGone { ifindex, address } => self
                .view
                .get_mut(&ifindex)
                .is_some_and(|interface| interface.addresses.remove(&address)),
        }
    }

    fn interface(&mut self, ifindex: u32, name: String, ethernet: bool) -> bool {
        let generations = &mut self.generations;
        let mut changed = false;
        let interface = self.view.entry(ifindex).or_insert_with(|| {
            *generations += 1;
            changed = true;
            Interface {
                name: name.clone(),
                generation: *generations,
                ethernet,
                addresses: BTreeSet::new(),
            }
        });
        changed |= interface.name != name || interface.ethernet != ethernet;
        interface.name = name;
        interface.ethernet = ethernet;
        changed
    }

    /// Replaces the view by a full dump, after events were lost. Interfaces whose number is still
    /// there are taken for the same ones.
    pub fn replace(&mut self, dump: impl IntoIterator<Item = Event>) -> bool {
        let old = std::mem::take(&mut self.view);
        for event in dump {
            self.take(event);
        }
        for (ifindex, interface) in &mut self.view {
            if let Some(before) = old.get(ifindex) {
                interface.generation = before.generation;
            }
        }
        self.view != old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(ifindex: u32, name: &str) -> Event {
        Event::Interface { ifindex, name: name.to_owned(), ethernet: true }
    }

    fn address(ifindex: u32, address: &str) -> Event {
        Event::Address { ifindex, address: address.parse().unwrap() }
    }

    #[test]
    fn a_rename_keeps_the_interface_and_a_new_one_with_its_number_is_another() {
        let mut tracker = Tracker::default();
        assert!(tracker.take(interface(5, "tap0")));
        assert!(tracker.take(address(5, "10.0.0.1")));
        let first = tracker.view()[&5].clone();
        assert!(!tracker.take(interface(5, "tap0")));
        assert!(tracker.take(interface(5, "tap1")));
        assert_eq!(tracker.view()[&5], Interface { name: "tap1".into(), ..first.clone() });
        assert!(tracker.take(Event::Gone { ifindex: 5 }));
        assert!(tracker.take(interface(5, "tap0")));
        assert_ne!(tracker.view()[&5].generation, first.generation);
        assert!(tracker.view()[&5].addresses.is_empty());
    }

    #[test]
    fn a_dump_after_lost_events_keeps_who_is_still_there() {
        let mut tracker = Tracker::default();
        for event in [interface(1, "lo"), interface(2, "eth0"), address(2, "10.0.0.2")] {
            tracker.take(event);
        }
        let generation = tracker.view()[&2].generation;
        assert!(!tracker.replace([
            interface(1, "lo"),
            interface(2, "eth0"),
            address(2, "10.0.0.2")
        ]));
        assert!(tracker.replace([interface(2, "eth0"), address(2, "10.0.0.3")]));
        assert_eq!(tracker.view().keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(tracker.view()[&2].generation, generation);
    }

    #[test]
    fn addresses_of_unknown_interfaces_are_ignored() {
        let mut tracker = Tracker::default();
        assert!(!tracker.take(address(9, "10.0.0.1")));
        assert!(!tracker.take(Event::Gone { ifindex: 9 }));
        assert!(tracker.view().is_empty());
    }
}
