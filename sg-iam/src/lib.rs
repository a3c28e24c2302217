//! Who signed a request. Pure: no I/O, no clock, no store, no HTTP library.
//!
//! [`sigv4`] reads the signature of a request ([`sigv4::Presented`]). Its caller looks the access key up
//! and passes the secret to [`sigv4::Presented::verify`]. [`sigv4::sign`] makes signatures, for clients and tests.

mod service;
pub mod sigv4;
mod time;

pub use service::{Answer, Service};
pub use time::Timestamp;
