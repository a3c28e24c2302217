//! What an IP packet gets, in the order of semantics.md: headers, source check, always-pass,
//! untracked, flow, fragments, related, rules.
//!
//! The larger steps are functions of their own and stand side by side: all functions that call each
//! other share 512 bytes of stack, of which packet and key, kept here, are a quarter. They return
//! numbers, because BPF functions return one register.

use core::mem::MaybeUninit;

use sg_common::{
    Reason,
    flow::{State, TCP, UDP, tcp},
    image::{self, settings},
};

use crate::{
    conntrack::{self, Key},
    exempt::is_exempt,
    fragments,
    frame::Frame,
    ip::{self, Ip, Part},
    judge::{Context, Notes, reason},
    net::Net,
    related,
    source::{self, SourceCheck},
    transport::{self, Transport},
};

/// What a packet gets: the reason to pass, or the reason to drop.
pub(crate) type Judgement = Result<Reason, Reason>;

/// The headers of a packet, which are in order.
#[repr(C)]
pub(crate) struct Packet<N: Net> {
    pub(crate) ip: Ip<N::Address>,
    pub(crate) transport: Transport,
}

/// Judges the packet whose IP header is at `notes.ip`.
#[inline(never)]
pub(crate) fn packet<N: SourceCheck, F: Frame>(
    context: &Context,
    frame: &F,
    notes: &mut Notes,
) -> Reason {
    let mut packet = MaybeUninit::<Packet<N>>::uninit();
    let to = packet.as_mut_ptr();
    // SAFETY: both fields are written where nothing is refused, the first before the second reads
    // it; `packet` is not used otherwise.
    let packet = unsafe {
        let mut refused = ip::parse::<N, F>(frame, notes, &mut *(&raw mut (*to).ip).cast());
        if refused == 0 {
            refused =
                transport::parse::<N, F>(frame, &(*to).ip, &mut *(&raw mut (*to).transport).cast());
        }
        if refused != 0 {
            return reason(refused);
        }
        &mut *to
    };
    match packet.judge(context, frame, notes) {
        Ok(reason) | Err(reason) => reason,
    }
}

impl<N: SourceCheck> Packet<N> {
    #[inline(always)]
    fn judge<F: Frame>(
        &mut self,
        context: &Context,
        frame: &F,
        notes: &mut Notes,
    ) -> Judgement {
        if context.checks_source() {
            let refused = source::check::<N, F>(context, frame, self);
            if refused != 0 {
                return Err(reason(refused));
            }
        }
        let exempt =
            is_exempt::<N>(context.settings, context.direction, &self.ip, &self.transport);
        let mut key = MaybeUninit::<Key<N>>::uninit();
        let part = self.ip.chain.part;
        if part == Part::Later && !exempt {
            return self.later_fragment(context, &mut key);
        }
        let judgement = if exempt {
            Ok(Reason::Exempt)
        } else {
            self.stateful(context, frame, notes, &mut key)
        };
        if part == Part::First && context.leaves_traces {
            // A refusal only where the rules alone would let the others through.
            let refused = matches!(
                judgement,
                Err(Reason::NotSyn | Reason::AllowanceExceeded | Reason::FlowCut)
            );
            if judgement.is_ok() || refused {
                let key = fragments::key::<N>(context, &self.ip, !refused, &mut key);
                conntrack::keep::<N>(context, key);
            }
        }
        judgement
    }

    /// Later fragments go where the first one went.
    #[inline(always)]
    fn later_fragment(
        &self,
        context: &Context,
        key: &mut MaybeUninit<Key<N>>,
    ) -> Judgement {
        let first = fragments::verdict::<N>(context, &self.ip, key);
        let passes = if first == fragments::UNKNOWN {
            let (_, peer) = N::sides(context.direction, self.ip.source, self.ip.destination);
            context.rules.allow_all::<N>(context.direction, peer, self.ip.chain.protocol)
        } else {
            first == fragments::ALLOWED
        };
        if passes { Ok(Reason::Fragment) } else { Err(Reason::FragmentUnknown) }
    }

    #[inline(always)]
    fn stateful<F: Frame>(
        &mut self,
        context: &Context,
        frame: &F,
        notes: &mut Notes,
        key: &mut MaybeUninit<Key<N>>,
    ) -> Judgement {
        let protocol = self.ip.chain.protocol;
        if protocol == TCP || protocol == UDP {
            let (local, remote) = self.transport.ports(context.direction);
            if context.rules.untracked::<N>(protocol, local, remote) {
                return Ok(Reason::Untracked);
            }
        }
        let known = conntrack::known::<N>(context, self, notes.length, key);
        if known != 0 {
            notes.flow = (known >> 32) as u32;
            match reason(known as u32) {
                Reason::Flow => return Ok(Reason::Flow),
                Reason::FlowCut => return Err(Reason::FlowCut),
                // The rules have to say whether it starts over.
                _ => {}
            }
        }
        // SAFETY: `known` writes the key, whatever it finds.
        let opener = unsafe { key.assume_init_mut() };
        let allowed =
            context.rules.allow::<N>(context.direction, &opener.addresses, self.service());
        // Other ICMP than queries, and replies to queries, leave no state.
        let stateless = !opener.may_open();
        if stateless && self.may_be_related(context) {
            let related = related::flow::<N, F>(context, frame, self, key);
            if related != 0 {
                notes.flow = (related - 1) as u32;
                return Ok(Reason::Related);
            }
        }
        if !allowed {
            return Err(Reason::NoRule);
        }
        if stateless {
            return Ok(Reason::Rule);
        }
        let tcp_flags = self.transport.tcp_flags;
        if protocol == TCP && !tcp::opens(tcp_flags) && !context.picks_up() {
            return Err(Reason::NotSyn);
        }
        if !context.leaves_traces {
            return Ok(Reason::Rule);
        }
        // SAFETY: as above.
        let opener = unsafe { key.assume_init_mut() };
        opener.set_state(State::first(protocol, context.direction, tcp_flags));
        if conntrack::keep::<N>(context, opener) {
            Ok(Reason::Rule)
        } else {
            Err(Reason::AllowanceExceeded)
        }
    }

    /// Whether this is an ICMP error, which may belong to the flow of what it quotes.
    #[inline(always)]
    fn may_be_related(&self, context: &Context) -> bool {
        context.settings & settings::RELATED_ICMP != 0
            && self.ip.chain.protocol == N::ICMP
            && self.ip.chain.part == Part::Whole
            && N::is_error(self.transport.icmp_type())
    }

    /// The service that the packet goes to, as rules name it.
    #[inline(always)]
    fn service(&self) -> u32 {
        let (source, destination) = self.transport.loaded();
        let protocol = self.ip.chain.protocol;
        image::service(protocol, if protocol == N::ICMP { source } else { destination })
    }
}
