//! Messages of one line each, over a unix socket. Both ends of sg-server's local sockets use this.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

/// Reads messages.
#[derive(Debug)]
pub struct Reader {
    stream: BufReader<OwnedReadHalf>,
    longest: usize,
}

impl Reader {
    /// `longest`: of a line, in bytes.
    pub fn new(stream: OwnedReadHalf, longest: usize) -> Self {
        Self { stream: BufReader::new(stream), longest }
    }

    /// The next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// A line is too long or no message, or the stream breaks.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        let limit = self.longest as u64 + 1;
        (&mut self.stream).take(limit).read_until(b'\n', &mut line).await?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(io::Error::from),
            Some(_) if line.len() > self.longest => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"))
            }
            Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Writes a message.
///
/// # Errors
/// The stream breaks.
pub async fn write(stream: &mut OwnedWriteHalf, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    async fn read(bytes: &[u8]) -> (io::Result<Option<u32>>, io::Result<Option<u32>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, _writer) = ours.into_split();
        let (_reader, mut writer) = theirs.into_split();
        writer.write_all(bytes).await.unwrap();
        drop(writer);
        let mut reader = Reader::new(reader, 8);
        (reader.next().await, reader.next().await)
    }

    #[tokio::test]
    async fn lines_are_messages() {
        let (first, second) = read(b"17\n18\n").await;
        assert_eq!((first.unwrap(), second.unwrap()), (Some(17), Some(18)));
        let (first, second) = read(b"17\n").await;
        assert_eq!((first.unwrap(), second.unwrap()), (Some(17), None));
    }

    #[tokio::test]
    async fn a_line_that_is_cut_long_or_no_message_is_an_error() {
        for bytes in [&b"17"[..], b"pear\n", b"123456789\n", b"\n"] {
            assert!(read(bytes).await.0.is_err(), "{bytes:?}");
        }
        assert_eq!(read(b"1234567\n").await.0.unwrap(), Some(1_234_567));
    }
}
