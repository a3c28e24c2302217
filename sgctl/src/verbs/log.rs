use sg_api::{
    FlowRecord,
    client::{Client, escape},
    format::{DEFAULT, Format},
};
use sg_policy::describe::plain;

use crate::{
    error::{Error, Result},
    output::{Output, json_line, print},
};

/// Records of the past that are printed before new ones.
const BEFORE: usize = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Records of the last windows (60 s, unless the agent was told otherwise), then what the open one has so \
far. With --follow, the last ten of them, then every second's: one flow may have a record in each.")]
pub(crate) struct Args {
    /// Only records of this interface
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Keep running and print new records
    #[arg(long, short)]
    follow: bool,
    /// Fields to print, as of VPC flow logs: '${srcaddr} ${action} ${reason}' [default: version 2]
    #[arg(long, value_name = "FORMAT", value_parser = format, conflicts_with = "json")]
    format: Option<Format>,
    #[command(flatten)]
    output: Output,
}

fn format(text: &str) -> std::result::Result<Format, String> {
    text.parse().map_err(|error: sg_api::format::Error| error.to_string())
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let format = match &self.format {
            Some(format) => format.clone(),
            None => format(DEFAULT).map_err(Error::Failed)?,
        };
        let which = match &self.interface {
            Some(interface) => format!("?interface={}", escape(interface)),
            None => String::new(),
        };
        if !self.follow {
            let records: Vec<FlowRecord> = client.get(&format!("/v1/log{which}"))?;
            return self.output.print(&records, |records| {
                records
                    .iter()
                    .map(|record| plain(&format.line(record, "-")).into_owned() + "\n")
                    .collect()
            });
        }
        let mut is_first = true;
        client.follow(&format!("/v1/log/follow{which}"), |records: Vec<FlowRecord>| {
            let skipped = if is_first { records.len().saturating_sub(BEFORE) } else { 0 };
            is_first = false;
            let lines = records[skipped..].iter().map(|record| self.line(record, &format));
            print(&lines.collect::<Result<String>>()?)
        })
    }

    fn line(&self, record: &FlowRecord, format: &Format) -> Result<String> {
        let line = if self.output.json {
            json_line(record)?
        } else {
            plain(&format.line(record, "-")).into_owned() + "\n"
        };
        Ok(line)
    }
}
