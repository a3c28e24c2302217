//! What no rule allows: a flood of SYNs from random sources, to a port that no rule has.

use anyhow::{Context as _, Result};
use sg_agent::datapath::varying::{MOST, Order, Sources};
use sg_common::Family;
use sg_tests::Datapath;

use super::{
    Case, Effort,
    turns::{Turns, best, rate},
};
use crate::{
    contenders::{Contender, Did},
    packets::{Kind, frame},
    report::{Row, Target},
    rules::{CLOSED, Rules},
};

#[derive(Debug)]
pub struct Deny;

/// Rules that cost a linear filter more than a tenth of a millisecond a packet.
const TOO_MANY_FOR_LINEAR: u32 = 10_000;

impl Case for Deny {
    fn name(&self) -> &'static str {
        "deny"
    }

    fn run(&self, effort: &Effort) -> Result<Vec<Row>> {
        use Rules::{List, Scattered};
        let sizes = effort.sizes(
            &[Scattered(10), Scattered(1000), Scattered(10_000), Scattered(100_000), List(100_000)],
            &[Scattered(1000)],
        );
        let mut rows = Vec::new();
        for family in Family::BOTH {
            for rules in sizes {
                let what = format!("{family:?}, {rules:?}");
                rows.extend(measure(family, *rules, effort).context(what)?);
            }
        }
        Ok(rows)
    }
}

fn measure(family: Family, rules: Rules, effort: &Effort) -> Result<Vec<Row>> {
    use Contender::{Ipset, NftLinear, NftSet, Sg, TcDrop, XdpDrop};
    let (xdp, tc) = (Sg(Datapath::Xdp), Sg(Datapath::Tc));
    let (count, group) = match rules {
        Rules::List(count) => (count, format!("{family:?}, entries of a list")),
        Rules::Scattered(count) => (count, format!("{family:?}, rules")),
        Rules::Senders | Rules::Everyone => unreachable!("not of this case"),
    };
    let mut contenders = vec![XdpDrop, xdp, TcDrop, tc, NftSet];
    if !effort.quick {
        contenders.push(Ipset);
        if matches!(rules, Rules::Scattered(count) if count < TOO_MANY_FOR_LINEAR) {
            contenders.push(NftLinear);
        }
    }
    let mut turns = Turns::default();
    for contender in contenders {
        turns.add(contender, rules, family, None)?;
    }
    let sources = Sources { count: MOST, order: Order::Random };
    turns.run(&frame(family, Kind::Syn, CLOSED), sources, effort, |packets| Did {
        dropped: packets,
        ..Did::default()
    })?;
    let at = u64::from(count);
    let mut rows = turns.rows(&group, at);
    let mut compare = |with, what: &Contender, target: Option<f64>, guard: f64| {
        let subject = format!("{} : {}", what.name(), Contender::name(with));
        let ratio = rate(&turns, *what, with);
        let row = Row::new(&group, at, subject, "x", &ratio);
        rows.push(row.target(target.map(Target::AtLeast)).guard(effort, Target::AtLeast(guard)));
    };
    compare(XdpDrop, &xdp, Some(if count <= 10_000 { 0.7 } else { 0.6 }), 0.3);
    compare(TcDrop, &tc, Some(0.8), 0.4);
    let others = best(&turns, &[NftSet, NftLinear, Ipset]);
    let than_others = match count {
        ..1000 => None,
        1000..100_000 => Some(2.5),
        _ => Some(5.0),
    };
    compare(others, &xdp, than_others, 1.2);
    compare(others, &tc, None, 1.0);
    Ok(rows)
}
