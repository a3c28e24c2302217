//! The interfaces of the network namespace, as rtnetlink tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::name::Name;

/// An interface besides its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub name: Name,
    /// Whether frames have an Ethernet header.
    pub ethernet: bool,
    pub kind: DeviceKind,
    /// Other names. Entries of the rules do not match them.
    pub altnames: Vec<Name>,
}

/// Kinds of devices whose hooks see other packets than a NIC's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    #[default]
    Other,
    /// Packets pass the hooks of its ports only.
    Vrf,
    /// Received packets pass the hooks of its lower device only.
    IpvlanL3s,
    /// A macvtap or ipvtap: packets that the kernel receives there go to the process that holds the
    /// tap.
    TapOfLower,
}

impl DeviceKind {
    /// Why no program on such a device sees its packets, if so.
    pub fn unseen(self) -> Option<&'static str> {
        match self {
            Self::Vrf => Some(
                "packets of a VRF pass only the hooks of the devices in it: name those in the rules",
            ),
            Self::IpvlanL3s => Some(
                "what an ipvlan in mode l3s receives passes only the hooks of the device below it: \
                 name that one, or use mode l3",
            ),
            Self::Other | Self::TapOfLower => None,
        }
    }
}

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub device: Device,
    /// Another one: it may be another interface with the same ifindex.
    pub generation: u64,
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
        device: Device,
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
            Event::Interface { ifindex, device } => self.interface(ifindex, device),
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

    fn interface(&mut self, ifindex: u32, device: Device) -> bool {
        if let Some(interface) = self.view.get_mut(&ifindex) {
            let changed = interface.device != device;
            interface.device = device;
            return changed;
        }
        self.generations += 1;
        let interface =
            Interface { device, generation: self.generations, addresses: BTreeSet::new() };
        self.view.insert(ifindex, interface);
        true
    }

    /// Replaces the view by a full dump, after events were lost. Among these may have been that an interface went
    /// and another one got its number, so every one counts as a possible other.
    pub fn replace(&mut self, dump: impl IntoIterator<Item = Event>) {
        self.view.clear();
        for event in dump {
            self.take(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device { name: name.into(), ethernet: true, ..Device::default() }
    }

    fn interface(ifindex: u32, name: &str) -> Event {
        Event::Interface { ifindex, device: device(name) }
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
        assert_eq!(tracker.view()[&5], Interface { device: device("tap1"), ..first.clone() });
        assert!(tracker.take(Event::Gone { ifindex: 5 }));
        assert!(tracker.take(interface(5, "tap0")));
        assert_ne!(tracker.view()[&5].generation, first.generation);
        assert!(tracker.view()[&5].addresses.is_empty());
    }

    #[test]
    fn after_lost_events_every_interface_may_be_another() {
        let mut tracker = Tracker::default();
        for event in [interface(1, "lo"), interface(2, "eth0"), address(2, "10.0.0.2")] {
            tracker.take(event);
        }
        let generations = [1, 2].map(|ifindex| tracker.view()[&ifindex].generation);
        tracker.replace([interface(2, "eth0"), address(2, "10.0.0.3")]);
        assert_eq!(tracker.view().keys().copied().collect::<Vec<_>>(), [2]);
        let Interface { generation, addresses, .. } = &tracker.view()[&2];
        assert!(!generations.contains(generation));
        assert_eq!(*addresses, BTreeSet::from(["10.0.0.3".parse().unwrap()]));
    }

    #[test]
    fn a_kind_or_another_name_is_a_change() {
        let mut tracker = Tracker::default();
        tracker.take(interface(5, "if0"));
        let vrf = Device { kind: DeviceKind::Vrf, ..device("if0") };
        assert!(tracker.take(Event::Interface { ifindex: 5, device: vrf }));
        let named = Device { altnames: vec!["other".into()], ..device("if0") };
        assert!(tracker.take(Event::Interface { ifindex: 5, device: named.clone() }));
        assert!(!tracker.take(Event::Interface { ifindex: 5, device: named }));
    }

    #[test]
    fn addresses_of_unknown_interfaces_are_ignored() {
        let mut tracker = Tracker::default();
        assert!(!tracker.take(address(9, "10.0.0.1")));
        assert!(!tracker.take(Event::Gone { ifindex: 9 }));
        assert!(tracker.view().is_empty());
    }
}
