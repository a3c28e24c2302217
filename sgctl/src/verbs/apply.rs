use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use sg_api::{Applied, ApplyRequest, client::Client};

use crate::{
    error::Result,
    input::Input,
    output::{Output, count},
    session,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rules file; - for standard input
    file: PathBuf,
    /// Roll back by itself unless `sgctl confirm` comes within this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86400))]
    confirm: Option<u32>,
    /// Also where the new rules would cut the SSH session that this runs in, or leave no interface filtered
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let rules = Input::read(&self.file)?.into_rules()?;
        // A change that goes back by itself may cut anything.
        let sessions = session::unless(self.force || self.confirm.is_some());
        let Self { confirm, force, .. } = self;
        let request = ApplyRequest { rules, confirm, force, sessions };
        let applied: Applied = client.post("/v1/apply", &request)?;
        self.output.print(&applied, text)?;
        self.output.warn(&applied.warnings);
        Ok(())
    }
}

/// The output of `apply` and `rollback`.
pub(crate) fn text(applied: &Applied) -> String {
    let Applied { revision, changed, interfaces, took_us, superseded_by, confirm_until, .. } =
        applied;
    if let Some(newer) = superseded_by {
        let newer = in_force(*newer, *interfaces);
        return format!("revision {revision} is recorded, and superseded: {newer}\n");
    }
    let in_force = in_force(*revision, *interfaces);
    let mut text = if *changed {
        let took = *took_us as f64 / 1000.0;
        format!("{in_force} ({took:.1} ms)\n")
    } else {
        format!("no change: {in_force}\n")
    };
    if let Some(until) = confirm_until {
        let left = seconds_left(*until);
        text += &format!("it rolls back in {left} s; to keep it: sgctl confirm\n");
    }
    text
}

pub(crate) fn in_force(revision: u64, interfaces: usize) -> String {
    format!("revision {revision} is in force on {}", count(interfaces, "interface"))
}

/// Seconds from now to a Unix time; 0 when it has passed.
pub(crate) fn seconds_left(until: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    until.saturating_sub(now)
}
