//! The front end: the text of a rules.toml in, a [`DesiredState`] or all its faults out.
//!
//! The file is read into a tree with spans and walked by hand, so that one wrong value hides no
//! other. Names are collected first, since a group may be named before it is defined.

pub(crate) mod check;
mod cidr;
mod fault;
mod floor;
mod group;
mod interface;
mod names;
pub mod parsed;
mod services;
mod settings;
mod table;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::Range};

use toml::de::{DeArray, DeTable};

pub(crate) use cidr::{family, family_name};
pub use fault::{Fault, Faults};
pub use floor::{Floor, floor};

use self::{
    cidr::prefix_list,
    fault::Findings,
    group::{Definitions, MAX_RULES, group},
    interface::interface,
    names::{GROUP, LIST, NameKind, Names},
    settings::settings,
    table::{Section, Value},
};
use crate::{
    model::{DesiredState, Interface, PrefixList, Settings},
    shared::Shared,
};

const KEYS: [&str; 4] = ["settings", "prefix_list", "security_group", "interface"];

/// Reads the `text` of the rules file called `file`. Never panics, for any bytes; all faults of the
/// file are in the error.
///
/// ```
/// let rules = r#"
/// [[security_group]]
/// name = "web"
/// ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/24"] }]
/// "#;
/// let state = sg_policy::parse("rules.toml", rules.as_bytes()).expect("valid rules");
/// let group = state.groups.iter().next().expect("a group");
/// assert_eq!(group.name, "web");
/// // Without `egress` a group lets everything out, in each family.
/// assert_eq!((group.ingress.len(), group.egress.len()), (1, 2));
///
/// let wrong = rules.replace("80", "70000");
/// let faults = sg_policy::parse("rules.toml", wrong.as_bytes()).expect_err("no such port");
/// assert!(faults.to_string().contains("rules.toml:4"), "{faults}");
/// ```
pub fn parse(file: &str, text: &[u8]) -> Result<DesiredState, Faults> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(file, text, error.valid_up_to())),
    };
    read(file, text).map(|(state, _)| state)
}

/// Reads `text`: its state and its tree.
fn read<'t>(file: &str, text: &'t str) -> Result<(DesiredState, DeTable<'t>), Faults> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut findings = Findings::default();
    let state = document(root.get_ref(), &mut findings);
    if !errors.is_empty() {
        let mut syntax = syntax(&errors);
        syntax.add_before_break(findings);
        return Err(syntax.finish(file, text));
    }
    if findings.is_empty() {
        Ok((state, root.into_inner()))
    } else {
        Err(findings.finish(file, text))
    }
}

fn not_utf8(file: &str, text: &[u8], at: usize) -> Faults {
    let mut findings = Findings::default();
    let message = format!("not UTF-8: byte 0x{:02x}", text[at]);
    findings.add(at..at + 1, message).help("a rules file is UTF-8 text");
    // Decode only the lines up to the fault: the renderer looks at no later ones.
    let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end);
    findings.finish(file, &String::from_utf8_lossy(&text[..end]))
}

fn syntax(errors: &[toml::de::Error]) -> Findings {
    let mut findings = Findings::default();
    let mut last: Option<(Range<usize>, &str)> = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        // The parser reports a doubled table when it begins and again when it ends.
        if last.replace((span.clone(), error.message())) != Some((span.clone(), error.message())) {
            findings.add(span, format!("not TOML: {}", error.message()));
        }
    }
    findings
}

fn document(root: &DeTable<'_>, findings: &mut Findings) -> DesiredState {
    let root = Section::new(root, 0..0, "a rules file", &KEYS, findings);
    let settings = settings(root.get("settings"), findings);
    let mut array = |key| root.array(key, findings);
    let (lists, groups, interfaces) =
        (array("prefix_list"), array("security_group"), array("interface"));

    let (list_names, list_values) = define(lists, LIST, findings);
    let (group_names, group_values) = define(groups, GROUP, findings);
    let mut definitions = Definitions {
        groups: group_names,
        lists: list_names,
        prefix_lists: Vec::with_capacity(list_values.len()),
        rules_per_group: settings.quotas.rules_per_group,
    };
    for Definition { name, value, counts } in list_values {
        let list = prefix_list(value, name, findings);
        if counts {
            definitions.prefix_lists.push(list.unwrap_or_else(|| PrefixList::named(name)));
        }
    }
    let mut room = MAX_RULES;
    let groups = group_values
        .into_iter()
        .filter_map(|Definition { name, value, .. }| {
            group(value, name, &definitions, &mut room, findings).map(Shared::new)
        })
        .collect();
    let interfaces = all_interfaces(interfaces, &definitions.groups, &settings, findings).into();
    DesiredState { settings, prefix_lists: definitions.prefix_lists, groups, interfaces }
}

/// A table that defines a name.
struct Definition<'t, 'i> {
    name: &'t str,
    value: &'t Value<'i>,
    /// False for one that has no name of its own: it is read for its faults only.
    counts: bool,
}

/// The names that an array of tables defines, and all its tables.
fn define<'t, 'i>(
    array: Option<&'t DeArray<'i>>,
    kind: NameKind,
    findings: &mut Findings,
) -> (Names<'t>, Vec<Definition<'t, 'i>>) {
    let mut names = Names::new(kind);
    let mut definitions = Vec::new();
    for value in array.into_iter().flat_map(|array| array.iter()) {
        let Some(section) = Section::name_only(value, kind.with_article, findings) else {
            continue;
        };
        let name = kind.read(&section, findings);
        let place = section.place("name");
        let counts = name.is_some_and(|name| names.define(name, place, findings).is_some());
        definitions.push(Definition { name: name.unwrap_or_default(), value, counts });
    }
    (names, definitions)
}

fn all_interfaces(
    array: Option<&DeArray<'_>>,
    groups: &Names<'_>,
    settings: &Settings,
    findings: &mut Findings,
) -> Vec<Interface> {
    let mut seen: HashMap<String, Range<usize>> = HashMap::new();
    let mut interfaces = Vec::new();
    for value in array.into_iter().flat_map(|array| array.iter()) {
        let Some(interface) = interface(value, groups, settings, findings) else { continue };
        // Not ignoring case: eth0 and ETH0 are two interfaces.
        let place =
            || value.get_ref().get("name").map_or_else(|| value.span(), toml::Spanned::span);
        match seen.get(&interface.name) {
            _ if interface.name.is_empty() => {}
            Some(first) => {
                findings
                    .add(place(), format!("the interface \"{}\" has two entries", interface.name))
                    .related(first.clone(), "first here")
                    .global();
            }
            None => {
                seen.insert(interface.name.clone(), place());
            }
        }
        interfaces.push(interface);
    }
    interfaces
}
