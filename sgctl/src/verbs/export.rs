use sg_api::{RulesFile, client::Client};

use crate::{error::Result, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let text = client.get_text("/v1/export")?;
        let rules = RulesFile { file: "rules.toml".to_owned(), text };
        self.output.print(&rules, |rules| rules.text.clone())
    }
}
