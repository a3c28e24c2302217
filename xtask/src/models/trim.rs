//! Keeps of a model the listed actions and the shapes that they reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Member, Model, Service, Shape};

/// Reads a packed model and trims it.
pub(super) fn trim(service: &Service, data: &Path) -> Result<Model> {
    let path = data.join(&service.source);
    let unpacked = Command::new("gzip").args(["--decompress", "--stdout"]).arg(&path).output();
    let unpacked = unpacked.context("cannot run gzip")?;
    ensure!(unpacked.status.success(), "gzip cannot read {}", path.display());
    let mut model: Model = serde_json::from_slice(&unpacked.stdout)?;
    model.operations.retain(|name, _| service.actions.contains(name));
    for action in &service.actions {
        ensure!(model.operations.contains_key(action), "no action {action} in {}", path.display());
    }
    for omitted in &service.omit {
        let (shape, member) = omitted.split_once('.').context("`omit` lists Shape.Member")?;
        let shape = model.shapes.get_mut(shape).with_context(|| format!("no shape {shape}"))?;
        ensure!(shape.members.remove(member).is_some(), "there is no {omitted}");
    }
    for (name, kept) in &service.enums {
        let shape = model.shapes.get_mut(name).with_context(|| format!("no shape {name}"))?;
        let unknown = kept.iter().find(|value| !shape.values.contains(value));
        ensure!(unknown.is_none(), "{name} has no value {unknown:?}");
        shape.values.clone_from(kept);
    }
    let mut reached = BTreeSet::new();
    for operation in model.operations.values() {
        reach(&operation.input, &model.shapes, &mut reached);
        if let Some(output) = &operation.output {
            reach(output, &model.shapes, &mut reached);
        }
    }
    model.shapes.retain(|name, _| reached.contains(name));
    Ok(model)
}

fn reach(member: &Member, shapes: &BTreeMap<String, Shape>, reached: &mut BTreeSet<String>) {
    if reached.insert(member.shape.clone()) {
        let shape = &shapes[&member.shape];
        for member in shape.members.values().chain(&shape.member) {
            reach(member, shapes, reached);
        }
    }
}
