//! The API server. It takes signed requests of EC2's API, decides them over its store, and tells hosts.
//!
//! ```text
//! listener ─> pipeline ─> authentication ─> sg-ec2: a decision over the replica ─> one transaction
//!                                                                                        │
//! agent of this host <─ feed.sock <──────────────── watch of the store <─────────────────┘
//! ```
//!
//! It knows nothing of how packets are judged.

pub mod accounts;
pub mod audit;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod founding;
pub mod hosts;
pub mod ids;
pub mod limits;
pub mod local;
pub mod owner;
pub mod replica;
pub mod seal;
pub mod secrets;
pub mod serve;
pub mod settings;
pub mod state;
pub mod verbs;
