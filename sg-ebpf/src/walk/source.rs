//! Source check: an instance behind a port speaks for its own addresses only.

use sg_common::{
    Reason,
    flow::{ICMPV6, UDP},
    image::{flags, record},
    interval::Ref,
};

use crate::{
    context::PacketContext,
    frame::{Frame, Scratch, View},
    global_fns::{sg_own4, sg_own6},
    headers::{Ip, Packet, Part, Transport},
    maps::Arena,
    net::{AddressFamily, V4, V6},
    outcome::Refusal,
    rules::Rules,
    walk::ip::Header,
};

/// The Ethernet source, of any frame.
#[inline(always)]
pub(crate) fn ethernet<F: Frame>(rules: &Rules, interface: u32, frame: &F) -> Result<(), Reason> {
    if interface & flags::MAC == 0 || interface & flags::NO_ETHERNET != 0 {
        return Ok(());
    }
    let mut scratch = Scratch::new();
    let header = frame.header::<14>(0, &mut scratch).ok_or(Reason::Malformed)?;
    ensure(is_mac(rules, header, 6))
}

/// Whether the six bytes at `at` are the instance's MAC address.
#[inline(always)]
fn is_mac(rules: &Rules, header: View, at: usize) -> bool {
    let high = (header.half(at) as u32) << 16 | header.half(at + 2) as u32;
    high == rules.field(record::MAC) && header.half(at + 4) as u32 == rules.field(record::MAC + 1)
}

/// RFC 826: sender hardware address at 8, sender protocol address at 14.
#[inline(always)]
pub(crate) fn arp<F: Frame>(
    rules: &Rules,
    interface: u32,
    frame: &F,
    at: u32,
) -> Result<(), Reason> {
    let mut scratch = Scratch::new();
    let arp = frame.header::<28>(at, &mut scratch).ok_or(Reason::Malformed)?;
    let sender = (arp.half(14) as u32) << 16 | arp.half(16) as u32;
    if sender != 0 && !is_own4(rules, sender) {
        return Err(Reason::SourceCheck);
    }
    ensure(interface & flags::MAC == 0 || is_mac(rules, arp, 8))
}

#[inline(always)]
fn is_own4(rules: &Rules, address: u32) -> bool {
    sg_own4(rules.image.start, rules.field(record::OWN), address) != 0
}

/// Whether the map of own addresses of the image at `start` has this one.
#[inline(always)]
pub(crate) fn own<N: AddressFamily>(start: u32, map: u32, address: N::Address) -> u32 {
    let arena = Arena::open();
    N::find(&arena.image_at(start), Ref(map), address)
}

/// Own address, or own link-local: any of fe80::/10, or with a known MAC the one made from it
/// (RFC 4291, appendix A).
#[inline(always)]
fn is_own6(rules: &Rules, interface: u32, address: (u64, u64)) -> bool {
    if address.0 >> 54 == 0xfe80 >> 6 {
        if interface & flags::MAC == 0 {
            return true;
        }
        let (high, low) = (rules.field(record::MAC) as u64, rules.field(record::MAC + 1) as u64);
        let eui64 = (high >> 8) << 40 | 0xff_fe00_0000 | (high & 0xff) << 16 | low;
        if address == (0xfe80 << 48, eui64 ^ 0x0200_0000_0000_0000) {
            return true;
        }
    }
    sg_own6(rules.image.start, rules.field(record::OWN + 1), address.0, address.1) != 0
}

/// The addresses and messages that an instance may claim in IP.
pub(crate) trait SourceCheck: Header {
    fn check<F: Frame>(
        rules: &Rules,
        interface: u32,
        frame: &F,
        ip: &Ip<Self::Address>,
        transport: &Transport,
    ) -> Result<(), Reason>;
}

/// Ethernet source and IP.
#[inline(never)]
pub(crate) fn check<N: SourceCheck, F: Frame>(
    context: &PacketContext,
    frame: &F,
    packet: &Packet<N>,
) -> Refusal {
    let context = context.open();
    let Packet { ip, transport } = packet;
    let (rules, interface) = (&context.rules, context.interface);
    let checked = ethernet(rules, interface, frame)
        .and_then(|()| N::check(rules, interface, frame, ip, transport));
    Refusal::of(checked)
}

#[inline(always)]
fn ensure(holds: bool) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(Reason::SourceCheck) }
}

/// UDP to this port, in a packet that shows its ports.
#[inline(always)]
fn is_udp_to<A>(ip: &Ip<A>, transport: &Transport, port: u16) -> bool {
    ip.chain.protocol == UDP && ip.chain.part != Part::Later && transport.destination == port
}

impl SourceCheck for V4 {
    #[inline(always)]
    fn check<F: Frame>(
        rules: &Rules,
        _interface: u32,
        _frame: &F,
        ip: &Ip<u32>,
        transport: &Transport,
    ) -> Result<(), Reason> {
        if ip.source == 0 {
            return ensure(is_udp_to(ip, transport, 67) && transport.source == 68);
        }
        // Before the search for the address: behind it, Linux 6.1 never compares the port, and what
        // a DHCP server says passes (seen by the differential tests on 6.1.192).
        ensure(!is_udp_to(ip, transport, 68) && is_own4(rules, ip.source))
    }
}

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

impl SourceCheck for V6 {
    #[inline(always)]
    fn check<F: Frame>(
        rules: &Rules,
        interface: u32,
        frame: &F,
        ip: &Ip<(u64, u64)>,
        transport: &Transport,
    ) -> Result<(), Reason> {
        let kind = if ip.chain.protocol == ICMPV6 && ip.chain.part != Part::Later {
            transport.icmp_type()
        } else {
            0
        };
        // First, as in IPv4.
        ensure(kind != ROUTER_ADVERTISEMENT && !is_udp_to(ip, transport, 546))?;
        let unspecified = ip.source == (0, 0);
        if unspecified {
            // DAD with its MLD report (RFC 3590), and router solicitation.
            ensure(matches!(kind, ROUTER_SOLICITATION | NEIGHBOR_SOLICITATION | 131 | 132 | 143))?;
        } else {
            ensure(is_own6(rules, interface, ip.source))?;
        }
        if kind == NEIGHBOR_ADVERTISEMENT || (kind == NEIGHBOR_SOLICITATION && unspecified) {
            if ip.end.wrapping_sub(ip.chain.transport) < 24 {
                return Err(Reason::Malformed);
            }
            let mut scratch = Scratch::new();
            let message =
                frame.header::<24>(ip.chain.transport, &mut scratch).ok_or(Reason::Malformed)?;
            ensure(is_own6(rules, interface, message.pair(8)))?;
        }
        Ok(())
    }
}
