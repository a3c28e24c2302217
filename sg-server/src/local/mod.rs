//! The two sockets of this machine: `feed.sock` for the agent, `admin.sock` for the verbs of root.

pub mod admin;
pub mod feed;
pub mod host;
pub mod peer;
