//! `[[floor]]` of agent.toml: rules that hold on every interface in host role, beside any control
//! plane's. They are written as in a rules.toml, with a `direction` and without groups and lists.

use sg_common::Direction;
use toml::de::DeTable;

use super::{
    Definitions, Faults,
    fault::Findings,
    group::{MAX_RULES, RuleTable},
    names::{GROUP, LIST, Names},
    syntax,
    table::Section,
};
use crate::model::Rule;

/// The name that the floor's rule ids are derived from.
const NAME: &str = "sg:floor";
const KEYS: [&str; 7] = ["direction", "protocol", "ports", "type", "code", "cidrs", "description"];
const DIRECTIONS: [(&str, Direction); 2] =
    [("ingress", Direction::Ingress), ("egress", Direction::Egress)];

/// The rules of a floor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
}

/// Reads the floor in the text of the settings file called `file`. Other keys are not looked at. `None`:
/// the file says nothing about a floor; `floor = []` is one without rules.
///
/// # Errors
/// Every fault of the floor with its line, or that the file is no TOML.
pub fn floor(file: &str, text: &str) -> Result<Option<Floor>, Faults> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&errors).finish(file, text));
    }
    let mut findings = Findings::default();
    let Some(value) = root.get_ref().get("floor") else { return Ok(None) };
    let Some(array) = value.get_ref().as_array() else {
        findings.add(value.span(), "`floor` is an array of tables: write [[floor]]");
        return Err(findings.finish(file, text));
    };
    let definitions = Definitions {
        groups: Names::new(GROUP),
        lists: Names::new(LIST),
        prefix_lists: Vec::new(),
        rules_per_group: u32::MAX,
    };
    let mut ingress = RuleTable::new(NAME, Direction::Ingress, &definitions, MAX_RULES);
    let mut egress = RuleTable::new(NAME, Direction::Egress, &definitions, MAX_RULES);
    for value in array.iter() {
        let Some(section) = Section::of(value, "a floor", &KEYS, &mut findings) else { continue };
        let direction = section.choice("direction", &DIRECTIONS, &mut findings);
        match direction.unwrap_or(Direction::Ingress) {
            Direction::Ingress => ingress.add_section(&section, &mut findings),
            Direction::Egress => egress.add_section(&section, &mut findings),
        }
    }
    let ingress = ingress.finish(NAME, &mut findings);
    let egress = egress.finish(NAME, &mut findings);
    if findings.is_empty() {
        Ok(Some(Floor { ingress, egress }))
    } else {
        Err(findings.finish(file, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Peer, PortRange, Services};

    const SSH: &str = r#"
control = "unix:/run/sg-server/feed.sock"
[[floor]]
protocol = "tcp"
ports = 22
cidrs = ["192.0.2.0/24"]
[[floor]]
direction = "egress"
protocol = "all"
cidrs = ["0.0.0.0/0"]
"#;

    #[test]
    fn a_floor_is_rules_by_direction() {
        let floor = floor("agent.toml", SSH).expect("valid").expect("a floor");
        assert_eq!((floor.ingress.len(), floor.egress.len()), (1, 1));
        let rule = &floor.ingress[0];
        assert_eq!(rule.services, Services::Tcp(PortRange { from: 22, to: 22 }));
        assert_eq!(rule.peer, Peer::Cidr("192.0.2.0/24".parse().expect("a prefix")));
    }

    #[test]
    fn none_is_not_an_empty_one() {
        assert_eq!(floor("agent.toml", "metrics = 'x'").expect("valid"), None);
        assert_eq!(floor("agent.toml", "floor = []").expect("valid"), Some(Floor::default()));
    }

    #[test]
    fn faults_are_named_with_their_lines() {
        for (text, place, what) in [
            ("floor = 1", "agent.toml:1", "[[floor]]"),
            (&SSH.replace("22", "70000"), "agent.toml:5", "70000"),
            (&SSH.replace("192.0.2.0/24", "192.0.2.1"), "agent.toml:6", "192.0.2.1"),
            (&SSH.replace("egress", "out"), "agent.toml:8", "out"),
            (&SSH.replace("ports = 22", "groups = ['web']"), "agent.toml:5", "groups"),
            (&SSH.replace("cidrs = [\"192.0.2.0/24\"]", ""), "agent.toml:3", "peer"),
            ("[[floor", "agent.toml:1", "TOML"),
        ] {
            let faults = floor("agent.toml", text).expect_err(what).to_string();
            assert!(faults.contains(place) && faults.contains(what), "{text}\n{faults}");
        }
    }
}
