use sg_api::{AcceptedStore, client::Client};
use sg_policy::describe::plain;

use crate::{error::Result, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let accepted: AcceptedStore = client.post("/v1/control/accept", &())?;
        self.output.print(&accepted, |accepted| {
            format!("accepted: the host follows the store {} now\n", plain(&accepted.epoch))
        })
    }
}
