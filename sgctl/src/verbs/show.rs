use sg_api::{Shown, ShownGroup, ShownInterface, ShownPrefixList, ShownRule, client::Client};
use sg_policy::describe::plain;

use crate::{
    error::Result,
    output::{Output, count},
    table::table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    what: What,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Groups,
    Rules,
    PrefixLists,
    Interfaces,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let shown: Shown = client.get("/v1/show")?;
        match self.what {
            What::Groups => self.output.print(&shown.groups, |groups| show_groups(groups)),
            What::Rules => self.output.print(&shown.rules, |rules| show_rules(rules)),
            What::PrefixLists => {
                self.output.print(&shown.prefix_lists, |lists| show_prefix_lists(lists))
            }
            What::Interfaces => {
                self.output.print(&shown.interfaces, |interfaces| show_interfaces(interfaces))
            }
        }
    }
}

fn show_groups(groups: &[ShownGroup]) -> String {
    if groups.is_empty() {
        return "no security groups\n".to_owned();
    }
    let header = ["NAME", "INGRESS", "EGRESS", "DESCRIPTION", "MEMBERS"];
    let rows = groups.iter().map(|group| {
        [
            group.name.clone(),
            group.ingress_rules.to_string(),
            group.egress_rules.to_string(),
            group.description.clone(),
            list(&group.members),
        ]
    });
    table(header, rows)
}

pub(crate) fn show_rules(rules: &[ShownRule]) -> String {
    if rules.is_empty() {
        return "no rules\n".to_owned();
    }
    let header = ["ID", "GROUP", "DIRECTION", "PROTOCOL", "PORTS", "PEER", "DESCRIPTION"];
    let rows = rules.iter().cloned().map(|rule| {
        [
            rule.id,
            rule.group,
            rule.direction,
            rule.protocol,
            rule.ports,
            rule.peer,
            rule.description,
        ]
    });
    table(header, rows)
}

fn show_prefix_lists(lists: &[ShownPrefixList]) -> String {
    if lists.is_empty() {
        return "no prefix lists\n".to_owned();
    }
    lists.iter().map(show_prefix_list).collect::<Vec<_>>().join("\n")
}

/// The list's name, then a line per entry.
fn show_prefix_list(list: &ShownPrefixList) -> String {
    let ShownPrefixList { name, description, max_entries, entries } = list;
    let mut text = format!("{}: {} of {max_entries} entries", plain(name), entries.len());
    if !description.is_empty() {
        text += &format!(", {}", plain(description));
    }
    text += "\n";
    for entry in entries {
        text += format!("  {:<18}  {}", entry.cidr, plain(&entry.description)).trim_end();
        text += "\n";
    }
    text
}

fn show_interfaces(interfaces: &[ShownInterface]) -> String {
    if interfaces.is_empty() {
        return "no interface entries\n".to_owned();
    }
    let header = ["NAME", "ROLE", "DATAPATH", "SOURCE CHECK", "MAC", "NOW", "GROUPS", "ADDRESSES"];
    let rows = interfaces.iter().map(|interface| {
        [
            interface.name.clone(),
            interface.role.clone(),
            interface.datapath.clone(),
            if interface.source_check { "yes" } else { "no" }.to_owned(),
            interface.mac.clone().unwrap_or_else(|| "-".to_owned()),
            now(&interface.matches),
            interface.groups.join(", "),
            list(&interface.addresses),
        ]
    });
    table(header, rows)
}

/// Which interfaces fall under an entry.
fn now(matches: &[String]) -> String {
    match matches {
        [] => "absent".to_owned(),
        [name] => name.clone(),
        names => count(names.len(), "interface"),
    }
}

fn list(addresses: &[std::net::IpAddr]) -> String {
    if addresses.is_empty() {
        return "-".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
