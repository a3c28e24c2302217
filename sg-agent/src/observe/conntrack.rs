//! Connections of the kernel's conntrack, by ctnetlink. Where nothing uses conntrack, it has none.

use std::{io, net::SocketAddr};

use nix::sys::socket::SockProtocol;
use sg_common::{
    Direction,
    flow::{ICMP, ICMPV6, TCP},
};
use sg_datapath::{
    Phase,
    netlink::{self, Deadline, attribute},
};

use super::opener::Opener;

/// NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET.
const GET: u16 = 1 << 8 | 1;
/// struct nfgenmsg before the attributes.
const HEADER: usize = 4;

/// Attributes, as include/uapi/linux/netfilter/nfnetlink_conntrack.h numbers them.
mod cta {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const PROTOINFO: u16 = 4;
    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const IP_V4_SRC: u16 = 1;
    pub const IP_V4_DST: u16 = 2;
    pub const IP_V6_SRC: u16 = 3;
    pub const IP_V6_DST: u16 = 4;
    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_SRC_PORT: u16 = 2;
    pub const PROTO_DST_PORT: u16 = 3;
    pub const PROTOINFO_TCP: u16 = 1;
    pub const PROTOINFO_TCP_STATE: u16 = 1;
    pub const PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
}

/// A tracked connection. NAT makes its ends other ones for either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    pub protocol: u8,
    /// Source and destination as the opener's packets have them before any NAT.
    pub original: (SocketAddr, SocketAddr),
    /// The same of the answers before any NAT: source is who answers.
    pub reply: (SocketAddr, SocketAddr),
    pub phase: Phase,
    /// Whether conntrack saw the connection open. If TCP was there before, conntrack takes the
    /// sender of the first packet that it sees for the opener.
    pub is_whole: bool,
}

impl Tracked {
    /// Whether some address or port is another one for either side.
    pub fn is_translated(&self) -> bool {
        self.reply != (self.original.1, self.original.0)
    }

    /// Who opened it, of a pair of its ends as one interface sees them. `told`: the direction by conntrack.
    pub fn opener(&self, told: Direction, local: SocketAddr, remote: SocketAddr) -> Opener {
        if self.is_whole { Opener::Known(told) } else { Opener::by_ports(local, remote) }
    }
}

/// All tracked connections but those of ICMP.
///
/// # Errors
/// The kernel does not tell (no conntrack), or not in time.
pub fn tracked(deadline: Deadline) -> io::Result<Vec<Tracked>> {
    let mut all = Vec::new();
    // Both families at once: the kernel goes through all of its buckets for each dump.
    let request = [libc::AF_UNSPEC as u8, 0, 0, 0];
    netlink::dump(SockProtocol::NetlinkNetFilter, GET, &request, deadline, |message| {
        all.extend(parse(message.body));
    })?;
    Ok(all)
}

fn parse(message: &[u8]) -> Option<Tracked> {
    let list = message.get(HEADER..)?;
    let (protocol, original) = tuple(attribute(list, cta::TUPLE_ORIG)?)?;
    let (_, reply) = tuple(attribute(list, cta::TUPLE_REPLY)?)?;
    let status = attribute(list, cta::STATUS)
        .map_or(0, |status| status.try_into().map_or(0, u32::from_be_bytes));
    let (phase, is_whole) =
        if protocol == TCP { (tcp_phase(list)?, saw_syn(list)) } else { (phase(status), true) };
    let tracked = Tracked { protocol, original, reply, phase, is_whole };
    (protocol != ICMP && protocol != ICMPV6).then_some(tracked)
}

fn tuple(list: &[u8]) -> Option<(u8, (SocketAddr, SocketAddr))> {
    let ip = attribute(list, cta::TUPLE_IP)?;
    let address = |v4, v6| match attribute(ip, v4) {
        Some(bytes) => netlink::address(bytes, false),
        None => netlink::address(attribute(ip, v6)?, true),
    };
    let (source, destination) =
        (address(cta::IP_V4_SRC, cta::IP_V6_SRC)?, address(cta::IP_V4_DST, cta::IP_V6_DST)?);
    let transport = attribute(list, cta::TUPLE_PROTO)?;
    let port = |kind| attribute(transport, kind).map_or(0, |port| netlink::port(port, 0));
    let ends = (
        SocketAddr::new(source, port(cta::PROTO_SRC_PORT)),
        SocketAddr::new(destination, port(cta::PROTO_DST_PORT)),
    );
    Some((*attribute(transport, cta::PROTO_NUM)?.first()?, ends))
}

/// By enum tcp_conntrack; `None` for one that is over.
fn tcp_phase(list: &[u8]) -> Option<Phase> {
    let tcp = attribute(attribute(list, cta::PROTOINFO)?, cta::PROTOINFO_TCP)?;
    match attribute(tcp, cta::PROTOINFO_TCP_STATE)?.first()? {
        1 | 9 => Some(Phase::New),
        2 => Some(Phase::Replied),
        3 => Some(Phase::Established),
        4..=7 => Some(Phase::Closing),
        _ => None,
    }
}

/// IP_CT_TCP_FLAG_BE_LIBERAL: conntrack sets it on a connection that it takes up in mid-stream
/// (tcp_new, net/netfilter/nf_conntrack_proto_tcp.c), because it has not seen the window scale.
fn saw_syn(list: &[u8]) -> bool {
    const BE_LIBERAL: u8 = 8;
    let tcp = attribute(list, cta::PROTOINFO).and_then(|info| attribute(info, cta::PROTOINFO_TCP));
    let flags = tcp.and_then(|tcp| attribute(tcp, cta::PROTOINFO_TCP_FLAGS_ORIGINAL));
    flags.and_then(<[u8]>::first).is_none_or(|flags| flags & BE_LIBERAL == 0)
}

/// By IPS_SEEN_REPLY and IPS_ASSURED.
fn phase(status: u32) -> Phase {
    match (status & 2 != 0, status & 4 != 0) {
        (_, true) => Phase::Established,
        (true, false) => Phase::Replied,
        (false, false) => Phase::New,
    }
}
