//! The census of the flow tables, every 5 s, in a thread of its own: a pass over large tables takes longer
//! than a change may wait.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::datapath::{Census, CensusResult};

/// An interface whose flows have idled out has its allowance back after this at most.
const EVERY: Duration = Duration::from_secs(5);

/// It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// # Errors
    /// There is no thread to be had.
    pub fn start(census: Census) -> io::Result<Self> {
        let (stop, inbox) = channel();
        let thread = thread::Builder::new().name("census".to_owned());
        let thread = thread.spawn(move || run(&census, &inbox))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the census of the flow tables has come to an end before");
        }
    }
}

fn run(census: &Census, inbox: &Receiver<()>) {
    loop {
        match census.take() {
            Ok(CensusResult { freed, corrected }) => {
                tracing::trace!(freed, corrected, "counted the flow tables");
            }
            Err(error) => tracing::warn!(%error, "the flow tables could not be counted"),
        }
        if inbox.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
