//! The local feed: how sg-server tells the agent of this host what its store holds.
//!
//! A stream of lines over the unix socket `feed.sock`, each one JSON object. The agent says [`FromHost::Hello`];
//! the server answers [`ToHost::Welcome`] and goes on with events, or with the complete list first where the
//! agent is new or was away for too long. The agent answers every change with [`FromHost::Status`] when its
//! data path enforces it and its disk has it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Number of this protocol. A peer of another one is refused with both numbers.
pub const VERSION: u32 = 1;
/// Name of the socket in the server's runtime directory.
pub const SOCKET: &str = "feed.sock";
/// Longest line in bytes: a document takes up to 1.5 MiB, and its JSON text is escaped once more.
pub const MAX_LINE: usize = 8 << 20;
/// The server says at least this often, in seconds, how far the store is.
pub const PROGRESS_S: u64 = 5;

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    Welcome {
        version: u32,
        /// The store's identity, a UUID.
        epoch: String,
        /// The epoch that this one follows, after a restore.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<String>,
        /// Where the store is.
        revision: u64,
        /// The agent's state is known here: events follow, and no list.
        resumes: bool,
    },
    /// A page of the complete list at one revision.
    List { at: u64, entries: Vec<Entry>, has_more: bool },
    /// Whole revisions, in their order. Without events: how far the store is.
    Events { events: Vec<Event>, through: u64 },
    /// The server ends the connection.
    Refused { reason: String },
}

/// A key with its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub create_revision: u64,
    pub mod_revision: u64,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub key: String,
    pub revision: u64,
    /// `None`: deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// 0 where the key was deleted.
    #[serde(default)]
    pub create_revision: u64,
}

/// A message of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHost {
    Hello {
        version: u32,
        /// The host's name.
        host: String,
        machine_id: String,
        /// The agent's version, for people.
        agent: String,
        /// The store and the revision of the agent's state. `None`: it has no state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
    },
    Status(Status),
}

/// A revision of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: String,
    pub revision: u64,
}

/// How far the host is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The data path enforces this revision, and the host's disk has it.
    pub enforced: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound: Vec<Bound>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// A network interface that the host has bound to a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bound {
    /// `eni-…`
    pub interface: String,
    /// The VPC of the network interface.
    pub vpc: String,
    /// The device's name.
    pub device: String,
    /// Addresses of the device that the host sees, in host role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<IpAddr>,
}

/// Writes a line, its end included.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have keys of text");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let hello = FromHost::Hello {
            version: VERSION,
            host: "h1\n".to_owned(),
            machine_id: "m".to_owned(),
            agent: "0.1.0".to_owned(),
            at: Some(Position { epoch: "e".to_owned(), revision: 7 }),
        };
        let line = line(&hello);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<FromHost>(&line).unwrap(), hello);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let text = r#"{"status":{"enforced":3,"colour":"red"}}"#;
        let status = Status { enforced: 3, ..Status::default() };
        assert_eq!(serde_json::from_str::<FromHost>(text).unwrap(), FromHost::Status(status));
    }
}
