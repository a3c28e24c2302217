//! Functions that the verifier checks by themselves, once, for any arguments. It would else check
//! their code again on each of the ways that lead to it. It lets them take pointers to plain memory and
//! numbers, and return a number.
//!
//! Each only calls what it is named after, so files below need this one, and this one needs them.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use sg_common::{
    Reason,
    interval::{self, Ref},
};

use crate::{
    context::PacketContext,
    flow::{
        advance,
        key::Key,
        lane::{self, Choice},
        open::{self, Room},
        pickup,
        verdict::{self, FlowVerdict},
    },
    frame::{Frame, sk_buff, skb::SkbFrame, xdp::XdpFrame},
    headers::{Chain, Packet},
    maps::Arena,
    net::{AddressFamily, V4, V6},
    outcome::Answer,
    rules,
    verifier::opaque,
    walk::{
        fragments::{self, FirstVerdict},
        ip, metadata,
        related::{self, RelatedFlow},
        source,
    },
};

/// The arguments as the verifier sees them.
type ContextWords = [u32; 5];
type Packet4 = [u32; 9];
type Packet6 = [u32; 16];
type Key4 = [u32; 8];
type Key6 = [u32; 14];
type ChainWords = [u32; 3];

const _: () = {
    assert!(size_of::<PacketContext>() == size_of::<ContextWords>());
    assert!(size_of::<Packet<V4>>() == size_of::<Packet4>());
    assert!(size_of::<Packet<V6>>() == size_of::<Packet6>());
    assert!(size_of::<Key<V4>>() == size_of::<Key4>());
    assert!(size_of::<Key<V6>>() == size_of::<Key6>());
    assert!(size_of::<Chain>() == size_of::<ChainWords>());
};

macro_rules! global_fns {
    ($($(#[$doc:meta])* $step:ident, $v4:ident, $v6:ident = $module:ident -> $result:ident;)+) => {
        /// Steps: each takes a packet and its key.
        pub(crate) trait GlobalFns: Searches {
            $(
                $(#[$doc])*
                fn $step(context: &PacketContext, packet: &Packet<Self>, key: &mut Key<Self>, number: u32) -> $result;
            )+
        }
        global_fns!(V4, Packet4, Key4: $($step, $v4, $module, $result;)+);
        global_fns!(V6, Packet6, Key6: $($step, $v6, $module, $result;)+);
    };
    ($net:ident, $packet:ident, $key:ident: $($step:ident, $function:ident, $module:ident, $result:ident;)+) => {
        impl GlobalFns for $net {
            $(
                #[inline(always)]
                fn $step(context: &PacketContext, packet: &Packet<Self>, key: &mut Key<Self>, number: u32) -> $result {
                    let context = (&raw const *context).cast();
                    $result($function(context, (&raw const *packet).cast(), (&raw mut *key).cast(), number))
                }
            )+
        }
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $function(
                context: *const ContextWords,
                packet: *const $packet,
                key: *mut $key,
                number: u32,
            ) -> u64 {
                // LLVM would else leave out an argument that a step does not need, and callers
                // would not set its register, which the verifier wants set.
                let (context, packet) = (opaque(context as usize), opaque(packet as usize));
                let (key, number) = (opaque(key as usize), opaque(number as usize) as u32);
                // SAFETY: null, or what `GlobalFns` passes.
                let (context, packet, key) = unsafe {
                    (
                        (context as *const PacketContext).as_ref(),
                        (packet as *const Packet<$net>).as_ref(),
                        (key as *mut Key<$net>).as_mut(),
                    )
                };
                let (Some(context), Some(packet), Some(key)) = (context, packet, key) else { return 0 };
                let context = context.open();
                $module::$step::<$net>(&context, packet, key, number).0
            }
        )+
    };
}

/// Searches that take a family's numbers.
pub(crate) trait Searches: AddressFamily + Sized {
    /// See [`lane::choose`].
    fn choose(key: &Key<Self>, marked: u64) -> Choice;
    /// See [`open::room`].
    fn room(hash: u32, wanted: u32) -> Room;
    /// See [`rules::allow`].
    fn allow(start: u32, row: Ref, service: u32, peer: Self::Address) -> bool;
}

impl Searches for V4 {
    #[inline(always)]
    fn choose(key: &Key<Self>, marked: u64) -> Choice {
        Choice(sg_choose4((&raw const *key).cast(), marked))
    }

    #[inline(always)]
    fn room(hash: u32, wanted: u32) -> Room {
        Room(sg_room4(hash, wanted))
    }

    #[inline(always)]
    fn allow(start: u32, row: Ref, service: u32, peer: u32) -> bool {
        sg_allow4(start, row.0, service, peer) != 0
    }
}

impl Searches for V6 {
    #[inline(always)]
    fn choose(key: &Key<Self>, marked: u64) -> Choice {
        Choice(sg_choose6((&raw const *key).cast(), marked))
    }

    #[inline(always)]
    fn room(hash: u32, wanted: u32) -> Room {
        Room(sg_room6(hash, wanted))
    }

    #[inline(always)]
    fn allow(start: u32, row: Ref, service: u32, (high, low): (u64, u64)) -> bool {
        sg_allow6(start, row.0, service, high, low) != 0
    }
}

/// See [`lane::choose`]: every way through two buckets decides an address.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_choose4(key: *const Key4, marked: u64) -> u64 {
    // SAFETY: null, or a key of `Searches::choose`.
    let Some(key) = (unsafe { key.cast::<Key<V4>>().as_ref() }) else { return 0 };
    lane::choose(key, marked).0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_choose6(key: *const Key6, marked: u64) -> u64 {
    // SAFETY: as above.
    let Some(key) = (unsafe { key.cast::<Key<V6>>().as_ref() }) else { return 0 };
    lane::choose(key, marked).0
}

/// See [`open::room`]: every way through a bucket decides an address.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_room4(hash: u32, wanted: u32) -> u64 {
    open::room::<V4>(hash, wanted).0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_room6(hash: u32, wanted: u32) -> u64 {
    open::room::<V6>(hash, wanted).0
}

/// See [`open::idle_rank`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_idle(tag: u64, seen: u32, of_fragments: u32, family: u32) -> u32 {
    open::idle_rank(tag, seen, of_fragments, family)
}

/// See [`advance::after`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_after(tag: u64, segment: u64, volume: u64) -> u64 {
    advance::after(tag, segment, volume).0
}

global_fns! {
    /// See [`verdict::lookup_verdict`]; the number is the frame's length.
    lookup_verdict, sg_lookup_verdict4, sg_lookup_verdict6 = verdict -> FlowVerdict;
    /// See [`fragments::allow_all`].
    allow_all, sg_allow_all4, sg_allow_all6 = fragments -> Answer;
    /// See [`open::open`].
    open, sg_open4, sg_open6 = open -> Answer;
    /// See [`pickup::pick_up`]; the number says whether the rules let the packet open a connection.
    pick_up, sg_pick_up4, sg_pick_up6 = pickup -> Answer;
    /// See [`related::flow`].
    flow, sg_flow4, sg_flow6 = related -> RelatedFlow;
    /// See [`fragments::verdict`].
    verdict, sg_verdict4, sg_verdict6 = fragments -> FirstVerdict;
    /// See [`fragments::remember`].
    remember, sg_remember4, sg_remember6 = fragments -> Answer;
}

/// Binary search in the image at `start`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_rank32(start: u32, keys: u32, order: u32, key: u32) -> u32 {
    interval::rank(&Arena::open().image_at(start), keys, order, key)
}

/// [`sg_rank32`] for 64-bit keys.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_rank64(start: u32, keys: u32, order: u32, key: u64) -> u32 {
    interval::rank(&Arena::open().image_at(start), keys, order, key)
}

/// See [`rules::allow`]. Takes numbers, so that a call needs nothing in memory.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_allow4(start: u32, row: u32, service: u32, peer: u32) -> u32 {
    rules::allow::<V4>(start, row, service, peer) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_allow6(start: u32, row: u32, service: u32, high: u64, low: u64) -> u32 {
    rules::allow::<V6>(start, row, service, (high, low)) as u32
}

/// See [`source::own`]. The search takes no stack of its callers.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_own4(start: u32, map: u32, address: u32) -> u32 {
    source::own::<V4>(start, map, address)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_own6(start: u32, map: u32, high: u64, low: u64) -> u32 {
    source::own::<V6>(start, map, (high, low))
}

/// [`ip::walk`] by a program's context. Few packets come here, and for the verifier each of three
/// callers would else walk the loop in each state that it comes in.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_walk_xdp(ctx: *mut xdp_md, chain: *mut ChainWords, end: u32) -> u32 {
    walk(&XdpFrame::new(&XdpContext::new(ctx)), chain, end)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_walk_skb(ctx: *mut __sk_buff, chain: *mut ChainWords, end: u32) -> u32 {
    walk(&SkbFrame::bare(&TcContext::new(ctx)), chain, end)
}

#[inline(always)]
fn walk<F: Frame>(frame: &F, chain: *mut ChainWords, end: u32) -> u32 {
    // SAFETY: null, or a chain of `Frame::walk`.
    let Some(chain) = (unsafe { chain.cast::<Chain>().as_mut() }) else {
        return Reason::Malformed as u32;
    };
    ip::walk(frame, chain, end).number()
}

/// An [`ip::Extension`] from a header's protocol (and the packet's part by now << 8), its first word
/// and offset. The verifier would else follow all that headers may hold from each of eight to the
/// next, which was half of its work on Linux 6.18.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_extension(kind: u32, word: u32, transport: u32, end: u32) -> u64 {
    ip::extension(kind as u8, kind >> 8, word, transport, end).0
}

/// See [`metadata::segments`]. Few packets come here.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_segments(ctx: *mut __sk_buff, kind: u32, transport: u32) -> u32 {
    metadata::segments(ctx, kind, transport).number()
}

/// See [`sk_buff::probed_marks`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_marks(ctx: *mut __sk_buff) -> u32 {
    sk_buff::probed_marks(ctx)
}

/// See [`sk_buff::probed_lands`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_lands(ctx: *mut __sk_buff) -> u32 {
    sk_buff::probed_lands(ctx)
}

/// See [`sk_buff::was_in_tunnel`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_was_in_tunnel(ctx: *mut __sk_buff) -> u32 {
    sk_buff::was_in_tunnel(ctx)
}
