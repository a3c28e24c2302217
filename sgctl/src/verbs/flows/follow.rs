//! Which flows came and went: the table is polled, and two answers are held against each other.

use std::{collections::HashMap, net::IpAddr, thread, time::Duration};

use serde::Serialize;
use sg_api::Flow;

use crate::{
    error::Result,
    output::{Colour, Output, json_line, paint, print},
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Interface, direction, protocol, source and destination: what stays the same in a flow's life.
type Identity = (String, String, String, IpAddr, u16, IpAddr, u16);

/// A line of `--json`: the flow's fields with what became of it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    /// `new` or `ended`.
    event: &'static str,
    #[serde(flatten)]
    flow: &'a Flow,
}

/// Prints what is there, then what changes, until the reader of the output or the user (Ctrl-C)
/// has enough.
pub(crate) fn run(output: Output, fetch: impl Fn() -> Result<Vec<Flow>>) -> Result<()> {
    let mut known = HashMap::new();
    loop {
        let now: HashMap<Identity, Flow> =
            fetch()?.into_iter().map(|flow| (identity(&flow), flow)).collect();
        print(&changes(&known, &now, output)?)?;
        known = now;
        thread::sleep(INTERVAL);
    }
}

fn identity(flow: &Flow) -> Identity {
    let Flow { interface, direction, protocol, src, sport, dst, dport, .. } = flow;
    (interface.clone(), direction.clone(), protocol.clone(), *src, *sport, *dst, *dport)
}

/// A line for each flow that is in one of the two only.
fn changes(
    before: &HashMap<Identity, Flow>,
    now: &HashMap<Identity, Flow>,
    output: Output,
) -> Result<String> {
    let ended = before.iter().filter(|(identity, _)| !now.contains_key(*identity));
    let new = now.iter().filter(|(identity, _)| !before.contains_key(*identity));
    let ended = ended.map(|(_, flow)| Event { event: "ended", flow });
    ended
        .chain(new.map(|(_, flow)| Event { event: "new", flow }))
        .map(|event| line(&event, output))
        .collect()
}

fn line(event: &Event<'_>, output: Output) -> Result<String> {
    if output.json {
        return json_line(event);
    }
    let line = if event.event == "new" {
        paint(Colour::Green, &format!("+ {}", super::in_words(event.flow)))
    } else {
        paint(Colour::Red, &format!("- {}", super::in_words(event.flow)))
    };
    Ok(line + "\n")
}
