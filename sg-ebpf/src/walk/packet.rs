//! What an IP packet gets, in the order of semantics.md: headers, source check, always-pass,
//! untracked, flow, fragments, related, rules.
//!
//! The larger steps are functions of their own and stand side by side: all functions that call each
//! other share 512 bytes of stack, of which packet and key, kept here, are a quarter. They return
//! numbers, because BPF functions return one register.

use core::mem::MaybeUninit;

use sg_common::{Family, Reason, flow::State, image::flags};

use crate::{
    conntrack::Key,
    context::{Facts, Notes, STATELESS},
    frame::Frame,
    global_fns::GlobalFns,
    headers::{Packet, Part},
    net::{V4, V6},
    outcome::{Judgement, Refusal, reason},
    walk::{
        exempt::is_exempt,
        fragments,
        ip::{self, Header},
        metadata, related,
        source::{self, SourceCheck},
        transport,
    },
};

/// Judges the packet whose IP header is at `notes.ip`; the number of a [`Reason`].
#[inline(always)]
pub(crate) fn packet<N: SourceCheck + GlobalFns, F: Frame>(
    facts: &Facts,
    frame: &F,
    notes: &mut Notes,
) -> u32 {
    let mut place = MaybeUninit::uninit();
    let packet = Packet::<N>::empty(&mut place);
    let refusal =
        packet.read(frame, notes).or_else(|| metadata::check(frame, notes, packet)).or_else(|| {
            if facts.checks_source() {
                source::check::<N, F>(facts, frame, packet)
            } else {
                Refusal::NONE
            }
        });
    if !refusal.is_none() {
        return refusal.number();
    }
    match packet.judge(facts, frame, notes) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

/// Reads headers and holds what the kernel will do against them.
#[inline(always)]
pub(crate) fn headers<N: SourceCheck + GlobalFns, F: Frame>(frame: &F, notes: &Notes) -> Refusal {
    let mut place = MaybeUninit::uninit();
    let packet = Packet::<N>::empty(&mut place);
    packet.read(frame, notes).or_else(|| metadata::check(frame, notes, packet))
}

impl<N: GlobalFns + Header> Packet<N> {
    /// Reads and checks the headers.
    #[inline(always)]
    fn read<F: Frame>(&mut self, frame: &F, notes: &Notes) -> Refusal {
        match self.read_straight(frame, notes) {
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
                self.read_copied(frame, notes)
            }
        }
    }

    #[inline(always)]
    fn read_copied<F: Frame>(&mut self, frame: &F, notes: &Notes) -> Refusal {
        ip::parse::<N, F>(frame, notes, &mut self.ip)
            .or_else(|| transport::parse::<N, F>(frame, &self.ip, &mut self.transport))
    }

    /// What most packets are: an IP header that leads straight to the transport header, both in
    /// the linear part. One look at the bounds is enough for them.
    #[inline(always)]
    fn read_straight<F: Frame>(&mut self, frame: &F, notes: &Notes) -> Option<Result<(), Reason>> {
        const TRANSPORT: usize = 20;
        let header = match N::FAMILY {
            Family::V4 => frame.linear::<{ V4::LENGTH + TRANSPORT }>(notes.ip)?,
            Family::V6 => frame.linear::<{ V6::LENGTH + TRANSPORT }>(notes.ip)?,
        };
        Some(N::straight(frame, notes, header, &mut self.ip)?.and_then(|()| {
            self.transport = transport::read::<N>(&self.ip, |_| Some(header.skip(N::LENGTH)))?;
            Ok(())
        }))
    }

    #[inline(always)]
    fn judge<F: Frame>(&mut self, facts: &Facts, frame: &F, notes: &mut Notes) -> Judgement {
        let mut place = MaybeUninit::uninit();
        let key = Key::empty(&mut place);
        if is_exempt::<N>(facts.interface, facts.direction, &self.ip, &self.transport) {
            // Of a first fragment nothing is kept: what follows it is not what was let through.
            return Ok(Reason::Exempt);
        }
        let part = self.ip.chain.part;
        if part == Part::Later {
            let first = N::verdict(facts, self, key, 0);
            let passes = match first {
                // Where the rules let the peer's whole protocol in, it does not matter.
                fragments::UNKNOWN => N::allow_all(facts, self, key, 0) != 0,
                first => first == fragments::ALLOWED,
            };
            return if passes { Ok(Reason::Fragment) } else { Err(Reason::FragmentUnknown) };
        }
        let judgement = self.stateful(facts, frame, notes, key);
        if part == Part::First && facts.leaves_traces {
            // A refusal only where the rules alone would let the others through.
            let refused = matches!(
                judgement,
                Err(Reason::NotSyn | Reason::AllowanceExceeded | Reason::FlowCut)
            );
            if judgement.is_ok() || refused {
                // Without room, later fragments are judged by the rules.
                N::remember(facts, self, key, !refused as u32);
            }
        }
        judgement
    }

    #[inline(always)]
    fn stateful<F: Frame>(
        &mut self,
        facts: &Facts,
        frame: &F,
        notes: &mut Notes,
        key: &mut Key<N>,
    ) -> Judgement {
        // In place, because it is all that these services' packets need.
        if facts.open().rules.untracked(self, facts.direction) {
            return Ok(Reason::Untracked);
        }
        let known = N::known(facts, self, key, notes.length);
        notes.flow = (known >> 32) as u32;
        let allowed = match reason(known as u32) {
            Reason::Rule => true,
            Reason::NoRule => false,
            reason if reason.allowed() => return Ok(reason),
            reason => return Err(reason),
        };
        // Other ICMP than queries, and replies to queries, leave no state.
        let stateless = !key.may_open();
        if stateless && self.may_be_related(facts) && related::quoted::<N, F>(frame, self) {
            let related = N::flow(facts, self, key, 0);
            if related != 0 {
                notes.flow = (related - 1) as u32;
                return Ok(Reason::Related);
            }
        }
        if !allowed {
            return Err(Reason::NoRule);
        }
        if stateless {
            if facts.leaves_traces {
                notes.flow = STATELESS;
            }
            return Ok(Reason::Rule);
        }
        let (protocol, tcp_flags) = (self.ip.chain.protocol, self.transport.tcp_flags);
        if self.is_mid_stream() && !facts.open().picks_up() {
            return Err(Reason::NotSyn);
        }
        if !facts.leaves_traces {
            return Ok(Reason::Rule);
        }
        key.set_state(if protocol == N::ICMP {
            State::of_query(facts.direction, self.transport.icmp_code())
        } else {
            State::first(protocol, facts.direction, tcp_flags)
        });
        if N::open(facts, self, key, 0) != 0 {
            Ok(Reason::Rule)
        } else {
            Err(Reason::AllowanceExceeded)
        }
    }

    /// Whether this is an ICMP error, which may belong to the flow of what it quotes.
    #[inline(always)]
    fn may_be_related(&self, facts: &Facts) -> bool {
        facts.interface & flags::RELATED_ICMP != 0
            && self.ip.chain.protocol == N::ICMP
            && self.ip.chain.part == Part::Whole
            && N::is_error(self.transport.icmp_type())
    }
}
