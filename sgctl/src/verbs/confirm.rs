use sg_api::{Applied, client::Client};

use super::apply;
use crate::{error::Result, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let applied: Applied = client.post("/v1/confirm", &())?;
        self.output.print(&applied, |Applied { revision, interfaces, .. }| {
            format!("confirmed: {}\n", apply::in_force(*revision, *interfaces))
        })
    }
}
