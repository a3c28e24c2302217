use serde_json::Value;

use sg_api::client::Client;

use crate::{error::Result, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Yes, leave this host unfiltered
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let answer: Value = client.post("/v1/detach", &())?;
        self.output.print(&answer, |_| {
            "detached: nothing is filtered any more, and the agent has ended\n".to_owned()
        })
    }
}
