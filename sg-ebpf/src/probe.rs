//! `sgctl explain`: the core, on a packet that leaves no trace.

use core::mem::size_of;

use aya_ebpf::programs::XdpContext;
use sg_common::{
    Direction,
    probe::{Answer, MAGIC, NO_FLOW, Question},
};

use crate::{
    context::{PacketContext, PacketMeta},
    frame::xdp::XdpFrame,
    walk::judge::judge,
};

/// Judges the packet that follows a [`Question`] and puts an [`Answer`] over its first bytes.
#[inline(always)]
pub(crate) fn answer(ctx: &XdpContext) {
    let (meta, data) = (ctx.metadata(), ctx.data());
    if meta + size_of::<Question>() > data {
        return;
    }
    // SAFETY: the bounds were checked just now.
    let Question { ifindex, direction } = unsafe { *(meta as *const Question) };
    let direction = |_| if direction == 0 { Direction::Ingress } else { Direction::Egress };
    let (mut reason, mut flow) = (0, NO_FLOW);
    if let Some(context) = PacketContext::of(ifindex, direction, true) {
        let frame = XdpFrame::new(ctx);
        let mut meta = PacketMeta::on(&frame);
        reason = judge(&context, &frame, &mut meta).0;
        flow = meta.flow;
    }
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + size_of::<Answer>() <= end {
        // SAFETY: the bounds were checked just now.
        unsafe { *(data as *mut Answer) = Answer { magic: MAGIC, reason, flow } };
    }
}
