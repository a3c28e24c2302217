use std::{io, path::PathBuf, process::ExitCode};

use serde_json::{Value, json};
use sg_policy::{describe::plain, model::DesiredState, rules::Faults};

use crate::{
    error::{Error, Result},
    input::Input,
    output::{Output, count, shows_colour},
};

/// Exit status of an invalid file; the same as [`Error::Faults`] gives.
const INVALID: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rules file; - for standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Input { name, bytes } = Input::read(&self.file)?;
        match sg_policy::parse(&name, &bytes) {
            Ok(state) => {
                let warnings = sg_policy::warnings(&state);
                self.output.print(&summary(&state, &warnings), |summary| text(&name, summary))?;
                self.output.warn(&warnings);
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) if self.output.json => {
                self.output.print(&fault_list(&faults), |_| String::new())?;
                Ok(ExitCode::from(INVALID))
            }
            Err(faults) => Err(Error::Faults(faults.render(shows_colour(&io::stderr())))),
        }
    }
}

fn summary(state: &DesiredState, warnings: &[String]) -> Value {
    let rules = state.groups.iter().map(|group| group.ingress.len() + group.egress.len());
    json!({
        "valid": true,
        "groups": state.groups.len(),
        "rules": rules.sum::<usize>(),
        "prefix_lists": state.prefix_lists.len(),
        "interfaces": state.interfaces.len(),
        "warnings": warnings,
    })
}

fn text(name: &str, summary: &Value) -> String {
    let number = |key: &str| summary[key].as_u64().unwrap_or_default() as usize;
    format!(
        "{}: valid, {}, {}, {}, {}\n",
        plain(name),
        count(number("groups"), "group"),
        count(number("rules"), "rule"),
        count(number("prefix_lists"), "prefix list"),
        count(number("interfaces"), "interface"),
    )
}

/// The first faults, and how many there are.
fn fault_list(faults: &Faults) -> Value {
    let list: Vec<Value> = faults
        .iter()
        .map(|fault| {
            json!({
                "line": fault.line,
                "column": fault.column,
                "message": fault.message,
                "help": fault.help,
            })
        })
        .collect();
    json!({ "valid": false, "faults": list, "total": faults.total() })
}
