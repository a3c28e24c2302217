//! The steps of [`crate::packet`] as global functions: the verifier checks each once, for any
//! arguments, where it would else check it again on each of the ways that lead to it. It lets them
//! take pointers to plain memory and numbers, and return a number.

use crate::{
    conntrack::{self, Key},
    context::Facts,
    fragments,
    headers::Packet,
    net::{Net, V4, V6},
    related,
    verifier::opaque,
};

/// What the verifier sees of the arguments.
type FactsWords = [u32; 5];
type Packet4 = [u32; 9];
type Packet6 = [u32; 16];
type Key4 = [u32; 8];
type Key6 = [u32; 14];

const _: () = {
    assert!(size_of::<Facts>() == size_of::<FactsWords>());
    assert!(size_of::<Packet<V4>>() == size_of::<Packet4>());
    assert!(size_of::<Packet<V6>>() == size_of::<Packet6>());
    assert!(size_of::<Key<V4>>() == size_of::<Key4>());
    assert!(size_of::<Key<V6>>() == size_of::<Key6>());
};

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident, $v4:ident, $v6:ident = $module:ident;)+) => {
        /// Each takes a packet and its key.
        pub(crate) trait Steps: Net + Sized {
            $(
                $(#[$doc])*
                fn $step(facts: &Facts, packet: &Packet<Self>, key: &mut Key<Self>, number: u32) -> u64;
            )+
        }
        steps!(V4, Packet4, Key4: $($step, $v4, $module;)+);
        steps!(V6, Packet6, Key6: $($step, $v6, $module;)+);
    };
    ($net:ident, $packet:ident, $key:ident: $($step:ident, $function:ident, $module:ident;)+) => {
        impl Steps for $net {
            $(
                #[inline(always)]
                fn $step(facts: &Facts, packet: &Packet<Self>, key: &mut Key<Self>, number: u32) -> u64 {
                    let facts = (&raw const *facts).cast();
                    $function(facts, (&raw const *packet).cast(), (&raw mut *key).cast(), number)
                }
            )+
        }
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $function(
                facts: *const FactsWords,
                packet: *const $packet,
                key: *mut $key,
                number: u32,
            ) -> u64 {
                // LLVM would else leave out an argument that a step does not need, and callers
                // would not set its register, which the verifier wants set.
                let (facts, packet) = (opaque(facts as usize), opaque(packet as usize));
                let (key, number) = (opaque(key as usize), opaque(number as usize) as u32);
                // SAFETY: null, or what `Steps` passes.
                let (facts, packet, key) = unsafe {
                    (
                        (facts as *const Facts).as_ref(),
                        (packet as *const Packet<$net>).as_ref(),
                        (key as *mut Key<$net>).as_mut(),
                    )
                };
                let (Some(facts), Some(packet), Some(key)) = (facts, packet, key) else { return 0 };
                let context = facts.open();
                $module::$step::<$net>(&context, packet, key, number)
            }
        )+
    };
}

/// See [`conntrack::choose`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_choose4(key: *const Key4, marked: u64) -> u64 {
    conntrack::choose::<V4>(key.cast(), marked)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_choose6(key: *const Key6, marked: u64) -> u64 {
    conntrack::choose::<V6>(key.cast(), marked)
}

steps! {
    /// See [`conntrack::known`]; the number is the frame's length.
    known, sg_known4, sg_known6 = conntrack;
    /// See [`fragments::allow_all`].
    allow_all, sg_allow_all4, sg_allow_all6 = fragments;
    /// See [`conntrack::open`].
    open, sg_open4, sg_open6 = conntrack;
    /// See [`related::flow`].
    flow, sg_flow4, sg_flow6 = related;
    /// See [`fragments::verdict`].
    verdict, sg_verdict4, sg_verdict6 = fragments;
    /// See [`fragments::remember`].
    remember, sg_remember4, sg_remember6 = fragments;
}
