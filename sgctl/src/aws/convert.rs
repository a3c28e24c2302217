//! From AWS's documents to a desired state, its text, and the list of what is left out.

use std::{
    collections::{
        BTreeMap, HashMap, HashSet, btree_map::Entry as Place, hash_map::Entry as SeenPlace,
    },
    sync::Arc,
};

use ipnet::IpNet;
use sg_common::{Direction, Family};
use sg_policy::{
    DesiredState,
    describe::plain,
    export,
    id::{NamedPeer, RuleIds},
    model::{Peer, PrefixEntry, PrefixList, PrefixListId, Quotas, Rule, SecurityGroup},
};

use super::{
    Imported, Left, Tagged,
    document::{Documents, Entry, Group, List},
    names::{Names, description},
    rule::{AwsPeer, AwsRule, Identity, family_of, has_tags, keys},
};
use crate::output::count;

/// The most that rules_per_interface can be.
const MAX_RULES: u64 = 1_000_000;

/// Keys that identify only.
const GROUP_KEYS: [&str; 1] = ["SecurityGroupArn"];
const LIST_KEYS: [&str; 8] = [
    "State",
    "StateMessage",
    "PrefixListArn",
    "Version",
    "OwnerId",
    "IpamPrefixListResolverTargetId",
    "IpamPrefixListResolverSyncEnabled",
    "SyncEnabled",
];

#[derive(Debug, Default)]
struct Conversion {
    /// By AWS id.
    groups: BTreeMap<String, SecurityGroup>,
    /// The groups that a file describes, by AWS id.
    origins: BTreeMap<String, Origin>,
    names: Names,
    lists: BTreeMap<String, PrefixList>,
    /// Lists that are named in the files without their entries.
    without_entries: HashSet<String>,
    left: Vec<Left>,
    /// The rules so far, each with its description.
    seen: HashMap<Identity, String>,
    carried_over: usize,
    /// Ids, because two files may have one object.
    tagged_groups: HashSet<String>,
    tagged_lists: HashSet<String>,
    tagged_rules: HashSet<Identity>,
}

/// A group's name and VPC in AWS, where a name is unique in a VPC only.
#[derive(Debug)]
struct Origin {
    name: String,
    owner: String,
    vpc: String,
}

pub(super) fn convert(documents: Documents) -> Imported {
    let Documents { groups, rules, lists, entries, pages } = documents;
    let mut conversion = Conversion::default();
    for page in pages {
        conversion.note(page, "it is one page of several: run the command without --no-paginate");
    }
    conversion.define_lists(lists, entries);
    let mut all = conversion.define_groups(groups);
    all.extend(rules.into_iter().map(AwsRule::of_group_rule));
    conversion.define_unnamed(&all);
    for mut rule in all {
        conversion.resolve_by_name(&mut rule);
        conversion.take(&rule);
    }
    conversion.finish()
}

impl Conversion {
    fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left.push(Left { is_rule: false, what: what.into(), why: why.into() });
    }

    fn note_keys(&mut self, what: &str, keys: impl Iterator<Item = String>) {
        let keys: Vec<String> = keys.collect();
        if !keys.is_empty() {
            self.note(format!("{what}: {}", keys.join(", ")), "there is nothing like it here");
        }
    }

    fn describe(&mut self, what: &str, text: &str) -> String {
        description(text).unwrap_or_else(|| {
            self.note(format!("{what}: its description"), "it has other characters, or too many");
            String::new()
        })
    }

    fn define_lists(&mut self, lists: Vec<List>, mut entries: BTreeMap<String, Vec<Entry>>) {
        let mut names = Names::default();
        for list in lists {
            let id = list.prefix_list_id;
            if has_tags(&list.unknown) {
                self.tagged_lists.insert(id.clone());
            }
            self.note_keys(&id, keys(&list.unknown, &LIST_KEYS));
            let from_file = entries.remove(&id);
            let of_cidr = |cidr| Entry { cidr, ..Entry::default() };
            let with_list = || Some(list.cidrs?.into_iter().map(of_cidr).collect());
            let Some(listed) = from_file.or_else(with_list) else {
                self.without_entries.insert(id);
                continue;
            };
            let name = names.give(&list.prefix_list_name, &id, "prefix list");
            let family = match list.address_family.as_str() {
                "IPv4" => Some(Family::V4),
                "IPv6" => Some(Family::V6),
                _ => None,
            };
            let list = self.list(&id, &name, family, list.max_entries, listed);
            self.lists.insert(id, list);
        }
        for (id, listed) in entries {
            let name = names.give("", &id, "prefix list");
            let list = self.list(&id, &name, None, None, listed);
            self.lists.insert(id, list);
        }
    }

    fn list(
        &mut self,
        id: &str,
        name: &str,
        family: Option<Family>,
        max_entries: Option<u32>,
        listed: Vec<Entry>,
    ) -> PrefixList {
        let mut list = PrefixList { family, ..PrefixList::named(name) };
        for Entry { cidr, description, unknown } in listed {
            let what = format!("entry {cidr} of {id}");
            self.note_keys(&what, keys(&unknown, &[]));
            let Ok(net) = cidr.parse::<IpNet>() else {
                self.note(what, "it is no network");
                continue;
            };
            let net = net.trunc();
            if *list.family.get_or_insert(family_of_net(&net)) != family_of_net(&net) {
                self.note(what, "a list has one address family");
            } else if list.entries.iter().any(|entry| entry.cidr == net) {
                self.note(what, "the list has it already");
            } else {
                let description = self.describe(&what, &description);
                Arc::make_mut(&mut list.entries).push(PrefixEntry { cidr: net, description });
            }
        }
        list.max_entries = max_entries.unwrap_or(0).max(list.entries.len() as u32);
        if list.entries.is_empty() {
            list.family = None;
        }
        list
    }

    /// Groups with their names, and the rules that they bring.
    fn define_groups(&mut self, groups: Vec<Group>) -> Vec<AwsRule> {
        let mut rules = Vec::new();
        for group in groups {
            let id = group.group_id;
            if has_tags(&group.unknown) {
                self.tagged_groups.insert(id.clone());
            }
            self.note_keys(&id, keys(&group.unknown, &GROUP_KEYS));
            for (egress, permissions) in
                [(false, group.ip_permissions), (true, group.ip_permissions_egress)]
            {
                let of = |permission| AwsRule::of_permission(&id, egress, permission);
                rules.extend(permissions.into_iter().flat_map(of));
            }
            if self.groups.contains_key(&id) {
                continue;
            }
            let name = self.names.give(&group.group_name, &id, "group");
            let description = self.describe(&id, &group.description);
            let origin =
                Origin { name: group.group_name, owner: group.owner_id, vpc: group.vpc_id };
            self.origins.insert(id.clone(), origin);
            self.groups.insert(id, empty_group(&name, description));
        }
        rules
    }

    /// Groups that only their rules tell of.
    fn define_unnamed(&mut self, rules: &[AwsRule]) {
        for AwsRule { group, .. } in rules {
            if let Place::Vacant(place) = self.groups.entry(group.clone()) {
                let name = self.names.give("", group, "group");
                place.insert(empty_group(&name, String::new()));
            }
        }
    }

    /// Gives a peer that has a name only the id of the group that is called so, if there is one.
    fn resolve_by_name(&self, rule: &mut AwsRule) {
        let AwsPeer::Group { id, name, owner, vpc } = &mut rule.peer else { return };
        if !id.is_empty() || name.is_empty() {
            return;
        }
        if vpc.is_empty()
            && let Some(of_rule) = self.origins.get(&rule.group)
        {
            vpc.clone_from(&of_rule.vpc);
        }
        if let [only] = self.called(name, owner, vpc)[..] {
            *id = only.to_owned();
        }
    }

    /// The ids of the groups that can be meant. An owner or a VPC that a file does not say may be any.
    fn called(&self, name: &str, owner: &str, vpc: &str) -> Vec<&str> {
        let can_be =
            |wanted: &str, found: &str| wanted.is_empty() || found.is_empty() || wanted == found;
        let is_meant = |origin: &Origin| {
            // EC2 ignores case in the names of groups.
            origin.name.eq_ignore_ascii_case(name)
                && can_be(owner, &origin.owner)
                && can_be(vpc, &origin.vpc)
        };
        let found = self.origins.iter().filter(|(_, origin)| is_meant(origin));
        found.map(|(id, _)| id.as_str()).collect()
    }

    fn take(&mut self, rule: &AwsRule) {
        let what = rule.text();
        let identity = rule.identity();
        if rule.has_tags {
            self.tagged_rules.insert(identity.clone());
        }
        // Two commands tell of the same rules.
        match self.seen.entry(identity) {
            SeenPlace::Occupied(first) => {
                if *first.get() != rule.description {
                    let text = format!("{what}: description {:?}", rule.description);
                    self.note(text, "the rule has another one in the files");
                }
                self.note_keys(&what, rule.unknown.iter().cloned());
                return;
            }
            SeenPlace::Vacant(place) => drop(place.insert(rule.description.clone())),
        }
        match self.rule(rule) {
            Ok(mut new) => {
                self.note_keys(&what, rule.unknown.iter().cloned());
                new.description = self.describe(&what, &rule.description);
                let Some(group) = self.groups.get_mut(&rule.group) else { return };
                let rules = if rule.egress { &mut group.egress } else { &mut group.ingress };
                rules.push(new);
                self.carried_over += 1;
            }
            Err(why) => self.left.push(Left { is_rule: true, what, why }),
        }
    }

    /// The rule without its description, or why there can be no such rule.
    fn rule(&self, rule: &AwsRule) -> Result<Rule, String> {
        let services = rule.services()?;
        let (peer, named, family) = self.peer(&rule.peer)?;
        if let (Some(only), Some(family)) = (family_of(services), family)
            && only != family
        {
            return Err("ICMP of one family and addresses of the other: it matches nothing".into());
        }
        let group = self.groups.get(&rule.group).map_or("", |group| &group.name);
        let direction = if rule.egress { Direction::Egress } else { Direction::Ingress };
        let id = RuleIds::new(group, direction).id(services, named);
        Ok(Rule { id, services, peer, description: String::new() })
    }

    fn peer(&self, peer: &AwsPeer) -> Result<(Peer, NamedPeer<'_>, Option<Family>), String> {
        match peer {
            AwsPeer::Nobody => Err("it names no peer".into()),
            AwsPeer::Cidr(cidr) => {
                let net: IpNet = cidr.parse().map_err(|_| format!("{cidr} is no network"))?;
                let net = net.trunc();
                Ok((Peer::Cidr(net), NamedPeer::Cidr(net), Some(family_of_net(&net))))
            }
            AwsPeer::List(id) => match self.lists.get(id) {
                Some(list) => {
                    Ok((Peer::PrefixList(list.id), NamedPeer::PrefixList(&list.name), list.family))
                }
                None if self.without_entries.contains(id) => Err(format!(
                    "the entries of {id} are in no file: aws ec2 get-managed-prefix-list-entries \
                     --prefix-list-id {id} > {id}.json"
                )),
                None => Err(format!("prefix list {id} is in no file")),
            },
            AwsPeer::Group { id, name, owner, vpc } => match self.groups.get(id) {
                Some(group) => Ok((Peer::Group(group.id), NamedPeer::Group(&group.name), None)),
                None if id.is_empty() && self.called(name, owner, vpc).len() > 1 => {
                    Err(format!("several groups in the files are called {name}"))
                }
                None => {
                    let mut text = format!("group {}", if id.is_empty() { name } else { id });
                    if !owner.is_empty() {
                        text += &format!(" of account {owner}");
                    }
                    if !vpc.is_empty() {
                        text += &format!(" in {vpc}");
                    }
                    Err(format!("{text} is in no file"))
                }
            },
        }
    }

    fn finish(mut self) -> Imported {
        let rules = self.seen.len();
        let mut told = HashSet::new();
        self.left.retain(|left| left.is_rule || told.insert(left.to_string()));
        // A lost rule matters more than anything else, and is not to drown.
        self.left.sort_by_key(|left| !left.is_rule);
        let state = DesiredState {
            settings: sg_policy::model::Settings { quotas: self.quotas(), ..Default::default() },
            groups: self.groups.values().cloned().map(Into::into).collect(),
            prefix_lists: self.lists.values().cloned().collect(),
            interfaces: Vec::new().into(),
        };
        let rules_toml = format!("{}\n{}", self.head(rules), export::to_toml(&state));
        let tagged = self.tagged();
        let Self { left: not_carried_over, carried_over, .. } = self;
        Imported { rules_toml, rules, carried_over, not_carried_over, tagged }
    }

    fn tagged(&self) -> Tagged {
        Tagged {
            groups: self.tagged_groups.len(),
            rules: self.tagged_rules.len(),
            prefix_lists: self.tagged_lists.len(),
        }
    }

    fn head(&self, rules: usize) -> String {
        let mut lines = vec![format!(
            "From AWS by `sgctl import aws`: {} of {rules} rules. Add [[interface]] entries.",
            self.carried_over
        )];
        let groups = self.groups.iter().map(|(id, group)| (id, &group.name));
        let lists = self.lists.iter().map(|(id, list)| (id, &list.name));
        lines.extend(groups.chain(lists).map(|(id, name)| format!("{id} = {name}")));
        let tags = self.tagged().text();
        if !self.left.is_empty() || tags.is_some() {
            lines.push("Not carried over:".to_owned());
            lines.extend(self.left.iter().map(|left| format!("- {left}")));
            lines.extend(tags.map(|tags| format!("- {tags}")));
        }
        let comment = |line: String| format!("# {}\n", plain(&line));
        lines.into_iter().map(comment).collect()
    }

    /// As large as the groups need, and no smaller than the defaults.
    fn quotas(&self) -> Quotas {
        let weights: HashMap<PrefixListId, (u64, Option<Family>)> = self
            .lists
            .values()
            .map(|list| (list.id, (u64::from(list.max_entries), list.family)))
            .collect();
        let weight = |rules: &[Rule], family: Family| -> u64 {
            let of = |rule: &Rule| match &rule.peer {
                Peer::Cidr(net) => (1, Some(family_of_net(net))),
                Peer::Group(_) => (1, None),
                Peer::PrefixList(id) => weights[id],
            };
            let weights = rules.iter().map(of);
            weights.filter(|(_, only)| only.is_none_or(|only| only == family)).map(|(n, _)| n).sum()
        };
        let heaviest = self
            .groups
            .values()
            .flat_map(|group| [&group.ingress, &group.egress])
            .flat_map(|rules| Family::BOTH.map(|family| weight(rules, family)))
            .max()
            .unwrap_or(0);
        let default = Quotas::default();
        let rules_per_group = heaviest.max(default.rules_per_group.into());
        let groups_per_interface =
            (MAX_RULES / rules_per_group).clamp(1, default.groups_per_interface.into());
        let rules_per_interface =
            (rules_per_group * groups_per_interface).max(default.rules_per_interface.into());
        // Beyond what can be said, the text is refused.
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Quotas {
            rules_per_group: number(rules_per_group),
            groups_per_interface: number(groups_per_interface),
            rules_per_interface: number(rules_per_interface),
        }
    }
}

impl Tagged {
    /// One line for all; nothing if nothing has tags.
    pub(crate) fn text(self) -> Option<String> {
        let of = [(self.groups, "group"), (self.rules, "rule"), (self.prefix_lists, "prefix list")];
        let counts: Vec<String> =
            of.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(n, what)).collect();
        (!counts.is_empty())
            .then(|| format!("tags of {}: nothing here has tags", counts.join(", ")))
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

fn empty_group(name: &str, description: String) -> SecurityGroup {
    SecurityGroup { description, ..SecurityGroup::named(name) }
}

fn family_of_net(net: &IpNet) -> Family {
    if net.addr().is_ipv4() { Family::V4 } else { Family::V6 }
}
