//! Prometheus over HTTP: what the data path counts, read when it is asked for.

mod families;
mod http;
mod text;

pub use self::http::{serve, start};
