//! Flows of connections that are older than the filter: judged by an image as their opening packets
//! would be, and put into the table as the programs put theirs.

use std::net::{IpAddr, SocketAddr};

use sg_common::{
    Direction,
    flow::{Addresses4, Addresses6, TCP, Tag, UDP, ports},
    image::{self, header, record, service},
    interval::{self, Words},
};

use super::{
    Error, Phase,
    arena::Slice,
    flows::Contents,
    maps::Maps,
    revoke::{Peer, allows},
    table::{Present, Table},
};

/// A connection at an interface, and which way its opening packet went there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub slot: u16,
    pub protocol: u8,
    pub direction: Direction,
    /// The instance's end. Ports are 0 where the protocol has none.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// What rules say to an opening packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    Denied,
    /// It passes, and so does all that follows, each by the rules.
    Untracked,
    /// It passes and makes a flow.
    Tracked,
}

/// Addresses as tables have them.
enum Ends {
    V4(Addresses4),
    V6(Addresses6),
}

impl Opening {
    /// `None` for ends of different families.
    fn ends(&self) -> Option<Ends> {
        match (self.local.ip(), self.remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Some(Ends::V4([u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits())]))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let halves = |bits: u128| ((bits >> 64) as u64, bits as u64);
                let (local, remote) = (halves(local.to_bits()), halves(remote.to_bits()));
                Some(Ends::V6([local.0, local.1, remote.0, remote.1]))
            }
            _ => None,
        }
    }
}

/// What the rules in `image` say to an opening packet.
pub fn judge(image: &[u32], opening: &Opening) -> Opens {
    let words = Slice(image);
    match opening.ends() {
        Some(Ends::V4(addresses)) => judge_in(&words, opening, &addresses),
        Some(Ends::V6(addresses)) => judge_in(&words, opening, &addresses),
        None => Opens::Denied,
    }
}

fn judge_in<A: Peer>(words: &Slice<'_>, opening: &Opening, addresses: &A) -> Opens {
    if u32::from(opening.slot) >= words.word(header::SLOTS) {
        return Opens::Denied;
    }
    let record = image::record_of(words, opening.slot.into());
    if words.word(record + record::IFINDEX) == 0 {
        return Opens::Denied;
    }
    let is_open = |which, port| {
        let set = image::family_ref(words, record, A::FAMILY, which);
        interval::contains(words, set, service(opening.protocol, port))
    };
    if matches!(opening.protocol, TCP | UDP)
        && (is_open(record::UNTRACKED_IN, opening.local.port())
            || is_open(record::UNTRACKED_OUT, opening.remote.port()))
    {
        return Opens::Untracked;
    }
    if allows(words, record, tag(opening, Phase::New), addresses) {
        Opens::Tracked
    } else {
        Opens::Denied
    }
}

fn tag(opening: &Opening, phase: Phase) -> Tag {
    let ports = match opening.protocol {
        TCP | UDP => ports(opening.local.port(), opening.remote.port()),
        _ => 0,
    };
    let state = phase.state(opening.protocol, opening.direction);
    Tag::new(ports, opening.slot, opening.protocol, state)
}

/// A connection whose flow is to be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    pub opening: Opening,
    pub phase: Phase,
}

/// Puts those that `image` lets open and tracks into the tables; returns how many are new there. One
/// for which there is no free lane is left out: nothing gives way to it.
pub fn insert(
    maps: &Maps,
    image: &[u32],
    present: &Present<'_>,
    seeds: &[Seed],
) -> Result<u64, Error> {
    // Mapped whole, since seeds hit it everywhere, and only for as long as this takes.
    let v4 = Table::<Addresses4>::map(&maps.flows4)?;
    let v6 = Table::<Addresses6>::map(&maps.flows6)?;
    let mut inserted = 0;
    for Seed { opening, phase } in seeds {
        if judge(image, opening) != Opens::Tracked {
            continue;
        }
        let tag = tag(opening, *phase);
        let is_new = match opening.ends() {
            Some(Ends::V4(addresses)) => {
                v4.insert(present, tag, &Contents::new(addresses, present.now))
            }
            Some(Ends::V6(addresses)) => {
                v6.insert(present, tag, &Contents::new(addresses, present.now))
            }
            None => false,
        };
        inserted += u64::from(is_new);
    }
    Ok(inserted)
}
