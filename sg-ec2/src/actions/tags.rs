//! Tags: which ones EC2 takes, and which ones are ours.

use sg_store::objects::Tags;

use crate::{
    call::Quotas,
    error::Error,
    generated::ec2::{ResourceType, Tag, TagSpecification},
};

const MAX_KEY_CHARS: usize = 127;
const MAX_VALUE_CHARS: usize = 256;
/// The prefix of tags that this product reads.
pub(super) const OURS: &str = "sg:";
/// Says which program made a resource.
const MANAGED_BY: &str = "sg:managed-by";

/// Tags of an answer.
pub(super) fn shown(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}

/// Reads the tags of a request: keys once each, none reserved.
pub(super) fn read(tags: &[Tag]) -> Result<Tags, Error> {
    let mut read = Tags::new();
    for tag in tags {
        let key = check_key(tag.key.as_deref())?;
        let value = tag.value.as_deref().unwrap_or_default();
        if value.chars().count() > MAX_VALUE_CHARS {
            let message =
                format!("Tag value exceeds the maximum length of {MAX_VALUE_CHARS} characters");
            return Err(Error::invalid(message));
        }
        if read.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::invalid(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    Ok(read)
}

pub(super) fn check_key(key: Option<&str>) -> Result<&str, Error> {
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| Error::missing("Tag.Key"))?;
    if key.chars().count() > MAX_KEY_CHARS {
        let message = format!("Tag key exceeds the maximum length of {MAX_KEY_CHARS} characters");
        return Err(Error::new("InvalidTagKey.Malformed", message));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(Error::invalid("Tag keys starting with 'aws:' are reserved for internal use"));
    }
    Ok(key)
}

/// The tags of a resource that is made. Specifications for other types are refused.
pub(super) fn of_new(
    specifications: &[TagSpecification],
    made: ResourceType,
    quotas: &Quotas,
) -> Result<Tags, Error> {
    let mut tags = Vec::new();
    for specification in specifications {
        let resource_type = specification
            .resource_type
            .ok_or_else(|| Error::missing("TagSpecification.ResourceType"))?;
        if resource_type != made {
            let (found, made) = (resource_type.as_str(), made.as_str());
            return Err(Error::invalid(format!(
                "'{found}' is not a valid taggable resource type for this operation: it makes a {made}."
            )));
        }
        tags.extend_from_slice(&specification.tags);
    }
    let tags = read(&tags)?;
    check_count(&tags, quotas)?;
    Ok(tags)
}

pub(super) fn check_count(tags: &Tags, quotas: &Quotas) -> Result<(), Error> {
    if tags.len() <= quotas.tags {
        return Ok(());
    }
    let message = "The maximum number of Tags for a resource has been reached.";
    Err(Error::new("TagLimitExceeded", message))
}

/// Refuses our tags on resources that none of them is for; `sg:managed-by` may be anywhere.
pub(super) fn check_ours(tags: &Tags, known: &[&str]) -> Result<(), Error> {
    for (key, value) in tags.iter().filter(|(key, _)| key.starts_with(OURS)) {
        if key == MANAGED_BY {
            if value != "rules.toml" {
                return Err(invalid(key, value, "rules.toml"));
            }
        } else if !known.contains(&key.as_str()) {
            return Err(Error::invalid(format!("The tag '{key}' has no meaning on this resource")));
        }
    }
    Ok(())
}

/// A value that one of our tags cannot have.
pub(super) fn invalid(key: &str, value: &str, expected: &str) -> Error {
    Error::invalid(format!("Value ({value}) for the tag {key} is invalid. It must be {expected}."))
}
