//! The steps of an IP packet, in the order of semantics.md: headers, source check, always-pass,
//! untracked, flow, fragments, related, rules.
//!
//! The larger steps are functions of their own and stand side by side. All functions that call each
//! other share 512 bytes of stack; packet and key, kept here, take a quarter of it. The steps
//! return numbers, because BPF functions return one register.

use core::mem::MaybeUninit;

use sg_common::{Family, Reason, flow::State, image::flags, probe::NO_FLOW};

use crate::{
    context::{PacketContext, PacketMeta, STATELESS},
    flow::key::Key,
    frame::Frame,
    global_fns::GlobalFns,
    headers::{Packet, Part},
    net::{V4, V6},
    outcome::{Judgement, Refusal},
    walk::{
        exempt::{Exempt, exempt},
        fragments::{self, FirstVerdict},
        ip::{self, Header},
        metadata, related,
        source::{self, SourceCheck},
        transport,
    },
};

/// Judges the packet whose IP header is at `meta.ip`; the number of a [`Reason`].
#[inline(always)]
pub(crate) fn packet<N: SourceCheck + GlobalFns, F: Frame>(
    context: &PacketContext,
    frame: &F,
    meta: &mut PacketMeta,
) -> u32 {
    let mut place = MaybeUninit::uninit();
    let packet = Packet::<N>::empty(&mut place);
    let refusal =
        packet.read(frame, meta).or_else(|| metadata::check(frame, meta, packet)).or_else(|| {
            if context.checks_source() {
                source::check::<N, F>(context, frame, packet)
            } else {
                Refusal::NONE
            }
        });
    if !refusal.is_none() {
        return refusal.number();
    }
    match packet.judge(context, frame, meta) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

/// Reads headers, and compares the kernel's later changes with them.
#[inline(always)]
pub(crate) fn headers<N: SourceCheck + GlobalFns, F: Frame>(
    frame: &F,
    meta: &PacketMeta,
) -> Refusal {
    let mut place = MaybeUninit::uninit();
    let packet = Packet::<N>::empty(&mut place);
    packet.read(frame, meta).or_else(|| metadata::check(frame, meta, packet))
}

impl<N: GlobalFns + Header> Packet<N> {
    /// Reads and checks the headers.
    #[inline(always)]
    fn read<F: Frame>(&mut self, frame: &F, meta: &PacketMeta) -> Refusal {
        match self.read_straight(frame, meta) {
            Some(Ok(())) => {
                if self.ip.chain.protocol == N::ICMP {
                    // More of it is read later.
                    frame.settle();
                }
                Refusal::NONE
            }
            Some(Err(reason)) => Refusal::of(Err(reason)),
            None => {
                frame.settle();
                self.read_copied(frame, meta)
            }
        }
    }

    #[inline(always)]
    fn read_copied<F: Frame>(&mut self, frame: &F, meta: &PacketMeta) -> Refusal {
        ip::parse::<N, F>(frame, meta, &mut self.ip)
            .or_else(|| transport::parse::<N, F>(frame, &self.ip, &mut self.transport))
    }

    /// Reads most packets: an IP header that leads straight to the transport header, both in the
    /// linear part. One look at the bounds is enough for them.
    #[inline(always)]
    fn read_straight<F: Frame>(
        &mut self,
        frame: &F,
        meta: &PacketMeta,
    ) -> Option<Result<(), Reason>> {
        const TRANSPORT: usize = 20;
        let header = match N::FAMILY {
            Family::V4 => frame.linear::<{ V4::LENGTH + TRANSPORT }>(meta.ip)?,
            Family::V6 => frame.linear::<{ V6::LENGTH + TRANSPORT }>(meta.ip)?,
        };
        Some(N::straight(frame, meta, header, &mut self.ip)?.and_then(|()| {
            self.transport = transport::read::<N>(&self.ip, |_| Some(header.skip(N::LENGTH)))?;
            Ok(())
        }))
    }

    #[inline(always)]
    fn judge<F: Frame>(
        &mut self,
        context: &PacketContext,
        frame: &F,
        meta: &mut PacketMeta,
    ) -> Judgement {
        let mut place = MaybeUninit::uninit();
        let key = Key::empty(&mut place);
        let exempt = exempt::<N>(context.interface, context.direction, &self.ip, &self.transport);
        if exempt == Exempt::Passes {
            // An exempt first fragment leaves no verdict: later fragments are judged as if it had
            // not come.
            return Ok(Reason::Exempt);
        }
        let part = self.ip.chain.part;
        if part == Part::Later {
            let first = N::verdict(context, self, key, 0);
            let passes = match first {
                // Where the rules let the peer's whole protocol in, it does not matter.
                FirstVerdict::UNKNOWN => N::allow_all(context, self, key, 0).is_yes(),
                first => first == FirstVerdict::ALLOWED,
            };
            return if passes { Ok(Reason::Fragment) } else { Err(Reason::FragmentUnknown) };
        }
        let judgement = self.stateful(context, frame, meta, key, exempt);
        if exempt == Exempt::Calls {
            // It passes in any case. All that matters here is that the answers do.
            if matches!(judgement, Err(Reason::AllowanceExceeded)) {
                N::remember(context, self, key, fragments::ANSWER);
            }
            meta.flow = NO_FLOW;
            return Ok(Reason::Exempt);
        }
        if part == Part::First && !context.dry_run && !matches!(judgement, Ok(Reason::Exempt)) {
            // A refusal only where the rules alone would let the others through.
            let refused = matches!(
                judgement,
                Err(Reason::NotSyn | Reason::AllowanceExceeded | Reason::FlowCut)
            );
            if judgement.is_ok() || refused {
                // Without room, later fragments are judged by the rules.
                N::remember(context, self, key, !refused as u32);
            }
        }
        judgement
    }

    #[inline(always)]
    fn stateful<F: Frame>(
        &mut self,
        context: &PacketContext,
        frame: &F,
        meta: &mut PacketMeta,
        key: &mut Key<N>,
        exempt: Exempt,
    ) -> Judgement {
        // In place, because it is all that these services' packets need.
        if context.open().rules.untracked(self, context.direction) {
            return Ok(Reason::Untracked);
        }
        let verdict = N::lookup_verdict(context, self, key, meta.length);
        meta.flow = verdict.flow();
        let allowed = match verdict.reason() {
            Reason::Rule => true,
            Reason::NoRule => exempt == Exempt::Calls,
            reason if reason.allowed() => return Ok(reason),
            reason => return Err(reason),
        };
        // Other ICMP than queries, and replies to queries, leave no state.
        let stateless = !key.may_open();
        if stateless
            && self.may_be_related(context)
            && related::quoted::<N, F>(frame, self)
            && let Some(flow) = N::flow(context, self, key, 0).number()
        {
            meta.flow = flow;
            return Ok(Reason::Related);
        }
        let protocol = self.ip.chain.protocol;
        // The headers of an ICMP error are those that it quotes by now.
        let mid_stream = !stateless && self.is_mid_stream();
        let picked_up = mid_stream
            && context.open().picks_up()
            && N::pick_up(context, self, key, allowed as u32).is_yes();
        if !picked_up && (!allowed || mid_stream) {
            if exempt == Exempt::MayAnswer
                && N::verdict(context, self, key, fragments::ANSWER) == FirstVerdict::ALLOWED
            {
                return Ok(Reason::Exempt);
            }
            let is_late = allowed && !context.open().picks_up();
            return Err(if is_late { Reason::NotSyn } else { Reason::NoRule });
        }
        if stateless {
            if !context.dry_run {
                meta.flow = STATELESS;
            }
            return Ok(Reason::Rule);
        }
        if context.dry_run {
            return Ok(Reason::Rule);
        }
        if protocol == N::ICMP {
            key.set_state(State::of_query(context.direction, self.transport.icmp_code()));
        } else if !picked_up {
            key.set_state(State::opened(context.direction));
        }
        if N::open(context, self, key, 0).is_yes() {
            Ok(Reason::Rule)
        } else {
            Err(Reason::AllowanceExceeded)
        }
    }

    /// Whether this is an ICMP error, which may belong to the flow of the packet that it quotes.
    #[inline(always)]
    fn may_be_related(&self, context: &PacketContext) -> bool {
        context.interface & flags::RELATED_ICMP != 0
            && self.ip.chain.protocol == N::ICMP
            && self.ip.chain.part == Part::Whole
            && N::is_error(self.transport.icmp_type())
    }
}
