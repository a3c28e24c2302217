//! Every packet opens a flow; then the same with the table full.

use anyhow::{Context as _, Result, ensure};
use sg_common::Family;
use sg_datapath::testing::varying::{MOST, Order, Sources};
use sg_tests::Datapath;

use super::{
    Case, Effort,
    passing::Passing,
    turns::{Traffic, Turns},
};
use crate::{
    contenders::{Conntrack, Contender, Did, Task, nft::Form},
    packets::{Kind, frame, name},
    report::{Row, Target},
    rules::{OPEN, Rules},
    statistics::Samples,
    testbed::Sink,
};

#[derive(Debug)]
pub struct NewFlows;

const OTHERS: [Contender; 2] = [Contender::Nft(Form::Set), Contender::Ipset];

/// More than are opened in all rounds.
const ROOM: u32 = 4 << 20;
const QUICK_ROOM: u32 = 1 << 19;
/// Lanes of a table that gets full.
const FULL: u32 = 262_144;
/// Flows that are there before the flood comes.
const ESTABLISHED: u32 = 50_000;

impl Case for NewFlows {
    fn name(&self) -> &'static str {
        "new-flows"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        for family in Family::BOTH {
            with_room(family, effort, rows).context(name(family))?;
            if !effort.quick {
                full(family, effort, rows)
                    .with_context(|| format!("{}, table full", name(family)))?;
            }
        }
        Ok(())
    }
}

fn with_room(family: Family, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    let room = if effort.quick { QUICK_ROOM } else { ROOM };
    let _room = Conntrack::with_room_for(2 * room)?;
    let frame = frame(family, Kind::Datagram, OPEN);
    let case = Passing {
        what: "new flows",
        family,
        at: 0,
        task: Task { max_flows: room, ..Task::new(Rules::Senders, family) },
        traffic: Traffic {
            frame: &frame,
            sources: Sources { count: MOST, order: Order::InTurn },
            from: 0,
        },
        of_nothing: 0.75,
        early: &[],
        others: &OTHERS[..if effort.quick { 1 } else { 2 }],
        than_others: 2.0,
        guards: [0.1, 0.6],
    };
    case.measure(
        effort,
        rows,
        |_| Ok(()),
        |turn, outcome| {
            let flows = turn.filter.flows(&turn.testbed)?;
            let name = turn.contender.name();
            // The first may have idled out meanwhile.
            ensure!(2 * flows >= outcome.did.allowed, "{name}: {flows} flows are in its table");
            outcome.is(|sent| Did { allowed: sent, ..Did::default() })
        },
    )
}

/// The same sources as those of the established flows come last.
fn full(family: Family, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    let (tc, nft) = (Contender::Sg(Datapath::Tc), Contender::Nft(Form::Set));
    let contenders = [Contender::Nothing, Contender::Sg(Datapath::Xdp), tc, nft];
    let task = Task { max_flows: FULL, ..Task::new(Rules::Senders, family) };
    let _room = Conntrack::with_room_for(FULL)?;
    let mut turns = Turns::of(&contenders, &task)?;
    let frame = frame(family, Kind::Datagram, OPEN);
    for turn in turns.0.iter().filter(|turn| turn.contender.filters()) {
        turn.open_flows(family, ESTABLISHED)?;
    }
    turns.sink(Sink::Ip)?;
    for turn in &turns.0 {
        let sources = Sources { count: MOST, order: Order::InTurn };
        let mut generator = turn.testbed.generator(&frame, sources)?;
        generator.restart(u64::from(MOST / 2));
        turn.testbed.burst(&mut generator, 2 * FULL)?;
    }
    let flood = Traffic {
        frame: &frame,
        sources: Sources { count: MOST, order: Order::InTurn },
        from: u64::from(ESTABLISHED),
    };
    let outcomes = turns.run(&flood, effort)?;
    let group = format!("{}, table full, sink behind the IP stack", name(family));
    rows.extend(turns.rows(&group, 0));
    for outcome in outcomes.iter().filter(|outcome| outcome.contender.filters()) {
        let share: Samples =
            [outcome.did.allowed as f64 / outcome.sent as f64 * 100.0].into_iter().collect();
        let row = Row::new(&group, 0, format!("{}: let in", outcome.contender.name()), "%", &share);
        let ours = matches!(outcome.contender, Contender::Sg(_));
        rows.push(row.target(ours.then_some(Target::AtLeast(98.0))));
    }
    let ratio = Row::new(&group, 0, "sg, TC : nft, set", "x", &turns.rate(tc, nft));
    rows.push(ratio.target(Target::AtLeast(2.0)));
    // Unharmed.
    let established = Sources { count: ESTABLISHED, order: Order::Random };
    for turn in &turns.0 {
        let Contender::Sg(_) = turn.contender else { continue };
        let mut generator = turn.testbed.generator(&frame, established)?;
        let before = turn.filter.did(&turn.testbed)?;
        turn.testbed.burst(&mut generator, effort.packets)?;
        let did = turn.filter.did(&turn.testbed)?.since(before);
        ensure!(
            did.established * 1000 >= u64::from(effort.packets) * 999 && did.allowed == 0,
            "{}: established flows were harmed: {did:?}",
            turn.contender.name()
        );
    }
    Ok(())
}
