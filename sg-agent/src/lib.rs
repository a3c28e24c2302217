//! The agent: keeps the data path true to the rules.

pub mod agent;
pub mod allocator;
pub mod clock;
pub mod config;
pub mod connections;
pub mod frame;
pub mod kernel;
pub mod links;
pub mod lock;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod netlink;
pub mod owner;
mod reload;
pub mod server;
pub mod session;
pub mod store;
pub mod watchdog;

use sg_api as api;
use sg_datapath as datapath;
