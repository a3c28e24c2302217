//! The output of the AWS CLI, as far as it has to do with rules. Unknown keys are kept, so that the
//! import can list them.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::json;
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
    pub(super) group_name: String,
    pub(super) description: String,
    pub(super) owner_id: String,
    pub(super) vpc_id: String,
    pub(super) ip_permissions: Vec<Permission>,
    pub(super) ip_permissions_egress: Vec<Permission>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Permission {
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
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListId {
    pub(super) prefix_list_id: String,
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

/// A group as a peer; both forms of a rule have it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Pair {
    pub(super) group_id: String,
    pub(super) group_name: String,
    pub(super) user_id: String,
    pub(super) vpc_id: String,
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
    pub(super) ip_protocol: String,
    pub(super) from_port: Option<i64>,
    pub(super) to_port: Option<i64>,
    pub(super) cidr_ipv4: String,
    pub(super) cidr_ipv6: String,
    pub(super) prefix_list_id: String,
    pub(super) referenced_group_info: Option<Pair>,
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct List {
    pub(super) prefix_list_id: String,
    pub(super) prefix_list_name: String,
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
    pub(super) description: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

/// The lists that documents hold, by their keys.
const LISTS: [(&str, Kind); 4] = [
    ("SecurityGroups", Kind::Group),
    ("SecurityGroupRules", Kind::Rule),
    ("PrefixLists", Kind::List),
    ("Entries", Kind::Entry),
];

/// Keys of a document that say nothing about rules; SDKs add the second one.
const NEXT_TOKEN: &str = "NextToken";
const ABOUT_RESPONSE: &str = "ResponseMetadata";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Group,
    Rule,
    List,
    Entry,
}

impl Kind {
    /// The kind of an object that stands alone, as `--query` and jq print it. No other object of
    /// EC2's API has these keys together.
    fn of_alone(object: &Unknown) -> Option<Self> {
        let has = |key| object.contains_key(key);
        if has("GroupId") && (has("SecurityGroupRuleId") || has("IsEgress")) {
            Some(Self::Rule)
        } else if has("GroupId") && (has("IpPermissions") || has("IpPermissionsEgress")) {
            Some(Self::Group)
        } else if has("PrefixListId") && has("PrefixListName") {
            Some(Self::List)
        } else if has("Cidr") && object.keys().all(|key| key == "Cidr" || key == "Description") {
            Some(Self::Entry)
        } else {
            None
        }
    }

    /// The key without which the rest of the object is about nothing.
    fn required(self) -> &'static str {
        match self {
            Self::Group | Self::Rule => "GroupId",
            Self::List => "PrefixListId",
            Self::Entry => "Cidr",
        }
    }
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

/// A file while it is read.
struct Reader<'d> {
    documents: &'d mut Documents,
    name: &'d str,
    /// The entries of each document that holds some, and of all that stand alone.
    entries: Vec<Vec<Entry>>,
    alone: Vec<Entry>,
}

impl Documents {
    pub(super) fn read(inputs: &[Input]) -> Result<Self> {
        let mut documents = Self::default();
        let mut entries = Vec::new();
        for input in inputs {
            let name = &input.name;
            let mut reader =
                Reader { documents: &mut documents, name, entries: Vec::new(), alone: Vec::new() };
            for value in json::values(input)? {
                reader.value(value)?;
            }
            let Reader { entries: found, alone, .. } = reader;
            entries.extend(found.into_iter().map(|entries| (name, entries)));
            entries.extend((!alone.is_empty()).then_some((name, alone)));
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

impl Reader<'_> {
    /// A document, an object alone, or an array of either.
    fn value(&mut self, value: Value) -> Result<()> {
        match value {
            Value::Null => Ok(()),
            Value::Array(values) => values.into_iter().try_for_each(|value| self.value(value)),
            Value::Object(object) => match Kind::of_alone(&object) {
                Some(Kind::Entry) => {
                    self.alone.push(self.item(Kind::Entry, Value::Object(object))?);
                    Ok(())
                }
                Some(kind) => self.list(kind, Value::Object(object)),
                None => self.document(object),
            },
            _ => Err(self.something_else()),
        }
    }

    fn document(&mut self, object: Unknown) -> Result<()> {
        if !object.keys().any(|key| LISTS.iter().any(|(list, _)| list == key)) {
            return Err(self.something_else());
        }
        for (key, value) in object {
            if let Some((_, kind)) = LISTS.iter().find(|(list, _)| *list == key) {
                self.list(*kind, value)?;
            } else if key == NEXT_TOKEN {
                if value.as_str().is_some_and(|token| !token.is_empty()) {
                    self.documents.pages.push(self.name.to_owned());
                }
            } else if key != ABOUT_RESPONSE {
                return Err(self.something_else());
            }
        }
        Ok(())
    }

    /// Reads the value of a document's key: a list, one object, or `null` for an empty list.
    fn list(&mut self, kind: Kind, value: Value) -> Result<()> {
        let items = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            one => vec![one],
        };
        match kind {
            Kind::Group => {
                let items = self.items(kind, items)?;
                self.documents.groups.extend::<Vec<_>>(items);
            }
            Kind::Rule => {
                let items = self.items(kind, items)?;
                self.documents.rules.extend::<Vec<_>>(items);
            }
            Kind::List => {
                let items = self.items(kind, items)?;
                self.documents.lists.extend::<Vec<_>>(items);
            }
            Kind::Entry => {
                let items = self.items(kind, items)?;
                self.entries.push(items);
            }
        }
        Ok(())
    }

    fn items<T: DeserializeOwned>(&self, kind: Kind, items: Vec<Value>) -> Result<Vec<T>> {
        items.into_iter().map(|item| self.item(kind, item)).collect()
    }

    fn item<T: DeserializeOwned>(&self, kind: Kind, item: Value) -> Result<T> {
        let key = kind.required();
        let id = item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = self.name;
        if id.is_empty() {
            return Err(Error::Usage(format!("{name} has an object without {key}")));
        }
        serde_json::from_value(json::without_nulls(item)).map_err(|error| {
            Error::Usage(format!("{name}: {id} is not as the AWS CLI prints it: {error}"))
        })
    }

    fn something_else(&self) -> Error {
        Error::Usage(format!(
            "{} is not what describe-security-groups, describe-security-group-rules, \
             describe-managed-prefix-lists or get-managed-prefix-list-entries prints",
            self.name
        ))
    }
}
