//! The peers that rules name, numbered, with the prefixes that each stands for.

use foldhash::{HashMap, HashMapExt as _};
use ipnet::IpNet;

use super::classes::PeerId;
use crate::model::{self, DesiredState, LiveInterface, Peer};

#[derive(Debug)]
pub(super) struct Peers<'a> {
    numbers: HashMap<&'a Peer, PeerId>,
    prefixes: Vec<(IpNet, PeerId)>,
}

impl<'a> Peers<'a> {
    pub(super) fn of(state: &'a DesiredState, live: &[LiveInterface]) -> Self {
        let mut peers = Self { numbers: HashMap::new(), prefixes: Vec::new() };
        let rules = state.groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
        for rule in rules {
            let next = peers.numbers.len() as PeerId;
            if *peers.numbers.entry(&rule.peer).or_insert(next) == next {
                peers.add_prefixes(state, live, &rule.peer, next);
            }
        }
        peers
    }

    fn add_prefixes(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
        peer: &Peer,
        number: PeerId,
    ) {
        let numbered = |net| (net, number);
        match peer {
            Peer::Cidr(net) => self.prefixes.push((*net, number)),
            Peer::PrefixList(name) => {
                let entries = state.prefix_list(name).into_iter().flat_map(|list| &list.entries);
                self.prefixes.extend(entries.map(|entry| entry.cidr).map(numbered));
            }
            Peer::Group(name) => {
                let members = model::members(state, live, name).into_iter();
                self.prefixes.extend(members.map(IpNet::from).map(numbered));
            }
        }
    }

    pub(super) fn number(&self, peer: &Peer) -> PeerId {
        self.numbers[peer]
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Every prefix of every peer.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (IpNet, PeerId)> {
        self.prefixes.iter().copied()
    }
}
