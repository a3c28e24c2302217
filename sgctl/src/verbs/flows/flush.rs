use sg_api::{FlushRequest, Flushed, client::Client};

use crate::{
    error::Result,
    output::{Output, count},
    session,
};

/// Which flows to end. An absent field does not restrict.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only flows that the rules would not let open now; they are refused from now on
    #[arg(long)]
    denied: bool,
    /// Only flows of this interface
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Only flows of this protocol
    #[arg(long)]
    protocol: Option<String>,
    /// Only flows opened from this address or CIDR
    #[arg(long, value_name = "CIDR")]
    src: Option<String>,
    /// Only flows opened to this address or CIDR
    #[arg(long, value_name = "CIDR")]
    dst: Option<String>,
    /// Only flows opened from this port
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Only flows opened to this port
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// Also where that would cut the SSH session that this runs in
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let verb = if self.denied { "cut" } else { "forgot" };
        let request = FlushRequest {
            denied: self.denied,
            interface: self.interface,
            protocol: self.protocol,
            src: self.src,
            dst: self.dst,
            sport: self.sport,
            dport: self.dport,
            sessions: session::unless(self.force),
        };
        let flushed: Flushed = client.post("/v1/flows/flush", &request)?;
        self.output.print(&flushed, |flushed| {
            format!(
                "{verb} {}\n",
                count(usize::try_from(flushed.flows).unwrap_or(usize::MAX), "flow")
            )
        })
    }
}
