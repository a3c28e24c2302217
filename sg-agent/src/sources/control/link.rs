//! One connection to the feed of a server.

use std::{io, path::Path, time::Duration};

use sg_api::{
    feed::{FromHost, MAX_LINE, PROGRESS_S, ToHost, line},
    lines::Reader,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Messages that wait for the replica; the server waits beyond.
const WAITING: usize = 64;
/// A server that says nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(4 * PROGRESS_S);
/// For a message to get out.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Link {
    writer: OwnedWriteHalf,
    messages: mpsc::Receiver<io::Result<ToHost>>,
    reader: JoinHandle<()>,
    heard_at: Instant,
}

impl Link {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Nobody serves the socket, or does not read.
    pub async fn open(path: &Path, hello: &FromHost) -> io::Result<Self> {
        let stream = timeout(PATIENCE, UnixStream::connect(path)).await??;
        let (reader, writer) = stream.into_split();
        let mut reader = Reader::new(reader, MAX_LINE);
        let (sender, messages) = mpsc::channel(WAITING);
        let reader = tokio::spawn(async move {
            loop {
                let message = match reader.next().await {
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => Err(io::Error::other("the server has ended the connection")),
                    Err(error) => Err(error),
                };
                let is_last = message.is_err();
                if sender.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
        let mut link = Self { writer, messages, reader, heard_at: Instant::now() };
        link.say(hello).await?;
        Ok(link)
    }

    pub async fn say(&mut self, message: &FromHost) -> io::Result<()> {
        timeout(PATIENCE, self.writer.write_all(&line(message))).await?
    }

    /// Waits for a message. Dropping the future loses none.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn hear(&mut self) -> io::Result<ToHost> {
        let message = tokio::time::timeout_at(self.heard_at + SILENCE, self.messages.recv()).await;
        let message = message.map_err(|_| io::Error::other("the server says nothing"))?;
        self.heard_at = Instant::now();
        message.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    /// A message that is there already.
    pub fn hear_now(&mut self) -> Option<io::Result<ToHost>> {
        let message = self.messages.try_recv().ok()?;
        self.heard_at = Instant::now();
        Some(message)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
