//! Writes a model as Rust: tables of fields, in the words of the macros of `sg-ec2/src/codec/shape.rs`.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, Result, bail};

use super::{Member, Model, Service, Shape};

/// Where a shape is used decides which traits it gets.
#[derive(Clone, Copy, Default)]
struct Use {
    in_requests: bool,
    in_answers: bool,
}

pub(super) fn generate(service: &Service, model: &Model) -> Result<String> {
    let mut text = String::new();
    let (mut requests, mut answers) = (BTreeSet::new(), BTreeSet::new());
    for operation in model.operations.values() {
        reach(&operation.input, model, &mut requests);
        if let Some(output) = &operation.output {
            reach(output, model, &mut answers);
        }
    }
    write!(text, "\nactions! {{\n    Request;\n")?;
    for (action, operation) in &model.operations {
        writeln!(text, "    {action}({});", operation.input.shape)?;
    }
    writeln!(text, "}}")?;
    for (name, shape) in &model.shapes {
        let used = Use { in_requests: requests.contains(name), in_answers: answers.contains(name) };
        match &*shape.r#type {
            "structure" => structure(&mut text, name, shape, used, model)?,
            "string" if !shape.values.is_empty() => choice(&mut text, name, shape)?,
            _ => {}
        }
    }
    let mut used = vec!["actions", "shapes"];
    used.extend(text.contains("NonEmpty<").then_some("NonEmpty"));
    used.extend(text.contains("choices!").then_some("choices"));
    used.sort_unstable();
    Ok(format!(
        "//! Written by `cargo xtask models` from `xtask/models/{}.json`. Do not edit.\n\n\
         use crate::codec::shape::{{{}}};\n{text}",
        service.name,
        used.join(", ")
    ))
}

fn reach(member: &Member, model: &Model, reached: &mut BTreeSet<String>) {
    if reached.insert(member.shape.clone()) {
        let shape = &model.shapes[&member.shape];
        for member in shape.members.values().chain(&shape.member) {
            reach(member, model, reached);
        }
    }
}

fn structure(text: &mut String, name: &str, shape: &Shape, used: Use, model: &Model) -> Result<()> {
    let kind = match used {
        Use { in_requests: true, in_answers: true } => "both",
        Use { in_requests: true, .. } => "request",
        Use { .. } => "answer",
    };
    writeln!(text, "\nshapes! {{\n    {kind} struct {name} {{")?;
    for (member_name, member) in &shape.members {
        let is_required = used.in_requests && shape.required.contains(member_name);
        let (field_type, range) = field_type(member, is_required, model)?;
        let field = field_name(member_name);
        let in_query = query_name(member_name, member);
        let in_xml = member.location_name.as_deref().unwrap_or(member_name);
        let names = match kind {
            "request" => format!("{in_query:?}"),
            "answer" => format!("{in_xml:?}"),
            _ => format!("{in_query:?}, {in_xml:?}"),
        };
        writeln!(text, "        {field}: {field_type} = {names}{range};")?;
    }
    writeln!(text, "    }}\n}}")?;
    Ok(())
}

/// The name that a request has, by the rules of the `ec2` protocol.
fn query_name(name: &str, member: &Member) -> String {
    if let Some(name) = &member.query_name {
        return name.clone();
    }
    let name = member.location_name.as_deref().unwrap_or(name);
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// The Rust type of a field, and the range of a number.
fn field_type(member: &Member, is_required: bool, model: &Model) -> Result<(String, String)> {
    let shape = &model.shapes[&member.shape];
    if shape.r#type == "list" {
        let item = shape.member.as_ref().context("a list of something")?;
        let (item, _) = plain_type(item, model)?;
        let list = if is_required { "NonEmpty" } else { "Vec" };
        return Ok((format!("{list}<{item}>"), String::new()));
    }
    let (plain, range) = plain_type(member, model)?;
    Ok((if is_required { plain } else { format!("Option<{plain}>") }, range))
}

fn plain_type(member: &Member, model: &Model) -> Result<(String, String)> {
    let shape = &model.shapes[&member.shape];
    let plain = match &*shape.r#type {
        "structure" => member.shape.clone(),
        "string" if !shape.values.is_empty() => member.shape.clone(),
        "string" => "String".to_owned(),
        "boolean" => "bool".to_owned(),
        "integer" => "i32".to_owned(),
        "long" => "i64".to_owned(),
        other => bail!("{}: no Rust type for {other}", member.shape),
    };
    let range = match (&shape.min, &shape.max) {
        (Some(min), Some(max)) if plain == "i32" => format!(" in {min}..={max}"),
        _ => String::new(),
    };
    Ok((plain, range))
}

/// `GroupName` is `group_name`. Words of Rust get `r#`.
fn field_name(name: &str) -> String {
    let mut field = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !field.is_empty() {
            field.push('_');
        }
        field.push(letter.to_ascii_lowercase());
    }
    if matches!(&*field, "return" | "type") { format!("r#{field}") } else { field }
}

fn choice(text: &mut String, name: &str, shape: &Shape) -> Result<()> {
    writeln!(text, "\nchoices! {{\n    enum {name} {{")?;
    for value in &shape.values {
        let words = value.split(['-', '_', '.']).map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        });
        writeln!(text, "        {} = {value:?};", words.collect::<String>())?;
    }
    writeln!(text, "    }}\n}}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(location: Option<&str>, query: Option<&str>) -> Member {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        Member { shape: String::new(), location_name: owned(location), query_name: owned(query) }
    }

    #[test]
    fn names_follow_the_ec2_protocol() {
        assert_eq!(
            query_name("Description", &named(Some("GroupDescription"), None)),
            "GroupDescription"
        );
        assert_eq!(query_name("UserIdGroupPairs", &named(Some("groups"), None)), "Groups");
        assert_eq!(query_name("DryRun", &named(Some("dryRun"), Some("dryRun"))), "dryRun");
        assert_eq!(query_name("VpcId", &named(None, None)), "VpcId");
    }

    #[test]
    fn fields_are_words_of_rust() {
        assert_eq!(field_name("CidrIpv4"), "cidr_ipv4");
        assert_eq!(field_name("Return"), "r#return");
    }
}
