//! journald, in its own protocol: a datagram per record, so that its fields can be asked for.
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::{fmt::Write as _, io, os::unix::net::UnixDatagram};

use crate::api::FlowRecord;

const SOCKET: &str = "/run/systemd/journal/socket";

#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }

    pub(super) fn write(&mut self, lines: &[String], records: &[FlowRecord]) -> io::Result<()> {
        for (line, record) in lines.iter().zip(records) {
            let entry = entry(line, record);
            if self.0.send(entry.as_bytes()).is_err() {
                // journald was started anew.
                *self = Self::open()?;
                self.0.send(entry.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// No value has a line's end in it, so each is a line.
fn entry(line: &str, record: &FlowRecord) -> String {
    let mut entry = format!("MESSAGE={line}\nPRIORITY=6\nSYSLOG_IDENTIFIER=sg-flows\n");
    let FlowRecord { interface, log_status, action, reason, direction, src, dst, dport, .. } =
        record;
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(entry, "SG_{name}={value}");
        }
    };
    field("INTERFACE", Some(interface.clone()));
    field("LOG_STATUS", Some(log_status.clone()));
    field("ACTION", action.clone());
    field("REASON", reason.clone());
    field("DIRECTION", direction.clone());
    field("SRC", src.map(|address| address.to_string()));
    field("DST", dst.map(|address| address.to_string()));
    field("DPORT", dport.map(|port| port.to_string()));
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_an_entry_with_fields() {
        let record = FlowRecord {
            action: Some("REJECT".into()),
            dport: Some(22),
            ..FlowRecord::of("tap0", 1, 2, "OK")
        };
        let expected = "MESSAGE=the line\nPRIORITY=6\nSYSLOG_IDENTIFIER=sg-flows\n\
            SG_INTERFACE=tap0\nSG_LOG_STATUS=OK\nSG_ACTION=REJECT\nSG_DPORT=22\n";
        assert_eq!(entry("the line", &record), expected);
    }

    #[test]
    fn datagrams_reach_a_socket() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("a socket");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect(&path).expect("connected");
        let record = FlowRecord::of("tap0", 1, 2, "NODATA");
        Journal(socket).write(&["a".into(), "b".into()], &[record.clone(), record]).expect("sent");
        let mut buffer = [0; 512];
        for first in ["MESSAGE=a\n", "MESSAGE=b\n"] {
            let len = journald.recv(&mut buffer).expect("a datagram");
            assert!(buffer[..len].starts_with(first.as_bytes()));
        }
    }
}
