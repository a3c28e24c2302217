//! The Query protocol's form: `A.1.B.2.C=value`, decoded to a tree.
//!
//! Lists are flat: `Filter.1`, `Filter.2`. Each limit here bounds what one request can cost.

use std::collections::BTreeMap;

use crate::error::Error;

/// A request has at most so many parameters. The largest legal one, CreateTags of 1,000 resources with 50 tags, has 1,100.
pub const MAX_PARAMETERS: usize = 4096;
/// The deepest name of the API has 7 parts (`IpPermissions.1.Groups.1.GroupId` has 5).
pub const MAX_DEPTH: usize = 8;
/// No name of the API is longer than 100 bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A node of the tree: a value, or parts by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub value: Option<String>,
    pub parts: BTreeMap<String, Node>,
}

/// A decoded request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pub(crate) root: Node,
    pub(crate) action: Option<String>,
    version: Option<String>,
}

impl Parameters {
    /// Decodes the query of a URL and the body of a form. Both may have parameters, but no name may come twice.
    /// Parameters of a presigned request (`X-Amz-…`) are left out.
    pub fn decode(query: &[u8], body: &[u8]) -> Result<Self, Error> {
        let mut parameters = Self::default();
        let mut count = 0;
        for form in [query, body] {
            for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
                count += 1;
                if count > MAX_PARAMETERS {
                    let text = format!("The request has more than {MAX_PARAMETERS} parameters");
                    return Err(Error::malformed_query(text));
                }
                let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                let name = decode(&pair[..equals])?;
                let value = decode(pair.get(equals + 1..).unwrap_or_default())?;
                parameters.add(&name, value)?;
            }
        }
        Ok(parameters)
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), Error> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::malformed_query("The name of a parameter is too long"));
        }
        let slot = match name {
            "Action" => &mut self.action,
            "Version" => &mut self.version,
            name if name.starts_with("X-Amz-") => return Ok(()),
            name => &mut self.root.place(name)?.value,
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Error::malformed_query(format!("The parameter {name} comes twice"))),
        }
    }

    /// The action; absent or empty is `MissingAction`.
    pub fn action(&self) -> Result<&str, Error> {
        let action = self.action.as_deref().filter(|action| !action.is_empty());
        action.ok_or_else(|| {
            Error::new("MissingAction", "The request is missing an action or a required parameter.")
        })
    }

    /// The API's version, a date: it says which service an unsigned request means.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Every parameter but `Action` and `Version` with its full name, in the order of names: for records.
    pub fn pairs(&self) -> Vec<(String, &str)> {
        let mut pairs = Vec::new();
        self.root.collect(&mut String::new(), &mut pairs);
        pairs
    }
}

impl Node {
    /// The node of a dotted name, made where it is not there.
    fn place(&mut self, name: &str) -> Result<&mut Self, Error> {
        let mut node = self;
        for (depth, part) in name.split('.').enumerate() {
            if part.is_empty() {
                return Err(Error::malformed_query("The name of a parameter has an empty part"));
            }
            if depth == MAX_DEPTH {
                return Err(Error::malformed_query("The name of a parameter has too many parts"));
            }
            node = node.parts.entry(part.to_owned()).or_default();
        }
        Ok(node)
    }

    fn collect<'n>(&'n self, name: &mut String, into: &mut Vec<(String, &'n str)>) {
        if let Some(value) = &self.value {
            into.push((name.clone(), value));
        }
        let length = name.len();
        for (part, node) in &self.parts {
            if length > 0 {
                name.push('.');
            }
            name.push_str(part);
            node.collect(name, into);
            name.truncate(length);
        }
    }
}

/// Decodes escapes and `+`. Other than browsers it refuses a `%` that begins no escape, and bytes that are no UTF-8.
fn decode(bytes: &[u8]) -> Result<String, Error> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |place| {
                    let digit =
                        after.get(place).and_then(|byte: &u8| char::from(*byte).to_digit(16));
                    digit.ok_or_else(|| {
                        Error::malformed_query(
                            "A percent sign is not followed by two hexadecimal digits",
                        )
                    })
                };
                let byte = digit(0)? << 4 | digit(1)?;
                rest = &after[2..];
                u8::try_from(byte).expect("two hexadecimal digits")
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| Error::malformed_query("A parameter is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
