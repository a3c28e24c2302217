//! `top`: rates, reasons, the busiest flows and what is dropped, live; or once, for programs.

mod draw;
mod rates;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{self, Event};
use sg_api::{ExplainRequest, Explanation, FlowRecord, Status, client::Client};

use self::{
    draw::{clock, ends, protocol},
    state::{Explained, News, State, Wish},
};
use crate::{
    error::{Error, Result},
    output::{Output, short},
    table::table,
};

/// Between two looks at the agent.
const INTERVAL: Duration = Duration::from_secs(1);
/// Keys are looked for this often, and the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// Flows and drops of a second that are asked for.
const LARGEST: usize = 100;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tab goes from pane to pane, Up and Down select. Enter on an interface shows only that one's, on a flow or \
a drop what a packet like it gets and why; Esc leads back. p pauses, q quits. Where the output is no \
terminal, or with --json: what was seen in a second.")]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        // Whether there is an agent is said before the screen is taken.
        let status: Status = client.get("/v1/status")?;
        let (sender, news) = channel();
        let mut state = State::new();
        state.take(News::Status(status), Instant::now());
        let asking = client.clone();
        let records = sender.clone();
        thread::spawn(move || follow(&asking, &records));
        if self.output.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return self.once(client, &mut state, &news);
        }
        let asking = client.clone();
        let answers = sender.clone();
        thread::spawn(move || poll(&asking, &sender));
        let mut terminal = ratatui::try_init()?;
        let done = live(&mut terminal, &mut state, &news, client, &answers);
        ratatui::try_restore()?;
        done
    }

    fn once(self, client: &Client, state: &mut State, news: &Receiver<News>) -> Result<()> {
        // The first records are of the past, the next ones of the second that is over.
        let until = Instant::now() + INTERVAL + INTERVAL / 2;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match news.recv_timeout(left) {
                Ok(News::Lost(trouble)) => return Err(Error::Failed(trouble)),
                Ok(news) => state.take(news, Instant::now()),
                Err(_) => break,
            }
        }
        state.take(News::Status(client.get("/v1/status")?), Instant::now());
        let state = &*state;
        self.output.print(&state.snapshot(), |_| in_words(state))
    }
}

fn live(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    news: &Receiver<News>,
    client: &Client,
    answers: &Sender<News>,
) -> Result<()> {
    loop {
        for news in news.try_iter() {
            state.take(news, Instant::now());
        }
        terminal.draw(|frame| draw::draw(frame, state))?;
        if !event::poll(FRAME)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        match state.press(key) {
            Wish::Quit => return Ok(()),
            Wish::Explain(record) => explain(client.clone(), answers.clone(), *record),
            Wish::Nothing => {}
        }
    }
}

/// Tells of the agent's state until nobody listens.
fn poll(client: &Client, news: &Sender<News>) {
    loop {
        thread::sleep(INTERVAL);
        let told = match client.get("/v1/status") {
            Ok(status) => News::Status(status),
            Err(error) => News::Lost(Error::from(error).to_string()),
        };
        if news.send(told).is_err() {
            return;
        }
    }
}

/// Tells of flows and drops until nobody listens.
fn follow(client: &Client, news: &Sender<News>) {
    loop {
        let path = format!("/v1/log/follow?largest={LARGEST}");
        let mut is_past = true;
        let ended = client.follow(&path, |records| {
            let told = if is_past { News::Past(records) } else { News::Records(records) };
            is_past = false;
            // An end of listening ends the program, and with it this thread.
            let _ = news.send(told);
            Ok::<(), Error>(())
        });
        let trouble = ended.err().map_or_else(String::new, |error| error.to_string());
        if news.send(News::Lost(trouble)).is_err() {
            return;
        }
        thread::sleep(INTERVAL);
    }
}

fn explain(client: Client, answers: Sender<News>, record: FlowRecord) {
    thread::spawn(move || {
        let answer = match question(&record) {
            Some(question) => client
                .post::<_, Explanation>("/v1/explain", &question)
                .map_err(|error| Error::from(error).to_string()),
            None => Err("only IP packets can be asked about".to_owned()),
        };
        let _ = answers.send(News::Explained(Explained { record, answer }.into()));
    });
}

/// The question about a packet like this one. Records keep no type of ICMP, so it asks about an
/// echo request.
fn question(record: &FlowRecord) -> Option<ExplainRequest> {
    let number = record.protocol?;
    let ported = matches!(number, 6 | 17);
    let port = |port: Option<u16>| port.filter(|_| ported);
    Some(ExplainRequest {
        interface: record.interface.clone(),
        direction: record.direction.clone()?,
        protocol: protocol(number),
        src: record.src?,
        sport: port(record.sport),
        dst: record.dst?,
        dport: port(record.dport),
        icmp_type: None,
        code: None,
    })
}

fn in_words(state: &State) -> String {
    let header = ["INTERFACE", "PATH", "IN PKT/S", "OUT PKT/S", "DROPPED/S", "FLOWS"];
    let interfaces = state.interfaces.iter().map(|it| {
        [
            it.name.clone(),
            it.datapath.clone(),
            short(it.ingress.packets),
            short(it.egress.packets),
            short(it.dropped.packets),
            short(it.flows),
        ]
    });
    let mut text = table(header, interfaces);
    if !state.busiest.is_empty() {
        let flows = state.busiest.iter().take(10).map(|record| {
            let (packets, bytes) = (record.packets.unwrap_or(0), record.bytes.unwrap_or(0));
            [record.interface.clone(), short(packets), short(bytes), ends(record)]
        });
        text += &format!("\n{}", table(["FLOWS OF", "PACKETS", "BYTES", "BUSIEST"], flows));
    }
    if !state.drops.is_empty() {
        let drops = state.drops.iter().take(10).map(|record| {
            let reason = record.reason.clone().unwrap_or_default();
            let packets = short(record.packets.unwrap_or(0));
            [record.interface.clone(), clock(record.end), packets, reason, ends(record)]
        });
        text += &format!("\n{}", table(["DROPS OF", "UTC", "PACKETS", "REASON", "NEWEST"], drops));
    }
    text
}
