//! TCP, UDP and ICMP headers (RFC 9293, 768, 792, 4443).

use sg_common::{
    Reason,
    flow::{TCP, UDP, tcp},
};

use crate::{
    frame::{Frame, Scratch, View},
    headers::{Ip, Part, Transport},
    net::AddressFamily,
    outcome::Refusal,
};

/// Reads and checks the header behind `ip`.
#[inline(never)]
pub(crate) fn parse<N: AddressFamily, F: Frame>(
    frame: &F,
    ip: &Ip<N::Address>,
    transport: &mut Transport,
) -> Refusal {
    let mut scratch = Scratch::new();
    let at = ip.chain.transport;
    let header = |long| {
        if long {
            frame.header::<20>(at, &mut scratch)
        } else {
            frame.header::<8>(at, &mut scratch)
        }
    };
    match read::<N>(ip, header) {
        Ok(read) => {
            *transport = read;
            Refusal::NONE
        }
        Err(reason) => Refusal::of(Err(reason)),
    }
}

/// Reads and checks the transport header of a whole packet or first fragment; later fragments and
/// other protocols have none that matters. `header` gives its first 20 bytes, or 8.
#[inline(always)]
pub(crate) fn read<N: AddressFamily>(
    ip: &Ip<N::Address>,
    header: impl FnOnce(bool) -> Option<View>,
) -> Result<Transport, Reason> {
    let chain = &ip.chain;
    if chain.part == Part::Later {
        return Ok(Transport::default());
    }
    let whole = chain.part == Part::Whole;
    let short = if whole { Reason::Malformed } else { Reason::FragmentTiny };
    // Not more than 2^16: both are offsets in one packet.
    let available = ip.end.wrapping_sub(chain.transport);
    if chain.protocol == TCP {
        if available < 20 {
            return Err(short);
        }
        let header = header(true).ok_or(short)?;
        let length = (header.byte(12) >> 4) as u32 * 4;
        if length < 20 || (whole && length > available) {
            return Err(Reason::Malformed);
        }
        let data = if available > length { tcp::DATA } else { 0 };
        let tcp_flags = header.byte(13) & tcp::MASK | data;
        let at = if tcp_flags & tcp::SYN != 0 { 4 } else { 8 };
        return Ok(Transport {
            source: header.half(0),
            destination: header.half(2),
            number: header.word(at),
            tcp_flags,
        });
    }
    let udp = chain.protocol == UDP;
    if !udp && chain.protocol != N::ICMP {
        return Ok(Transport::default());
    }
    if available < 8 {
        return Err(short);
    }
    let header = header(false).ok_or(short)?;
    if udp {
        let length = header.half(4) as u32;
        if length < 8 || (whole && length > available) {
            return Err(Reason::Malformed);
        }
        return Ok(Transport::of(header.half(0), header.half(2)));
    }
    Ok(Transport::of(header.half(0), header.half(4)))
}
