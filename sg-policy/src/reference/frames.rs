//! Frames from a line each, for tests here and of the data path. Headers come from etherparse, so
//! parsers are tested against another's idea of them.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};

pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

pub fn ethernet(source: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let header =
        Ethernet2Header { source, destination: [0xff; 6], ether_type: EtherType(ether_type) };
    [&header.to_bytes()[..], payload].concat()
}

/// Puts a tag behind the addresses.
pub fn vlan(frame: &[u8], tpid: u16) -> Vec<u8> {
    [&frame[..12], &tpid.to_be_bytes(), &[0, 7], &frame[12..]].concat()
}

/// An IP packet in the making.
#[derive(Clone, Debug)]
pub struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub hop_limit: u8,
    pub protocol: u8,
    /// IPv4 options, a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// IPv4: identification, offset in units of 8 bytes, more fragments.
    pub fragment: (u16, u16, bool),
    pub payload: Vec<u8>,
    /// Protocol and ports of a flow that it opens; the ports of a query are identifier and type.
    pub flow: (u8, u16, u16),
}

pub fn ip(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Ip {
    Ip {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        hop_limit: 64,
        protocol,
        options: vec![],
        fragment: (0, 0, false),
        payload: payload.to_vec(),
        flow: (protocol, 0, 0),
    }
}

impl Ip {
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    pub fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    pub fn fragment(self, identification: u16, offset: u16, more: bool) -> Self {
        Self { fragment: (identification, offset, more), ..self }
    }

    /// IPv6: puts an extension header before the present content.
    pub fn extension(mut self, kind: u8, mut header: Vec<u8>) -> Self {
        header[0] = self.protocol;
        header.extend(&self.payload);
        self.payload = header;
        self.protocol = kind;
        self
    }

    /// IPv6: puts a fragment header before the present content.
    pub fn fragment6(self, identification: u32, offset: u16, more: bool) -> Self {
        let mut header = vec![0, 0];
        header.extend((offset << 3 | u16::from(more)).to_be_bytes());
        header.extend(identification.to_be_bytes());
        self.extension(44, header)
    }

    /// Only the bytes of the payload from `from` to `to`.
    pub fn slice(mut self, from: usize, to: usize) -> Self {
        self.payload = self.payload[from..to].to_vec();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let length = self.payload.len().try_into().unwrap();
                let mut header = Ipv4Header::new(
                    length,
                    self.hop_limit,
                    IpNumber(self.protocol),
                    src.octets(),
                    dst.octets(),
                )
                .unwrap();
                header.options = self.options.as_slice().try_into().unwrap();
                header.set_payload_len(self.payload.len()).unwrap();
                let (identification, offset, more) = self.fragment;
                header.identification = identification;
                header.fragment_offset = offset.try_into().unwrap();
                header.more_fragments = more;
                header.dont_fragment = false;
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: self.payload.len().try_into().unwrap(),
                next_header: IpNumber(self.protocol),
                hop_limit: self.hop_limit,
                source: src.octets(),
                destination: dst.octets(),
            }
            .to_bytes()
            .to_vec(),
            _ => panic!("addresses of two families"),
        };
        [header, self.payload.clone()].concat()
    }

    pub fn frame(&self) -> Vec<u8> {
        self.frame_from(OWN_MAC)
    }

    pub fn frame_from(&self, mac: [u8; 6]) -> Vec<u8> {
        ethernet(mac, if self.src.is_ipv4() { 0x0800 } else { 0x86dd }, &self.bytes())
    }
}

fn between(src: SocketAddr, dst: SocketAddr, protocol: u8, payload: &[u8]) -> Ip {
    let flow = (protocol, src.port(), dst.port());
    Ip { flow, ..ip(&src.ip().to_string(), &dst.ip().to_string(), protocol, payload) }
}

/// `flags`: letters of SAFRPU.
/// Sequence number of a segment with SYN; what acknowledges, acknowledges it.
pub const ISN: u32 = 1000;

/// A segment without data, with numbers that belong to a handshake.
pub fn tcp(src: &str, dst: &str, flags: &str) -> Ip {
    let sequence = if flags.contains('S') { ISN } else { ISN + 1 };
    let acknowledges = if flags.contains('A') { ISN + 1 } else { 0 };
    tcp_with(src, dst, flags, (sequence, acknowledges), b"")
}

/// `numbers`: sequence and acknowledgement.
pub fn tcp_with(src: &str, dst: &str, flags: &str, numbers: (u32, u32), data: &[u8]) -> Ip {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let mut header = TcpHeader::new(src.port(), dst.port(), numbers.0, 1024);
    header.acknowledgment_number = numbers.1;
    for flag in flags.chars() {
        match flag {
            'S' => header.syn = true,
            'A' => header.ack = true,
            'F' => header.fin = true,
            'R' => header.rst = true,
            'P' => header.psh = true,
            'U' => header.urg = true,
            'E' => header.ece = true,
            _ => panic!("no such flag: {flag}"),
        }
    }
    between(src, dst, 6, &[&header.to_bytes()[..], data].concat())
}

pub fn udp(src: &str, dst: &str) -> Ip {
    udp_with(src, dst, b"payload")
}

pub fn udp_with(src: &str, dst: &str, payload: &[u8]) -> Ip {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let length = u16::try_from(8 + payload.len()).unwrap();
    let header =
        UdpHeader { source_port: src.port(), destination_port: dst.port(), length, checksum: 0 };
    between(src, dst, 17, &[&header.to_bytes()[..], payload].concat())
}

/// ICMP or ICMPv6, by the addresses.
pub fn icmp(src: &str, dst: &str, kind: u8, code: u8, identifier: u16) -> Ip {
    let [high, low] = identifier.to_be_bytes();
    let message = icmp_with(src, dst, &[kind, code, 0, 0, high, low, 0, 1]);
    Ip { flow: (message.protocol, identifier, kind.into()), ..message }
}

pub fn icmp_with(src: &str, dst: &str, message: &[u8]) -> Ip {
    ip(src, dst, if src.contains(':') { 58 } else { 1 }, message)
}

/// An error that quotes `quoted`, sent to `dst`.
pub fn icmp_error(src: &str, dst: &str, kind: u8, quoted: &[u8]) -> Ip {
    icmp_with(src, dst, &[&[kind, 0, 0, 0, 0, 0, 0, 0], quoted].concat())
}

/// Neighbour solicitation, advertisement and the like: type, then the target.
pub fn neighbour(src: &str, dst: &str, kind: u8, target: &str) -> Ip {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..]].concat();
    icmp_with(src, dst, &message).hop_limit(255)
}

/// ARP request: sender's hardware and protocol address.
pub fn arp(mac: [u8; 6], sender_mac: [u8; 6], sender: &str) -> Vec<u8> {
    let sender: std::net::Ipv4Addr = sender.parse().unwrap();
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(sender_mac);
    body.extend(sender.octets());
    body.extend([0; 6]);
    body.extend([10, 0, 0, 1]);
    ethernet(mac, 0x0806, &body)
}
