//! The cost of a program itself, above one that does nothing.

use anyhow::{Context as _, Result};
use sg_common::Family;
use sg_datapath::testing::trial;

use super::{Case, Effort};
use crate::{
    lab::{Lab, Path},
    packets::name,
    report::{Row, Target},
};

const HOOKS: [(trial::Program, &str); 2] =
    [(trial::Program::Xdp, "XDP"), (trial::Program::TcIn, "TC")];

#[derive(Debug)]
pub struct Program;

impl Case for Program {
    fn name(&self) -> &'static str {
        "program"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let rules = effort.sizes(&[10, 1000, 10_000, 100_000], &[10, 10_000]);
        let flows = effort.sizes(&[1, 1000, 100_000], &[1, 1000]);
        let mut paths = vec![Path::UNFILTERED, Path::UNTRACKED];
        paths.extend(rules.iter().map(|rules| Path::denied(*rules)));
        paths.extend(flows.iter().map(|flows| Path::established(*flows)));
        rows.extend(Lab::run(&paths[0], |lab| {
            let mut rows = Vec::new();
            for (program, hook) in HOOKS {
                let least = lab.least(program, effort)?;
                rows.push(Row::new(hook, 0, "an empty program", "ns", &least));
            }
            for family in Family::BOTH {
                for path in &paths {
                    rows.extend(measure(lab, family, path, effort)?);
                }
            }
            Ok(rows)
        })?);
        if effort.quick {
            return Ok(());
        }
        let many = Path::established(1_000_000);
        rows.extend(Lab::run(&many, |lab| {
            let rows = Family::BOTH.map(|family| measure(lab, family, &many, effort));
            Ok(rows.into_iter().collect::<Result<Vec<_>>>()?.concat())
        })?);
        Ok(())
    }
}

/// Both hooks.
fn measure(lab: &mut Lab<'_>, family: Family, path: &Path, effort: &Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (program, hook) in HOOKS {
        let group = format!("{hook}, {}, {}", name(family), path.name);
        lab.prepare(path, family).with_context(|| group.clone())?;
        let (above, least) =
            lab.time(program, family, path, effort).with_context(|| group.clone())?;
        let mut row = Row::new(group, u64::from(path.at), "sg", "ns", &above);
        row.summary.least = least;
        rows.push(row.target(most(path)));
    }
    Ok(rows)
}

/// On a machine whose empty program takes 20 ns.
fn most(path: &Path) -> Option<Target> {
    let nanoseconds = match (path.name, path.at) {
        ("untracked", _) => 15.0,
        ("deny", 1000) => 25.0,
        ("deny", 10_000) => 40.0,
        ("established", 1000) => 30.0,
        _ => return None,
    };
    Some(Target::AtMost(nanoseconds))
}
