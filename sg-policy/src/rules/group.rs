//! `[[security_group]]`: its rules, one per peer and range of ports, and their quota.

use std::{collections::HashMap, ops::Range};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sg_common::{Direction, Family};

use super::{
    cidr::{cidr, family, family_name},
    fault::Findings,
    names::{Names, description},
    services::{only_family, services},
    table::{Section, Value},
};
use crate::{
    id::{NamedPeer, RuleIds},
    model::{GroupId, Peer, PrefixList, Rule, RuleId, SecurityGroup, Services},
};

const GROUP_KEYS: [&str; 4] = ["name", "description", "ingress", "egress"];
const RULE_KEYS: [&str; 8] =
    ["protocol", "ports", "type", "code", "cidrs", "groups", "prefix_lists", "description"];

/// Rules of all groups together: more would not fit into memory, let alone into an image.
pub(super) const MAX_RULES: usize = 1_000_000;

/// The names that a group's rules may refer to.
#[derive(Debug)]
pub(super) struct Definitions<'t> {
    pub(super) groups: Names<'t>,
    pub(super) lists: Names<'t>,
    /// By the number in `lists`.
    pub(super) prefix_lists: Vec<PrefixList>,
    pub(super) rules_per_group: u32,
}

/// A peer that is named in a rule.
struct Named<'t> {
    peer: Peer,
    name: NamedPeer<'t>,
    /// `None`: both.
    family: Option<Family>,
    /// Its weight in the quota.
    weight: u64,
    place: Range<usize>,
}

/// One `[[security_group]]`. `room`: rules that the file may still have.
pub(super) fn group(
    value: &Value<'_>,
    name: &str,
    definitions: &Definitions<'_>,
    room: &mut usize,
    findings: &mut Findings,
) -> Option<SecurityGroup> {
    let section = Section::of(value, "a security group", &GROUP_KEYS, findings)?;
    let description = description(&section, findings);
    let mut rules = |direction, key| {
        let array = section.array(key, findings)?;
        let mut table = RuleTable::new(name, direction, definitions, *room);
        for value in array.iter() {
            table.add(value, findings);
        }
        let rules = table.finish(name, findings);
        *room -= rules.len();
        Some(rules)
    };
    let ingress = rules(Direction::Ingress, "ingress").unwrap_or_default();
    let egress = rules(Direction::Egress, "egress");
    let default_egress = section.get("egress").is_none();
    let egress = if default_egress { everything(name) } else { egress.unwrap_or_default() };
    Some(SecurityGroup {
        description,
        ingress,
        egress,
        default_egress,
        ..SecurityGroup::named(name)
    })
}

/// The egress of a group that says nothing about it, as EC2 gives it to a new group.
pub(crate) fn everything(group: &str) -> Vec<Rule> {
    let ids = RuleIds::new(group, Direction::Egress);
    let rule = |cidr| {
        let peer = Peer::Cidr(cidr);
        let id = ids.id(Services::All, NamedPeer::Cidr(cidr));
        Rule { id, services: Services::All, peer, description: String::new() }
    };
    vec![rule(IpNet::V4(Ipv4Net::default())), rule(IpNet::V6(Ipv6Net::default()))]
}

/// A group's rules of one direction, as they are read.
pub(super) struct RuleTable<'d, 't> {
    definitions: &'d Definitions<'t>,
    direction: Direction,
    ids: RuleIds,
    rules: Vec<Rule>,
    /// Where each rule's peer and ports stand.
    places: HashMap<RuleId, (Range<usize>, Range<usize>)>,
    /// The rules' weight by family, and where the quota was first exceeded.
    weight: [u64; 2],
    exceeded: [Option<Range<usize>>; 2],
    room: usize,
    full: Option<Range<usize>>,
}

impl<'d, 't> RuleTable<'d, 't> {
    pub(super) fn new(
        group: &str,
        direction: Direction,
        definitions: &'d Definitions<'t>,
        room: usize,
    ) -> Self {
        Self {
            definitions,
            direction,
            ids: RuleIds::new(group, direction),
            rules: Vec::new(),
            places: HashMap::new(),
            weight: [0; 2],
            exceeded: [None, None],
            room,
            full: None,
        }
    }

    fn add(&mut self, value: &Value<'_>, findings: &mut Findings) {
        let section = Section::of(value, "a rule", &RULE_KEYS, findings);
        if let Some(section) = section {
            self.add_section(&section, findings);
        }
    }

    /// Adds the rules of a table whose keys were looked at.
    pub(super) fn add_section(&mut self, section: &Section<'_, '_>, findings: &mut Findings) {
        let services = services(section, findings);
        let peers = self.peers(section, services.first().map(|(services, _)| *services), findings);
        let description = description(section, findings);
        if !self.weigh(&peers, services.len() as u64, &section.span) {
            return;
        }
        for (services, ports_at) in &services {
            for named in &peers {
                let id = self.ids.id(*services, named.name);
                if let Some((peer, ports)) = self.places.get(&id) {
                    let ports_differ = *peer == named.place;
                    let (here, first) =
                        if ports_differ { (ports_at, ports) } else { (&named.place, peer) };
                    findings
                        .add(here.clone(), "this rule is in the group already")
                        .related(first.clone(), "first here");
                    continue;
                }
                self.places.insert(id, (named.place.clone(), ports_at.clone()));
                self.rules.push(Rule {
                    id,
                    services: *services,
                    peer: named.peer,
                    description: description.clone(),
                });
            }
        }
    }

    /// Counts the weight of a rule table before it is spelt out, as a short one can make millions
    /// of rules. Returns false if there is no room for it.
    fn weigh(&mut self, peers: &[Named<'_>], times: u64, span: &Range<usize>) -> bool {
        for family in Family::BOTH {
            let in_family =
                peers.iter().filter(|named| named.family.is_none_or(|own| own == family));
            let weight = &mut self.weight[family as usize];
            *weight += in_family.map(|named| named.weight).sum::<u64>() * times;
            if *weight > u64::from(self.definitions.rules_per_group) {
                self.exceeded[family as usize].get_or_insert_with(|| span.clone());
            }
        }
        // A list of weight 0 escapes the quota, so the number of rules is looked at as well.
        if (self.rules.len() as u64 + peers.len() as u64 * times) > self.room as u64 {
            self.full.get_or_insert_with(|| span.clone());
        }
        self.full.is_none() && self.exceeded.iter().all(Option::is_none)
    }

    pub(super) fn finish(self, group: &str, findings: &mut Findings) -> Vec<Rule> {
        let direction = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let limit = self.definitions.rules_per_group;
        for (family, exceeded) in Family::BOTH.into_iter().zip(self.exceeded) {
            let Some(span) = exceeded else { continue };
            let count = self.weight[family as usize];
            let name = family_name(family);
            findings
                .add(
                    span,
                    format!(
                        "security group \"{group}\" has {count} {direction} rules for {name}, \
                         more than the quota of {limit}"
                    ),
                )
                .help(
                    "raise rules_per_group in [settings.quotas]; a prefix list counts as its \
                     max_entries",
                )
                .global();
        }
        if let Some(span) = self.full {
            findings.add(span, format!("the file has more than {MAX_RULES} rules")).global();
        }
        self.rules
    }

    /// The peers of a rule table, in the order `cidrs`, `groups`, `prefix_lists`.
    fn peers(
        &self,
        section: &Section<'_, '_>,
        services: Option<Services>,
        findings: &mut Findings,
    ) -> Vec<Named<'d>> {
        let only = services.and_then(only_family);
        let mut peers = Vec::new();
        let mut given = 0;
        let mut absent = true;
        for key in ["cidrs", "groups", "prefix_lists"] {
            absent &= section.get(key).is_none();
            let Some(array) = section.array(key, findings) else {
                given += usize::from(section.get(key).is_some());
                continue;
            };
            given += array.len();
            for value in array.iter() {
                let named = match key {
                    "cidrs" => cidr(value, findings).map(|net| Named {
                        peer: Peer::Cidr(net),
                        name: NamedPeer::Cidr(net),
                        family: Some(family(net)),
                        weight: 1,
                        place: value.span(),
                    }),
                    "groups" => self.group_peer(value, findings),
                    _ => self.list_peer(value, findings),
                };
                peers.extend(named.filter(|named| fits(named, only, findings)));
            }
        }
        if given == 0 {
            let finding = findings.add(section.span.clone(), "this rule has no peer");
            finding.help("give at least one of `cidrs`, `groups`, `prefix_lists`");
            if absent {
                finding.global();
            }
        }
        peers
    }

    fn group_peer(&self, value: &Value<'_>, findings: &mut Findings) -> Option<Named<'d>> {
        let groups = &self.definitions.groups;
        let name = groups.name(groups.resolve(value, findings)?);
        let (peer, name) = (Peer::Group(GroupId::of_name(name)), NamedPeer::Group(name));
        Some(Named { peer, name, family: None, weight: 1, place: value.span() })
    }

    fn list_peer(&self, value: &Value<'_>, findings: &mut Findings) -> Option<Named<'d>> {
        let number = self.definitions.lists.resolve(value, findings)?;
        let list = &self.definitions.prefix_lists[number];
        let (peer, name) = (Peer::PrefixList(list.id), NamedPeer::PrefixList(&list.name));
        let weight = u64::from(list.max_entries);
        Some(Named { peer, name, family: list.family, weight, place: value.span() })
    }
}

/// Whether a peer is of the family that the rule's protocol is confined to.
fn fits(named: &Named<'_>, only: Option<Family>, findings: &mut Findings) -> bool {
    let (Some(only), Some(family)) = (only, named.family) else { return true };
    if family == only {
        return true;
    }
    let (protocol, other) = match only {
        Family::V4 => ("icmp", "icmpv6"),
        Family::V6 => ("icmpv6", "icmp"),
    };
    let what = match named.name {
        NamedPeer::PrefixList(name) => format!("prefix list \"{name}\""),
        NamedPeer::Cidr(net) => format!("\"{net}\""),
        NamedPeer::Group(_) => return true,
    };
    let message =
        format!("{what} is {}, but {protocol} is {}", family_name(family), family_name(only));
    findings.add(named.place.clone(), message).help(format!("for it, write a rule for {other}"));
    false
}
