//! `flows` lists; its files beside follow and flush.

mod flush;
mod follow;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use sg_api::{
    Flow,
    client::{Client, escape},
};
use sg_policy::describe::plain;

use crate::{
    error::Result,
    output::{Output, short},
    table::table,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only the flows of this interface
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Go on and tell once a second which flows came and went
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Forget flows; without filters, all of them
    Flush(flush::Args),
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        match self.verb {
            Some(Verb::Flush(flush)) => flush.run(client),
            None => self.list.run(client),
        }
    }
}

impl List {
    fn run(self, client: &Client) -> Result<()> {
        if self.follow {
            return follow::run(self.output, || self.fetch(client));
        }
        if self.output.json && !io::stdout().is_terminal() {
            return self.pass_on(client);
        }
        self.output.print(&self.fetch(client)?, |flows| text(flows))
    }

    fn fetch(&self, client: &Client) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        self.each(client, |flow| {
            flows.push(flow);
            Ok(())
        })?;
        Ok(flows)
    }

    /// Prints flows as they come, as one array.
    fn pass_on(&self, client: &Client) -> Result<()> {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let mut before = "[";
        self.each(client, |flow: Flow| {
            stdout.write_all(before.as_bytes())?;
            serde_json::to_writer(&mut stdout, &flow).map_err(io::Error::from)?;
            before = ",";
            Ok(())
        })?;
        let end = if before == "[" { "[]\n" } else { "]\n" };
        stdout.write_all(end.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    fn each(&self, client: &Client, take: impl FnMut(Flow) -> Result<()>) -> Result<()> {
        let path = match &self.interface {
            Some(interface) => format!("/v1/flows?interface={}", escape(interface)),
            None => "/v1/flows".to_owned(),
        };
        client.each(&path, take)
    }
}

fn text(flows: &[Flow]) -> String {
    if flows.is_empty() {
        return "no tracked flows\n".to_owned();
    }
    let header = [
        "INTERFACE",
        "DIRECTION",
        "PROTOCOL",
        "SOURCE",
        "DESTINATION",
        "STATE",
        "IDLE",
        "EXPIRES",
        "PACKETS",
        "BYTES",
    ];
    let rows = flows.iter().map(|flow| {
        let (source, destination) = endpoints(flow);
        [
            flow.interface.clone(),
            flow.direction.clone(),
            flow.protocol.clone(),
            source,
            destination,
            flow.state.clone(),
            format!("{}s", flow.idle_s),
            format!("{}s", flow.expires_s),
            short(flow.packets),
            short(flow.bytes),
        ]
    });
    table(header, rows)
}

/// Source and destination as people write them.
fn endpoints(flow: &Flow) -> (String, String) {
    match flow.protocol.as_str() {
        "tcp" | "udp" => (
            std::net::SocketAddr::new(flow.src, flow.sport).to_string(),
            std::net::SocketAddr::new(flow.dst, flow.dport).to_string(),
        ),
        "icmp" | "icmpv6" => {
            (format!("{} id {}", flow.src, flow.sport), format!("{} type {}", flow.dst, flow.dport))
        }
        _ => (flow.src.to_string(), flow.dst.to_string()),
    }
}

/// A flow on one line.
pub(crate) fn in_words(flow: &Flow) -> String {
    let Flow { interface, direction, protocol, state, idle_s, expires_s, .. } = flow;
    let (source, destination) = endpoints(flow);
    let (packets, bytes) = (short(flow.packets), short(flow.bytes));
    let interface = plain(interface);
    format!(
        "{interface} {direction} {protocol} {source} -> {destination} {state}, idle {idle_s} s, \
         expires in {expires_s} s, {packets} packets, {bytes} bytes"
    )
}
