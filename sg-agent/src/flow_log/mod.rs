//! The flow log: records like those of VPC flow logs.
//!
//! ```text
//! flow table ── every 5 s, what each flow has carried since ──┐
//! rings of events ── every 250 ms ────────────────────────────┼─> window of 60 s ──> sinks, recent
//! counters ── what found no room in the rings ────────────────┘   window of 1 s ───> who follows
//! ```
//!
//! It has a thread of its own, and takes only the interfaces' names from the owner. The owner
//! leaves them in a place that both can read. A long compilation therefore loses no event, and a
//! flood holds up no change.

pub mod names;
mod packet;
mod recorder;
pub mod sink;
mod tracked;
mod window;

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, oneshot};

use self::{
    names::InterfaceNames,
    recorder::Recorder,
    sink::{Place, Sinks, Style},
};
use crate::{api::FlowRecord, datapath::FlowLogReader};

/// The rings are emptied this often. Their size and this time limit the records a second.
const DRAIN: Duration = Duration::from_millis(250);
/// Followers get records this often; the largest flows of a second, if they asked for these.
const FOLLOWED: Duration = Duration::from_secs(1);
/// Batches that one who follows may be behind.
const BACKLOG: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub places: Vec<Place>,
    /// Seconds of a window.
    pub interval: u64,
    pub style: Style,
}

/// The records of a second.
pub type Batch = std::sync::Arc<Vec<FlowRecord>>;

enum Message {
    /// All records at hand: of past windows, and of the open one.
    Recent(oneshot::Sender<Vec<FlowRecord>>),
    /// The same, and from then on every second's.
    Follow(oneshot::Sender<(Vec<FlowRecord>, broadcast::Receiver<Batch>)>),
    /// Opens all places anew, with these settings.
    Reopen(Box<Settings>),
    Stop,
}

/// To ask the log.
#[derive(Clone, Debug)]
pub struct Log(Sender<Message>);

/// The flow log is off, or is ending.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there is no flow log: the agent was started without one, or is ending")]
pub struct Off;

impl Log {
    /// One that there is not.
    pub fn off() -> Self {
        Self(channel().0)
    }

    pub async fn recent(&self) -> Result<Vec<FlowRecord>, Off> {
        self.ask(Message::Recent).await
    }

    pub async fn follow(&self) -> Result<(Vec<FlowRecord>, broadcast::Receiver<Batch>), Off> {
        self.ask(Message::Follow).await
    }

    /// Opens all places anew, with these settings; nothing where there is no flow log.
    pub fn reopen(&self, settings: Settings) {
        // It is off, or ending, where nobody takes this.
        let _ = self.0.send(Message::Reopen(Box::new(settings)));
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Off> {
        let (answer, answered) = oneshot::channel();
        self.0.send(message(answer)).map_err(|_| Off)?;
        answered.await.map_err(|_| Off)
    }
}

/// The running log. Its records so far are written when it is stopped.
#[derive(Debug)]
pub struct Running {
    pub log: Log,
    thread: JoinHandle<()>,
}

impl Running {
    /// # Errors
    /// A place cannot be written to.
    pub fn start(
        reader: FlowLogReader,
        names: InterfaceNames,
        settings: &Settings,
    ) -> io::Result<Self> {
        let sinks = Sinks::open(&settings.places, &settings.style)?;
        let recorder = Recorder::new(reader, names, sinks, settings.interval);
        let (sender, inbox) = channel();
        let thread = thread::Builder::new()
            .name("flow-log".to_owned())
            .spawn(move || run(recorder, &inbox))?;
        Ok(Self { log: Log(sender), thread })
    }

    pub fn stop(self) {
        // It is ending already where nobody takes this.
        let _ = self.log.0.send(Message::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the flow log has come to an end before");
        }
    }
}

fn run(mut recorder: Recorder, inbox: &Receiver<Message>) {
    let (batches, _) = broadcast::channel::<Batch>(BACKLOG);
    let (mut next, mut followed) = (Instant::now(), Instant::now());
    loop {
        let message = inbox.recv_timeout(next.saturating_duration_since(Instant::now()));
        match message {
            Ok(Message::Recent(answer)) => drop(answer.send(recorder.recent())),
            Ok(Message::Follow(answer)) => {
                let recent = recorder.recent();
                recorder.be_followed();
                drop(answer.send((recent, batches.subscribe())));
            }
            Ok(Message::Reopen(settings)) => match Sinks::open(&settings.places, &settings.style) {
                Ok(sinks) => recorder.reopen(sinks, settings.interval),
                Err(error) => tracing::error!(%error, "the flow log goes on as it was"),
            },
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                recorder.drain();
                next = Instant::now() + DRAIN;
            }
        }
        if followed.elapsed() >= FOLLOWED {
            followed = Instant::now();
            let batch = recorder.second(batches.receiver_count() > 0);
            if !batch.is_empty() {
                // The last one who followed may have gone just now.
                let _ = batches.send(batch.into());
            }
        }
    }
    recorder.finish();
}
