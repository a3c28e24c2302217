//! Packets of tracked flows, in random order.

use anyhow::{Context as _, Result};
use sg_common::Family;
use sg_datapath::testing::varying::{Order, Sources};

use super::{Case, Effort, passing::Passing, turns::Traffic};
use crate::{
    contenders::{Conntrack, Contender, Did, Task, nft::Form},
    packets::{Kind, frame, name},
    report::Row,
    rules::{OPEN, Rules},
};

#[derive(Debug)]
pub struct Established;

impl Case for Established {
    fn name(&self) -> &'static str {
        "established"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        for family in Family::BOTH {
            for flows in effort.sizes(&[1, 1000, 100_000, 1_000_000], &[1000]) {
                let what = format!("{}, {flows} flows", name(family));
                measure(family, *flows, effort, rows).context(what)?;
            }
        }
        Ok(())
    }
}

const OTHERS: [Contender; 2] = [Contender::Nft(Form::Set), Contender::Ipset];

fn measure(family: Family, flows: u32, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    let (of_nothing, than_others) = match flows {
        1 => (0.95, 1.3),
        2..=1000 => (0.93, 1.3),
        1001..=100_000 => (0.85, 1.5),
        _ => (0.80, 1.5),
    };
    // Twice what there will be, as the documents advise; and all that conntrack has are in one table.
    let max_flows = 262_144.max(2 * flows);
    let _room = Conntrack::with_room_for(4 * max_flows)?;
    let frame = frame(family, Kind::Datagram, OPEN);
    let case = Passing {
        what: "flows",
        family,
        at: u64::from(flows),
        task: Task { max_flows, ..Task::new(Rules::Senders, family) },
        traffic: Traffic {
            frame: &frame,
            sources: Sources { count: flows, order: Order::Random },
            from: 0,
        },
        of_nothing,
        // To open a million through each takes its time.
        early: &[],
        others: if effort.quick || flows > 100_000 { &OTHERS[..1] } else { &OTHERS },
        than_others,
        guards: [0.2, 0.8],
    };
    let prepare = |turns: &mut super::turns::Turns| {
        let mut filters = turns.0.iter().filter(|turn| turn.contender.filters());
        filters.try_for_each(|turn| turn.open_flows(family, flows))
    };
    case.measure(effort, rows, prepare, |_, outcome| {
        outcome.is(|sent| Did { established: sent, ..Did::default() })
    })
}
