//! Prefixes and names that are allowed and match nothing.

use std::collections::{HashMap, HashSet};

use ipnet::{IpNet, Ipv4Net};
use sg_common::Direction;

use crate::{
    DesiredState,
    describe::{count, direction},
    model::{Interface, Peer, PrefixList, Role, Rule, SecurityGroup, Services},
};

/// Warnings that are spelt out; the rest is counted.
const SHOWN: usize = 20;

/// The port of DHCP servers. Their clients send from 0.0.0.0.
const DHCP_SERVER: u16 = 67;

/// A sentence for each part of a valid state that can match no packet or no interface. Its author
/// will have meant something else.
pub fn warnings(state: &DesiredState) -> Vec<String> {
    let mut found = Found { filters_loopback: state.entry_for("lo").is_some(), ..Found::default() };
    for group in &state.groups {
        for way in [Direction::Ingress, Direction::Egress] {
            found.rules(group, way);
        }
    }
    for list in &state.prefix_lists {
        found.list(list);
    }
    let mut globs = Vec::new();
    for entry in &state.interfaces {
        found.name(entry);
        found.addresses(entry);
        if entry.is_glob() {
            found.glob(entry, &globs);
            globs.push(entry);
        }
    }
    found.members(state);
    found.finish()
}

#[derive(Debug, Default)]
struct Found {
    filters_loopback: bool,
    shown: Vec<String>,
    total: usize,
}

impl Found {
    fn add(&mut self, warning: String) {
        self.total += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(warning);
        }
    }

    fn finish(mut self) -> Vec<String> {
        let more = self.total - self.shown.len();
        if more > 0 {
            self.shown.push(format!("and {}", count(more, "more warning", "more warnings")));
        }
        self.shown
    }

    fn rules(&mut self, group: &SecurityGroup, way: Direction) {
        let mut told = HashSet::new();
        for Rule { services, peer, .. } in group.rules(way) {
            let Peer::Cidr(net) = peer else { continue };
            let why = self.never(*net).or_else(|| never_in(*net, way, *services));
            if let Some(why) = why
                && told.insert(*net)
            {
                let (name, way) = (&group.name, direction(way));
                self.add(format!(
                    "\"{net}\" in an {way} rule of group \"{name}\" matches nothing: {why}"
                ));
            }
        }
    }

    fn list(&mut self, list: &PrefixList) {
        for entry in list.entries.iter() {
            if let Some(why) = self.never(entry.cidr) {
                let (net, name) = (entry.cidr, &list.name);
                self.add(format!("\"{net}\" in prefix list \"{name}\" matches nothing: {why}"));
            }
        }
    }

    fn addresses(&mut self, entry: &Interface) {
        for address in &entry.addresses {
            if let Some(why) = self.never(IpNet::from(*address)) {
                let name = &entry.name;
                self.add(format!(
                    "\"{address}\" of interface \"{name}\" is the address of no packet: {why}"
                ));
            }
        }
    }

    /// Why no packet on a filtered interface has such an address, in either direction.
    fn never(&self, net: IpNet) -> Option<String> {
        if let Some(meant) = holds_ipv4(net) {
            return Some(format!(
                "no IPv6 packet has such an address; IPv4 is written \"{meant}\""
            ));
        }
        let is_loopback = net.addr().is_loopback() && net.prefix_len() >= 8;
        (is_loopback && !self.filters_loopback)
            .then(|| "loopback addresses stay on lo, and no entry filters lo".to_owned())
    }

    fn name(&mut self, entry: &Interface) {
        let name = &entry.name;
        if let Some((device, _)) = name.split_once('@') {
            self.add(format!(
                "interface \"{name}\": `ip link` shows a device with its peer or parent like this; \
                 the name is \"{device}\""
            ));
        } else if let Some(stem) = name.strip_suffix('+') {
            self.add(format!(
                "interface \"{name}\": `+` is iptables' wildcard and no wildcard here; write \
                 \"{stem}*\""
            ));
        } else if let Some(other) = name.chars().find(|c| "+%,;{}()|^$!~\\\"'`&<>=".contains(*c)) {
            self.add(format!(
                "interface \"{name}\": hardly any interface has `{other}` in its name; `*`, `?` and \
                 `[...]` are the wildcards"
            ));
        }
    }

    /// `before`: the globs that stand before it.
    fn glob(&mut self, entry: &Interface, before: &[&Interface]) {
        let name = &entry.name;
        if let Some(wider) = before.iter().find(|wider| takes_all_of(wider, entry)) {
            self.add(format!(
                "interface \"{name}\" matches nothing: the entry \"{}\" before it takes all its names",
                wider.name
            ));
        }
    }

    /// Peer groups that interfaces carry, and of which none can ever have an address.
    fn members(&mut self, state: &DesiredState) {
        let mut with_members = HashSet::new();
        let mut without = HashSet::new();
        for entry in &state.interfaces {
            let can_have = entry.role == Role::Host || !entry.addresses.is_empty();
            let groups = if can_have { &mut with_members } else { &mut without };
            groups.extend(entry.groups.iter().copied());
        }
        if without.is_subset(&with_members) {
            return;
        }
        // The first group that names each.
        let mut named = HashMap::new();
        for group in &state.groups {
            for rule in group.ingress.iter().chain(&group.egress) {
                if let Peer::Group(peer) = rule.peer {
                    named.entry(peer).or_insert(&group.name);
                }
            }
        }
        for group in &state.groups {
            if with_members.contains(&group.id) || !without.contains(&group.id) {
                continue;
            }
            if let Some(by) = named.get(&group.id) {
                let name = &group.name;
                self.add(format!(
                    "group \"{name}\" as a peer in group \"{by}\" matches nothing: the interfaces in \
                     it have role \"port\" and no `addresses`"
                ));
            }
        }
    }
}

/// Says why a net is never the source of a packet, or never its destination.
fn never_in(net: IpNet, way: Direction, services: Services) -> Option<String> {
    let is_single = net.prefix_len() == net.max_prefix_len();
    if net.addr().is_unspecified() && is_single {
        let of_dhcp = match services {
            Services::Udp(ports) => ports.from <= DHCP_SERVER && DHCP_SERVER <= ports.to,
            _ => false,
        };
        let everyone = if net.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let may_be = way == Direction::Ingress && of_dhcp;
        return (!may_be)
            .then(|| format!("this single address is nobody's; everybody is \"{everyone}\""));
    }
    if way == Direction::Egress {
        return None;
    }
    if net.addr().is_multicast() && net.prefix_len() >= 4 {
        return Some("no packet comes from a multicast address".to_owned());
    }
    let broadcast = IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::BROADCAST, 32));
    (net == broadcast).then(|| "no packet comes from the broadcast address".to_owned())
}

/// The IPv4 prefix that an IPv6 one holds, mapped (`::ffff:0:0/96`) or compatible (`::/96`).
fn holds_ipv4(net: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(net) = net else { return None };
    let address = net.network();
    if net.prefix_len() < 96 || address.is_unspecified() || address.is_loopback() {
        return None;
    }
    let is_mapped = matches!(address.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..]);
    let v4 = std::net::Ipv4Addr::from_bits(address.to_bits() as u32);
    is_mapped.then(|| Ipv4Net::new(v4, net.prefix_len() - 96).ok()).flatten()
}

/// Whether every name that the glob `entry` matches falls under the glob `wider`. Certain where it
/// says so: a wildcard of `entry` can only have been matched by a `*`.
fn takes_all_of(wider: &Interface, entry: &Interface) -> bool {
    !wider.name.contains(['?', '['])
        && !entry.name.contains('[')
        && glob::Pattern::new(&wider.name).is_ok_and(|pattern| pattern.matches(&entry.name))
}

#[cfg(test)]
mod tests;
