use sg_agent::api::{Applied, RollbackRequest};

use super::apply;
use crate::{client::Client, error::Result, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The revision to return to [default: the one before the present one]
    revision: Option<u64>,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let request = RollbackRequest { revision: self.revision };
        let applied: Applied = client.post("/v1/rollback", &request)?;
        self.output.print(&applied, apply::text)
    }
}
