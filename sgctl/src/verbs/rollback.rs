use sg_api::{Applied, RollbackRequest, client::Client};

use super::apply;
use crate::{error::Result, output::Output, session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The revision to return to [default: the one before the present one]
    revision: Option<u64>,
    /// Also where the earlier rules would cut the SSH session that this runs in, or leave no interface
    /// filtered
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let sessions = session::unless(self.force);
        let request = RollbackRequest { revision: self.revision, force: self.force, sessions };
        let applied: Applied = client.post("/v1/rollback", &request)?;
        self.output.print(&applied, apply::text)?;
        self.output.warn(&applied.warnings);
        Ok(())
    }
}
