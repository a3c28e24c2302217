//! Reads the addresses, ports and flags of an event's packet, as far as it was captured.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    /// 0 where there are none.
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) tcp_flags: u8,
}

/// FIN, SYN and RST are logged, and ACK beside SYN, as in EC2.
const FIN_SYN_RST: u8 = 0x07;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Offset of the flags in a TCP header.
const TCP_FLAGS: usize = 13;

/// `None`: no IP packet, or not even its addresses are there.
pub(super) fn read(packet: &[u8]) -> Option<Headers> {
    let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
    let (src, dst, protocol) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let (src, dst) = (header.source_addr(), header.destination_addr());
            (src.into(), dst.into(), ip.payload().ip_number.0)
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let (src, dst) = (header.source_addr(), header.destination_addr());
            (src.into(), dst.into(), ip.payload().ip_number.0)
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let (sport, dport, flags) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (tcp.source_port(), tcp.destination_port(), tcp.slice()[TCP_FLAGS])
        }
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port(), 0),
        _ => (0, 0, 0),
    };
    let logged = if flags & SYN != 0 { FIN_SYN_RST | ACK } else { FIN_SYN_RST };
    Some(Headers { src, dst, protocol, sport, dport, tcp_flags: flags & logged })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn built(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
        let mut packet = Vec::new();
        builder.write(&mut packet, &[0; 9]).expect("a packet");
        packet
    }

    #[test]
    fn ports_and_flags_of_tcp() {
        let syn_ack = built(
            PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
                .tcp(443, 4000, 1, 1)
                .syn()
                .ack(1),
        );
        let expected = Headers {
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            protocol: 6,
            sport: 443,
            dport: 4000,
            tcp_flags: 0x12,
        };
        assert_eq!(read(&syn_ack), Some(expected));
        // The captured part may end early.
        assert_eq!(read(&syn_ack[..40]), Some(expected));
        let (_, without_transport) = (0, read(&syn_ack[..30]).expect("addresses"));
        assert_eq!((without_transport.protocol, without_transport.sport), (6, 0));
        assert_eq!(read(&syn_ack[..19]), None);
        let ack = built(PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4).ack(1));
        let read = read(&ack).expect("a packet");
        assert_eq!((read.dst, read.dport, read.tcp_flags), ([2; 16].into(), 2, 0));
    }

    #[test]
    fn what_is_no_ip_packet_has_no_headers() {
        for packet in [&[][..], &[0; 60], &[0xff; 60], &[0x45; 4]] {
            assert_eq!(read(packet), None, "{packet:?}");
        }
    }
}
