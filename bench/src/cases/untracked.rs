//! A service that is open to all, flooded from random sources.

use anyhow::{Context as _, Result, ensure};
use sg_common::Family;
use sg_datapath::testing::varying::{MOST, Order, Sources};

use super::{Case, Effort, passing::Passing, turns::Traffic};
use crate::{
    contenders::{Contender, Did, Task, nft::Form},
    packets::{Kind, frame, name},
    report::Row,
    rules::{OPEN, Rules},
};

#[derive(Debug)]
pub struct Untracked;

impl Case for Untracked {
    fn name(&self) -> &'static str {
        "untracked"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        for family in Family::BOTH {
            measure(family, effort, rows).context(name(family))?;
        }
        Ok(())
    }
}

fn measure(family: Family, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    let frame = frame(family, Kind::Datagram, OPEN);
    let case = Passing {
        what: "untracked",
        family,
        at: 0,
        task: Task::new(Rules::Everyone, family),
        traffic: Traffic {
            frame: &frame,
            sources: Sources { count: MOST, order: Order::Random },
            from: 0,
        },
        of_nothing: 0.95,
        early: if effort.quick { &[] } else { &[Contender::XdpFilter] },
        others: &[Contender::Nft(Form::Stateless)],
        than_others: 1.0,
        guards: [0.3, 0.6],
    };
    case.measure(
        effort,
        rows,
        |_| Ok(()),
        |turn, outcome| {
            if let Contender::Sg(_) = turn.contender {
                let flows = turn.filter.flows(&turn.testbed)?;
                ensure!(flows == 0, "{flows} flows in the table");
                return outcome.is(|sent| Did { untracked: sent, ..Did::default() });
            }
            outcome.is(|sent| Did { allowed: sent, ..Did::default() })
        },
    )
}
