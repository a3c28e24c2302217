//! The agent: keeps the data path true to the rules.

pub mod agent;
mod census;
pub mod config;
pub mod flow_log;
pub mod kernel;
pub mod metrics;
pub mod observe;
pub mod owner;
pub mod sources;
pub mod store;
pub mod system;

use sg_api as api;
use sg_datapath as datapath;
