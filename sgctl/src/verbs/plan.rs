use std::{path::PathBuf, process::ExitCode};

use sg_api::{Change, Plan, client::Client};
use sg_policy::describe::plain;

use crate::{
    error::Result,
    input::Input,
    output::{Colour, Output, count, paint},
};

/// Exit status of `plan --exit-code` when there is something to apply.
const CHANGES: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rules file; - for standard input
    file: PathBuf,
    /// Exit with 0 if nothing would change, with 3 if something would
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<ExitCode> {
        let rules = Input::read(&self.file)?.into_rules()?;
        let plan: Plan = client.post("/v1/plan", &rules)?;
        self.output.print(&plan, text)?;
        self.output.warn(&plan.warnings);
        let changes = self.exit_code && !plan.changes.is_empty();
        Ok(if changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
    }
}

fn text(plan: &Plan) -> String {
    if plan.changes.is_empty() {
        return "no changes\n".to_owned();
    }
    let mut text: String = plan.changes.iter().map(line).collect();
    let reached = match plan.interfaces.as_slice() {
        [] => "no interface".to_owned(),
        names => plain(&names.join(", ")).into_owned(),
    };
    text += &format!("{}, reaching {reached}\n", count(plan.changes.len(), "change"));
    text
}

/// The text names what changes, but for a rule's id.
fn line(change: &Change) -> String {
    let Change { op, kind, id, text } = change;
    let mut line = format!("{op} {} {text}", kind.replace('_', " "));
    if kind == "rule" {
        line += &format!(" ({id})");
    }
    let colour = match op.as_str() {
        "+" => Colour::Green,
        "-" => Colour::Red,
        _ => Colour::Yellow,
    };
    paint(colour, &plain(&line)) + "\n"
}
