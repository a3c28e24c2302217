//! `sgctl explain`: the core, on a packet that leaves no trace.

use core::mem::size_of;

use aya_ebpf::programs::XdpContext;
use sg_common::{
    Direction,
    probe::{Answer, MAGIC, NO_FLOW, Question},
};

use crate::{
    frame::{Frame, XdpFrame},
    judge::{Context, Length, judge},
};

/// Judges the packet that follows a [`Question`] and puts an [`Answer`] over its first bytes.
#[inline(always)]
pub(crate) fn answer(ctx: &XdpContext) {
    let (meta, data) = (ctx.metadata(), ctx.data());
    if meta + size_of::<Question>() > data {
        return;
    }
    // SAFETY: the bounds were checked just now.
    let question = unsafe { *(meta as *const Question) };
    let direction = |_| if question.direction == 0 { Direction::Ingress } else { Direction::Egress };
    let mut answer = Answer { magic: MAGIC, reason: 0, flow: NO_FLOW };
    if let Some(context) = Context::of(question.ifindex, direction, false) {
        let frame = XdpFrame::new(ctx);
        let mut length = Length(frame.linear());
        answer.reason = judge(&context, &frame, &mut length, &mut answer.flow) as u32;
    }
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + size_of::<Answer>() <= end {
        // SAFETY: the bounds were checked just now.
        unsafe { *(data as *mut Answer) = answer };
    }
}
