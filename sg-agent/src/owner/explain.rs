//! `explain`: the live tables' verdict on a packet, and the rules that speak for it.

use std::net::IpAddr;

use sg_common::{
    Direction,
    flow::{ICMP, ICMPV6, TCP, UDP},
};
use sg_policy::{
    explain::{Detail, Traffic, rules_allowing},
    model::Role,
};

use super::{
    error::Error,
    flows::protocol_number,
    frame::{self, Packet},
    queries::shown_rule,
    state::Owner,
};
use crate::{
    api::{ExplainRequest, Explanation},
    kernel::Kernel,
};

/// First dynamic port (RFC 6335): a client's, where the question names none.
const CLIENT_PORT: u16 = 49_152;
/// Any unicast address, where the entry does not say which is the instance's.
const SOME_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

impl<D: Kernel> Owner<D> {
    pub fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Error> {
        let (ifindex, held) = self.filtered_by_name(&request.interface)?;
        if let Err(reason) = &held.attachment {
            let text = format!("\"{}\" is not filtered: {reason}", request.interface);
            return Err(Error::Conflict(text));
        }
        let entry = held.entry.unwrap_or_default();
        let interface = &self.rules().interfaces[entry];
        let from_instance =
            |packet: &Packet| interface.role == Role::Port && packet.direction == Direction::Egress;
        let mut packet = packet(request)?;
        if held.ethernet {
            let own = interface.mac.filter(|_| from_instance(&packet));
            packet.ethernet = Some(own.unwrap_or(SOME_MAC));
        }
        let frame = frame::build(&packet).map_err(|error| Error::Request(error.to_string()))?;
        let answer = self.kernel.probe(ifindex, packet.direction, &frame)?;
        let Some(reason) = answer.reason else {
            let text = format!("\"{}\" is not filtered at the moment", request.interface);
            return Err(Error::Conflict(text));
        };
        let rules = rules_allowing(self.rules(), &self.live, entry, &traffic(&packet));
        let names = self.rules().names();
        Ok(Explanation {
            verdict: if reason.allowed() { "allow" } else { "deny" }.to_owned(),
            reason: reason.name().to_owned(),
            flow: answer.flow.and_then(|flow| self.shown_flow(&flow)),
            rules: rules
                .into_iter()
                .map(|(group, rule)| shown_rule(&group.name, packet.direction, rule, &names))
                .collect(),
        })
    }
}

fn packet(request: &ExplainRequest) -> Result<Packet, Error> {
    let protocol = protocol_number(&request.protocol)?;
    let direction = match request.direction.as_str() {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        other => {
            return Err(Error::Request(format!("\"{other}\" is neither ingress nor egress")));
        }
    };
    let ported = matches!(protocol, TCP | UDP);
    let icmp = matches!(protocol, ICMP | ICMPV6);
    if ported && request.dport.is_none() {
        return Err(Error::Request("the destination needs a port".to_owned()));
    }
    if !ported && request.dport.is_some() {
        return Err(Error::Request("only tcp and udp have ports".to_owned()));
    }
    if !icmp && (request.icmp_type.is_some() || request.code.is_some()) {
        return Err(Error::Request("only icmp and icmpv6 have a type and code".to_owned()));
    }
    let echo_request = if protocol == ICMPV6 { 128 } else { 8 };
    Ok(Packet {
        direction,
        protocol,
        src: request.src,
        dst: request.dst,
        sport: request.sport.unwrap_or(if ported { CLIENT_PORT } else { 0 }),
        dport: request.dport.unwrap_or(0),
        icmp_type: request.icmp_type.unwrap_or(echo_request),
        icmp_code: request.code.unwrap_or(0),
        ethernet: None,
    })
}

fn traffic(packet: &Packet) -> Traffic {
    let peer: IpAddr = match packet.direction {
        Direction::Ingress => packet.src,
        Direction::Egress => packet.dst,
    };
    let detail = match packet.protocol {
        TCP | UDP => Detail::Port(packet.dport),
        ICMP | ICMPV6 => Detail::Icmp { kind: packet.icmp_type, code: packet.icmp_code },
        _ => Detail::None,
    };
    Traffic { direction: packet.direction, protocol: packet.protocol, peer, detail }
}
