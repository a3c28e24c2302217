use std::net::{IpAddr, SocketAddr};

use sg_api::{ExplainRequest, Explanation, client::Client};
use sg_policy::describe::plain;

use super::{flows, show};
use crate::{
    error::{Error, Result},
    output::{Colour, Output, paint},
    reasons,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The filtered interface
    #[arg(long, value_name = "IF")]
    interface: String,
    /// ingress: towards the instance; egress: from it
    #[arg(long)]
    direction: Direction,
    /// tcp, udp, icmp, icmpv6 or a number, as in rules.toml
    #[arg(long)]
    protocol: String,
    /// Source: A, A:P or [A]:P
    #[arg(long, value_name = "A[:P]", value_parser = endpoint)]
    src: Endpoint,
    /// Destination: A, A:P or [A]:P
    #[arg(long, value_name = "B[:P]", value_parser = endpoint)]
    dst: Endpoint,
    /// ICMP type
    #[arg(long = "type", value_name = "N")]
    icmp_type: Option<u8>,
    /// ICMP code
    #[arg(long, value_name = "N", requires = "icmp_type")]
    code: Option<u8>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        if self.src.address.is_ipv4() != self.dst.address.is_ipv4() {
            let why = "--src and --dst are of different address families";
            return Err(Error::Usage(why.to_owned()));
        }
        let request = ExplainRequest {
            interface: self.interface,
            direction: match self.direction {
                Direction::Ingress => "ingress".to_owned(),
                Direction::Egress => "egress".to_owned(),
            },
            protocol: self.protocol,
            src: self.src.address,
            sport: self.src.port,
            dst: self.dst.address,
            dport: self.dst.port,
            icmp_type: self.icmp_type,
            code: self.code,
        };
        let explanation: Explanation = client.post("/v1/explain", &request)?;
        self.output.print(&explanation, text)
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation { verdict, reason, flow, rules } = explanation;
    let colour = if verdict == "allow" { Colour::Green } else { Colour::Red };
    let mut text = format!("{}: {}", paint(colour, &plain(verdict)), plain(reason));
    if let Some(words) = reasons::in_words(reason) {
        text += &format!(" ({words})");
    }
    text += "\n";
    text += &match flow {
        Some(flow) => format!("flow: {}\n", flows::in_words(flow)),
        None => "flow: none\n".to_owned(),
    };
    if rules.is_empty() {
        return text + "rules: none allows this packet\n";
    }
    text + "rules that allow this packet:\n" + &show::show_rules(rules)
}

/// `A`, `A:P`, `[A]` or `[A]:P`.
fn endpoint(text: &str) -> std::result::Result<Endpoint, String> {
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Ok(Endpoint { address: with_port.ip(), port: Some(with_port.port()) });
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse() {
        Ok(address) => Ok(Endpoint { address, port: None }),
        Err(_) => Err("not an address, address:port or [IPv6 address]:port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn endpoints_have_an_address_and_perhaps_a_port() {
        let cases = [
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("fd00::5", "fd00::5", None),
            ("[fd00::5]", "fd00::5", None),
            ("[fd00::5]:443", "fd00::5", Some(443)),
        ];
        for (text, address, port) in cases {
            let endpoint = endpoint(text).expect(text);
            assert_eq!((endpoint.address.to_string().as_str(), endpoint.port), (address, port));
        }
        for text in ["", "web", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1/32", "[fd00::5"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
