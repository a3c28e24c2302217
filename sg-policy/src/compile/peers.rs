//! The peers that rules name, numbered, with the prefixes that each stands for.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use super::classes::PeerId;
use crate::model::{self, DesiredState, LiveInterface, Peer};

#[derive(Debug)]
pub(super) struct Peers<'a> {
    numbers: HashMap<&'a Peer, PeerId>,
    /// Addresses of groups that are peers.
    members: HashMap<PeerId, Vec<IpAddr>>,
}

impl<'a> Peers<'a> {
    pub(super) fn of(state: &'a DesiredState, live: &[LiveInterface]) -> Self {
        let mut numbers = HashMap::new();
        let mut members = HashMap::new();
        let rules = state.groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
        for rule in rules {
            let next = numbers.len() as PeerId;
            let number = *numbers.entry(&rule.peer).or_insert(next);
            if number == next
                && let Peer::Group(name) = &rule.peer
            {
                members.insert(number, model::members(state, live, name));
            }
        }
        Self { numbers, members }
    }

    pub(super) fn number(&self, peer: &Peer) -> PeerId {
        self.numbers[peer]
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Every prefix of every peer.
    pub(super) fn prefixes(&self, state: &DesiredState) -> impl Iterator<Item = (IpNet, PeerId)> {
        self.numbers.iter().flat_map(|(peer, number)| {
            let prefixes: Vec<IpNet> = match peer {
                Peer::Cidr(net) => vec![*net],
                Peer::PrefixList(name) => state
                    .prefix_list(name)
                    .map(|list| list.entries.iter().map(|entry| entry.cidr).collect())
                    .unwrap_or_default(),
                Peer::Group(_) => {
                    self.members[number].iter().map(|address| IpNet::from(*address)).collect()
                }
            };
            let number = *number;
            prefixes.into_iter().map(move |net| (net, number))
        })
    }
}
