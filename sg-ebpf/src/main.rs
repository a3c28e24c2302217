//! The BPF programs: thin entry points around one core.
//!
//! | program | attached to | judges |
//! |---|---|---|
//! | `sg_xdp` | XDP | what an interface receives |
//! | `sg_tc_in` | TCX or clsact ingress | the same, where XDP is not to be had or costs more |
//! | `sg_tc_meta` | TCX or clsact ingress behind XDP | what XDP cannot see of a packet |
//! | `sg_tc_out` | TCX or clsact egress | what an interface sends |
//! | `sg_probe` | nothing; BPF_PROG_TEST_RUN | a question of `sgctl explain` |
//!
//! No program knows rules or names, logs, allocates, or calls a map helper: map memory is at constant
//! addresses, time is jiffies.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![allow(
    internal_features,
    reason = "compare-exchange is only there as an intrinsic on this target"
)]

mod context;
mod counters;
mod events;
mod flow;
mod frame;
mod global_fns;
mod headers;
mod maps;
mod net;
mod outcome;
mod probe;
mod rules;
mod verifier;
mod walk;
mod words;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    frame::{skb::SkbFrame, xdp::XdpFrame},
    walk::judge::{Hook, Verdict, enforce, enforce_behind_xdp},
};

#[xdp(frags)]
#[inline(always)]
fn sg_xdp(ctx: XdpContext) -> u32 {
    match enforce(&XdpFrame::new(&ctx), Hook::Receive) {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
    }
}

#[classifier]
#[inline(always)]
fn sg_tc_in(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    if frame.is_own_copy() {
        return TC_ACT_UNSPEC;
    }
    tc_action(enforce(&frame, Hook::Receive))
}

#[classifier]
#[inline(always)]
fn sg_tc_meta(ctx: TcContext) -> i32 {
    let frame = SkbFrame::new(&ctx);
    if frame.is_own_copy() || frame.is_plain() {
        return TC_ACT_UNSPEC;
    }
    tc_action(enforce_behind_xdp(&frame))
}

#[classifier]
#[inline(always)]
fn sg_tc_out(ctx: TcContext) -> i32 {
    tc_action(enforce(&SkbFrame::new(&ctx), Hook::Send))
}

#[xdp]
#[inline(always)]
fn sg_probe(ctx: XdpContext) -> u32 {
    probe::answer(&ctx);
    xdp_action::XDP_PASS
}

/// "Unspec" lets programs and filters after this one have their say.
#[inline(always)]
fn tc_action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could get here.
    loop {}
}

/// The kernel counts this string as GPL-compatible (include/linux/license.h).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
