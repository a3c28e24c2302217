//! Refused packets: a flood of SYNs from random sources, to a port that no rule has.

use anyhow::{Context as _, Result};
use sg_common::Family;
use sg_datapath::testing::varying::{MOST, Order, Sources};
use sg_tests::Datapath;

use super::{
    Case, Effort,
    turns::{Traffic, Turns},
};
use crate::{
    contenders::{Contender, Did, Task, nft::Form},
    packets::{Kind, frame, name},
    report::{Row, Target},
    rules::{CLOSED, Rules},
};

#[derive(Debug)]
pub struct Deny;

/// From here on a linear filter takes longer for a packet than is worth waiting for.
const TOO_MANY_FOR_LINEAR: u32 = 10_000;

impl Case for Deny {
    fn name(&self) -> &'static str {
        "deny"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        use Rules::{List, Scattered};
        let sizes = effort.sizes(
            &[Scattered(10), Scattered(1000), Scattered(10_000), Scattered(100_000), List(100_000)],
            &[Scattered(1000)],
        );
        for family in Family::BOTH {
            for rules in sizes {
                let what = format!("{}, {rules:?}", name(family));
                measure(&Task::new(*rules, family), effort, rows).context(what)?;
            }
        }
        Ok(())
    }
}

fn measure(task: &Task, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    use Contender::{Ipset, Nft, Sg, TcDrop, XdpDrop};
    let (xdp, tc) = (Sg(Datapath::Xdp), Sg(Datapath::Tc));
    let Task { rules, family, .. } = *task;
    let (count, group) = match rules {
        Rules::List(count) => (count, format!("{}, entries of a list", name(family))),
        Rules::Scattered(count) => (count, format!("{}, rules", name(family))),
        Rules::Senders | Rules::Everyone => unreachable!("not of this case"),
    };
    let mut contenders = vec![XdpDrop, xdp, TcDrop, tc, Nft(Form::Set)];
    if !effort.quick {
        contenders.push(Ipset);
        if matches!(rules, Rules::Scattered(count) if count < TOO_MANY_FOR_LINEAR) {
            contenders.push(Nft(Form::Linear));
        }
    }
    let mut turns = Turns::of(&contenders, task)?;
    let traffic = Traffic {
        frame: &frame(family, Kind::Syn, CLOSED),
        sources: Sources { count: MOST, order: Order::Random },
        from: 0,
    };
    for outcome in turns.run(&traffic, effort)? {
        outcome.is(|sent| Did { dropped: sent, ..Did::default() })?;
    }
    let at = u64::from(count);
    rows.extend(turns.rows(&group, at));
    let mut compare = |with: Contender, what: Contender, target: Option<f64>, guard: f64| {
        let subject = format!("{} : {}", what.name(), with.name());
        let row = Row::new(&group, at, subject, "x", &turns.rate(what, with));
        rows.push(row.target(target.map(Target::AtLeast)).guard(effort, Target::AtLeast(guard)));
    };
    compare(XdpDrop, xdp, Some(if count <= 10_000 { 0.7 } else { 0.6 }), 0.1);
    compare(TcDrop, tc, Some(0.8), 0.2);
    let others = turns.best(&[Nft(Form::Set), Nft(Form::Linear), Ipset]);
    let than_others = match count {
        ..1000 => None,
        1000..100_000 => Some(2.5),
        _ => Some(5.0),
    };
    compare(others, xdp, than_others, 1.5);
    compare(others, tc, None, 1.0);
    Ok(())
}
