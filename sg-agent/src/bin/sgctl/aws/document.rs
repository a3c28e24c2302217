//! What the AWS CLI prints, as far as it has to do with rules. What is not known here is kept, so that it
//! can be told of.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    input::Input,
};

/// One group, list, rule or peer as it came.
pub(super) type Unknown = Map<String, Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Group {
    pub(super) group_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) group_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    pub(super) ip_permissions: Vec<Permission>,
    pub(super) ip_permissions_egress: Vec<Permission>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Permission {
    #[serde(deserialize_with = "text")]
    pub(super) ip_protocol: String,
    pub(super) from_port: Option<i64>,
    pub(super) to_port: Option<i64>,
    pub(super) ip_ranges: Vec<Range>,
    pub(super) ipv6_ranges: Vec<Range>,
    pub(super) prefix_list_ids: Vec<ListId>,
    pub(super) user_id_group_pairs: Vec<Pair>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Range {
    #[serde(alias = "CidrIpv6")]
    pub(super) cidr_ip: String,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListId {
    pub(super) prefix_list_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

/// A group as a peer; both forms of a rule have it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Pair {
    #[serde(deserialize_with = "text")]
    pub(super) group_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) group_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) user_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) vpc_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GroupRule {
    pub(super) security_group_rule_id: String,
    pub(super) group_id: String,
    pub(super) is_egress: bool,
    #[serde(deserialize_with = "text")]
    pub(super) ip_protocol: String,
    pub(super) from_port: Option<i64>,
    pub(super) to_port: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) cidr_ipv4: String,
    #[serde(deserialize_with = "text")]
    pub(super) cidr_ipv6: String,
    #[serde(deserialize_with = "text")]
    pub(super) prefix_list_id: String,
    pub(super) referenced_group_info: Option<Pair>,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct List {
    pub(super) prefix_list_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) prefix_list_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) address_family: String,
    pub(super) max_entries: Option<u32>,
    /// `describe-prefix-lists` has the entries of AWS's own lists.
    pub(super) cidrs: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry {
    pub(super) cidr: String,
    #[serde(deserialize_with = "text")]
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

/// An absent text is often `null`.
fn text<'de, D: Deserializer<'de>>(value: D) -> std::result::Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    security_groups: Option<Vec<Group>>,
    security_group_rules: Option<Vec<GroupRule>>,
    prefix_lists: Option<Vec<List>>,
    entries: Option<Vec<Entry>>,
    next_token: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// All files together.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) groups: Vec<Group>,
    pub(super) rules: Vec<GroupRule>,
    pub(super) lists: Vec<List>,
    /// By list id.
    pub(super) entries: BTreeMap<String, Vec<Entry>>,
    /// Files that are one page of several.
    pub(super) pages: Vec<String>,
}

impl Documents {
    pub(super) fn read(inputs: &[Input]) -> Result<Self> {
        let mut documents = Self::default();
        let mut entries = Vec::new();
        for input in inputs {
            let name = &input.name;
            let file: File = serde_json::from_slice(&input.bytes).map_err(|error| {
                Error::Usage(format!("{name} is not JSON as the AWS CLI prints it: {error}"))
            })?;
            let is_any = file.security_groups.is_some()
                || file.security_group_rules.is_some()
                || file.prefix_lists.is_some()
                || file.entries.is_some();
            if !is_any || !file.unknown.is_empty() {
                return Err(Error::Usage(format!(
                    "{name} is not what describe-security-groups, describe-security-group-rules, \
                     describe-managed-prefix-lists or get-managed-prefix-list-entries prints"
                )));
            }
            if file.next_token.is_some_and(|token| !token.is_empty()) {
                documents.pages.push(name.clone());
            }
            documents.groups.extend(file.security_groups.into_iter().flatten());
            documents.rules.extend(file.security_group_rules.into_iter().flatten());
            documents.lists.extend(file.prefix_lists.into_iter().flatten());
            entries.extend(file.entries.map(|entries| (name, entries)));
        }
        let several = entries.len() > 1;
        for (name, entries) in entries {
            let id = documents.list_of(name, several)?;
            documents.entries.entry(id).or_default().extend(entries);
        }
        Ok(documents)
    }

    /// The AWS CLI does not say whose entries it prints, so the file's name has to.
    fn list_of(&self, file: &str, several: bool) -> Result<String> {
        if let Some(at) = file.rfind("pl-") {
            let digits = file[at + 3..].chars().take_while(char::is_ascii_hexdigit).count();
            if digits > 0 {
                return Ok(file[at..at + 3 + digits].to_owned());
            }
        }
        match &self.lists[..] {
            [only] if !several => Ok(only.prefix_list_id.clone()),
            _ => Err(Error::Usage(format!(
                "{file} does not say of which prefix list it has the entries: put the list's id \
                 into its name, as in pl-0123456789abcdef0.json"
            ))),
        }
    }
}
