//! Prometheus over HTTP: the data path's counters, read for each scrape.

mod families;
mod http;
mod text;

pub use self::http::{serve, start};
