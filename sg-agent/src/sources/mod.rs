//! Where commands and questions come from: each source translates them for the owner.

pub mod control;
pub mod reload;
pub mod rules_file;
pub mod unix_socket;
