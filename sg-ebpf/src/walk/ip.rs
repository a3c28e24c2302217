//! IPv4 and IPv6 headers, with options and extension headers (RFC 791, RFC 8200).

use sg_common::{Reason, flow::TCP};

use crate::{
    context::PacketMeta,
    frame::{Frame, Scratch, View},
    global_fns::sg_extension,
    headers::{Chain, Ip, Part},
    net::{AddressFamily, V4, V6},
    outcome::{Refusal, reason},
    verifier::not_unrolled,
};

/// The largest datagram that fragments may add up to.
const MAX_DATAGRAM: u32 = 65535;

/// A family's header. Written where it will stay, since there is no stack for a second one.
pub(crate) trait Header: AddressFamily + Sized {
    /// Bytes of the fixed header.
    const LENGTH: usize;

    /// Reads the header at `meta.ip` and what leads from it to the transport header.
    fn read<F: Frame>(
        frame: &F,
        meta: &PacketMeta,
        ip: &mut Ip<Self::Address>,
    ) -> Result<(), Reason>;

    /// The same for a header that leads straight to a transport header, and lies before it as it
    /// is; `None`: another one.
    fn straight<F: Frame>(
        frame: &F,
        meta: &PacketMeta,
        header: View,
        ip: &mut Ip<Self::Address>,
    ) -> Option<Result<(), Reason>>;

    /// The same for a packet that an ICMP error quotes: of its end, only `end` is known.
    fn quoted<F: Frame>(
        frame: &F,
        at: u32,
        end: u32,
        ip: &mut Ip<Self::Address>,
    ) -> Result<(), Reason>;
}

/// Reads and checks an IP header.
#[inline(never)]
pub(crate) fn parse<N: Header, F: Frame>(
    frame: &F,
    meta: &PacketMeta,
    ip: &mut Ip<N::Address>,
) -> Refusal {
    Refusal::of(N::read(frame, meta, ip))
}

impl Header for V4 {
    const LENGTH: usize = 20;

    #[inline(always)]
    fn read<F: Frame>(frame: &F, meta: &PacketMeta, to: &mut Ip<u32>) -> Result<(), Reason> {
        let mut scratch = Scratch::new();
        let header = frame.header::<20>(meta.ip, &mut scratch).ok_or(Reason::Malformed)?;
        whole4(frame, meta, header, to)
    }

    #[inline(always)]
    fn straight<F: Frame>(
        frame: &F,
        meta: &PacketMeta,
        header: View,
        ip: &mut Ip<u32>,
    ) -> Option<Result<(), Reason>> {
        // No options, no fragment.
        let straight = header.byte(0) == 0x45 && header.half(6) & 0x3fff == 0;
        straight.then(|| whole4(frame, meta, header, ip))
    }

    #[inline(always)]
    fn quoted<F: Frame>(frame: &F, at: u32, end: u32, ip: &mut Ip<u32>) -> Result<(), Reason> {
        let mut scratch = Scratch::new();
        let header = frame.header::<20>(at, &mut scratch).ok_or(Reason::Malformed)?;
        *ip = Ip { end, ..fixed4(header, at)?.ip };
        Ok(())
    }
}

/// An IPv4 header up to its options.
struct Fixed4 {
    /// `end` is the total length field.
    ip: Ip<u32>,
    /// In units of 8 bytes.
    fragment_offset: u32,
}

/// The header of a packet that is there as a whole.
#[inline(always)]
fn whole4<F: Frame>(
    frame: &F,
    meta: &PacketMeta,
    header: View,
    to: &mut Ip<u32>,
) -> Result<(), Reason> {
    let at = meta.ip;
    let Fixed4 { mut ip, fragment_offset } = fixed4(header, at)?;
    let header = ip.chain.transport - at;
    let mut total = ip.end;
    if total == 0 && frame.is_gso() {
        total = meta.length.wrapping_sub(at);
    }
    if total < header || at + total > meta.length {
        return Err(Reason::Malformed);
    }
    ip.end = at + total;
    if ip.chain.part == Part::Later {
        check_later(ip.chain.protocol, fragment_offset, total - header)?;
    }
    *to = ip;
    Ok(())
}

#[inline(always)]
fn fixed4(header: View, at: u32) -> Result<Fixed4, Reason> {
    let first = header.byte(0);
    let length = (first & 15) as u32 * 4;
    if first >> 4 != 4 || length < 20 {
        return Err(Reason::Malformed);
    }
    let fragment = header.half(6) as u32;
    let (fragment_offset, more) = (fragment & 0x1fff, fragment & 0x2000);
    let part = match (fragment_offset, more) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    let protocol = header.byte(9);
    let chain = Chain {
        protocol,
        part,
        fragment_protocol: protocol,
        hop_limit: header.byte(8),
        identification: header.half(4) as u32,
        transport: at + length,
    };
    let ip = Ip {
        source: header.word(12),
        destination: header.word(16),
        chain,
        end: header.half(2) as u32,
    };
    Ok(Fixed4 { ip, fragment_offset })
}

impl Header for V6 {
    const LENGTH: usize = 40;

    #[inline(always)]
    fn read<F: Frame>(frame: &F, meta: &PacketMeta, ip: &mut Ip<(u64, u64)>) -> Result<(), Reason> {
        let mut scratch = Scratch::new();
        let header = frame.header::<40>(meta.ip, &mut scratch).ok_or(Reason::Malformed)?;
        whole6(frame, meta, header, ip)?;
        extend(frame, ip)
    }

    #[inline(always)]
    fn straight<F: Frame>(
        frame: &F,
        meta: &PacketMeta,
        header: View,
        ip: &mut Ip<(u64, u64)>,
    ) -> Option<Result<(), Reason>> {
        (!is_extension(header.byte(6))).then(|| whole6(frame, meta, header, ip))
    }

    #[inline(always)]
    fn quoted<F: Frame>(
        frame: &F,
        at: u32,
        end: u32,
        ip: &mut Ip<(u64, u64)>,
    ) -> Result<(), Reason> {
        let mut scratch = Scratch::new();
        let header = frame.header::<40>(at, &mut scratch).ok_or(Reason::Malformed)?;
        fixed6(header, at, ip)?;
        ip.end = end;
        extend(frame, ip)
    }
}

/// The fixed header of a packet that is there as a whole.
#[inline(always)]
fn whole6<F: Frame>(
    frame: &F,
    meta: &PacketMeta,
    header: View,
    ip: &mut Ip<(u64, u64)>,
) -> Result<(), Reason> {
    fixed6(header, meta.ip, ip)?;
    let mut end = ip.chain.transport + ip.end;
    if ip.end == 0 && frame.is_gso() {
        end = meta.length;
    }
    if end > meta.length {
        return Err(Reason::Malformed);
    }
    ip.end = end;
    Ok(())
}

/// The fixed IPv6 header; `end` is its payload length field.
#[inline(always)]
fn fixed6(header: View, at: u32, ip: &mut Ip<(u64, u64)>) -> Result<(), Reason> {
    if header.byte(0) >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let protocol = header.byte(6);
    let chain = Chain {
        protocol,
        part: Part::Whole,
        fragment_protocol: protocol,
        hop_limit: header.byte(7),
        identification: 0,
        transport: at + 40,
    };
    *ip = Ip {
        source: header.pair(8),
        destination: header.pair(24),
        chain,
        end: header.half(4) as u32,
    };
    Ok(())
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

const MAX_EXTENSIONS: u32 = 8;

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

#[inline(always)]
fn extend<F: Frame>(frame: &F, ip: &mut Ip<(u64, u64)>) -> Result<(), Reason> {
    if !is_extension(ip.chain.protocol) {
        return Ok(());
    }
    match frame.walk(&mut ip.chain, ip.end) {
        Refusal::NONE => Ok(()),
        refusal => Err(reason(refusal.number())),
    }
}

/// Walks extension headers.
#[inline(always)]
pub(crate) fn walk<F: Frame>(frame: &F, chain: &mut Chain, end: u32) -> Refusal {
    for _ in 0..not_unrolled(MAX_EXTENSIONS as usize) {
        if !is_extension(chain.protocol) {
            return Refusal::NONE;
        }
        if chain.transport + 8 > end {
            return Refusal::of(Err(short(chain.part as u32)));
        }
        let mut scratch = Scratch::new();
        let Some(header) = frame.copied::<8>(chain.transport, &mut scratch) else {
            return Refusal::of(Err(short(chain.part as u32)));
        };
        let kind = chain.protocol as u32 | (chain.part as u32) << 8;
        let found = Extension(sg_extension(kind, header.word(0), chain.transport, end));
        if !found.refusal().is_none() {
            return found.refusal();
        }
        chain.protocol = header.byte(0);
        chain.transport = found.transport();
        if found.part() != Part::Whole as u32 {
            chain.identification = header.word(4);
            chain.fragment_protocol = chain.protocol;
            chain.part = Part::First;
            if found.part() == Part::Later as u32 {
                chain.part = Part::Later;
                return Refusal::NONE;
            }
        }
    }
    if is_extension(chain.protocol) {
        Refusal::of(Err(Reason::TooManyHeaders))
    } else {
        Refusal::NONE
    }
}

/// The reason for a header that its datagram has no room for.
#[inline(always)]
fn short(part: u32) -> Reason {
    if part == Part::First as u32 { Reason::FragmentTiny } else { Reason::Malformed }
}

/// The step behind an extension header: offset, reason to drop, and part that it makes of the
/// packet.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Extension(pub(crate) u64);

impl Extension {
    #[inline(always)]
    fn to(transport: u32, part: Part) -> Self {
        Self(transport as u64 | (part as u64) << 40)
    }

    #[inline(always)]
    fn refuse(reason: Reason) -> Self {
        Self((reason as u64) << 32)
    }

    #[inline(always)]
    fn transport(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    fn refusal(self) -> Refusal {
        Refusal::from_number((self.0 >> 32) as u32 & 0xff)
    }

    /// [`Part::Whole`] of any but a fragment header.
    #[inline(always)]
    fn part(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

#[inline(always)]
pub(crate) fn extension(protocol: u8, part: u32, word: u32, transport: u32, end: u32) -> Extension {
    let (next, length, field) = ((word >> 24) as u8, word >> 16 & 0xff, word & 0xffff);
    let length = match protocol {
        FRAGMENT => 8,
        AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    };
    let transport = transport.wrapping_add(length);
    if transport > end {
        return Extension::refuse(short(part));
    }
    let (offset, more) = (field >> 3, field & 1);
    if protocol != FRAGMENT || (offset == 0 && more == 0) {
        return Extension::to(transport, Part::Whole);
    }
    if offset == 0 {
        return Extension::to(transport, Part::First);
    }
    match check_later(next, offset, end - transport) {
        Ok(()) => Extension::to(transport, Part::Later),
        Err(reason) => Extension::refuse(reason),
    }
}

/// A later fragment that would overwrite a TCP header (RFC 3128), or reach beyond any datagram.
#[inline(always)]
fn check_later(protocol: u8, offset: u32, payload: u32) -> Result<(), Reason> {
    if offset * 8 + payload > MAX_DATAGRAM {
        return Err(Reason::Malformed);
    }
    if protocol == TCP && offset == 1 {
        return Err(Reason::FragmentTiny);
    }
    Ok(())
}
