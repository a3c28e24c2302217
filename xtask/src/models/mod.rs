//! `cargo xtask models`: request and response types of the API, generated from trimmed API models.
//!
//! The trimmed models are in `xtask/models`; `models.toml` there says what is kept of botocore's.

mod generate;
mod trim;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trim the models anew from this folder, botocore's `data`
    #[arg(long, value_name = "DATA", conflicts_with = "check")]
    from: Option<PathBuf>,
    /// Only compare the generated files with what the models give
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    service: Vec<Service>,
}

/// The part of a service's model that is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    /// Below botocore's `data`.
    source: PathBuf,
    actions: Vec<String>,
    /// `Shape.Member`.
    omit: Vec<String>,
    #[serde(default)]
    enums: BTreeMap<String, Vec<String>>,
}

/// A model, as far as it is used here. Members of a structure keep the model's order.
#[derive(Debug, Deserialize, Serialize)]
struct Model {
    metadata: Metadata,
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    api_version: String,
    xml_namespace: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Operation {
    input: Member,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Member>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    shape: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_name: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Shape {
    r#type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    required: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member>,
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
}

fn folder() -> PathBuf {
    workspace::root().join("xtask/models")
}

impl Service {
    fn trimmed(&self) -> PathBuf {
        folder().join(format!("{}.json", self.name))
    }

    fn generated(&self) -> PathBuf {
        workspace::root().join(format!("sg-ec2/src/generated/{}.rs", self.name))
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let list = read_list()?;
    if let Some(data) = &args.from {
        for service in &list.service {
            let model = trim::trim(service, data)?;
            let text = serde_json::to_string_pretty(&model)? + "\n";
            fs::write(service.trimmed(), text).context("cannot write a model")?;
        }
    }
    if args.check {
        return check();
    }
    for service in &list.service {
        let text = generate::generate(service, &read_model(&service.trimmed())?)?;
        fs::write(service.generated(), text).context("cannot write a generated file")?;
    }
    Ok(())
}

/// Fails where a generated file is not what its model gives.
pub(crate) fn check() -> Result<()> {
    for service in &read_list()?.service {
        let path = service.generated();
        let text = generate::generate(service, &read_model(&service.trimmed())?)?;
        let there = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.display();
        ensure!(text == there, "{name} is not what its model gives; run `cargo xtask models`");
    }
    Ok(())
}

fn read_list() -> Result<List> {
    let path = folder().join("models.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn read_model(path: &Path) -> Result<Model> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}
