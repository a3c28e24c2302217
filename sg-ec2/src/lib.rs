//! The EC2 API as pure functions: no I/O, no clock, no sockets.
//!
//! A server calls, in this order:
//!
//! 1. [`Parameters::decode`] with the request's query and body;
//! 2. after the signature is verified: [`Request::read`], which knows actions and well-formed parameters;
//! 3. [`Request::decide`] over a snapshot of the store. It gives a [`Decision`]: an answer, and for a change a
//!    transaction.
//!
//! The server commits the transaction and then sends the answer. Where the store says that a key has changed meanwhile
//! (`TxnError::Conflict`), it decides again over a newer snapshot. An [`Error`] becomes a response by [`Error::respond`].
//!
//! The snapshot holds all keys of the store, those under `x/` included.

mod actions;
pub mod answer;
mod call;
pub mod codec;
pub mod error;
pub mod generated;
mod request;
pub mod seed;

pub use answer::Response;
pub use call::{Caller, Context, Decision, Quotas};
pub use codec::query::Parameters;
pub use error::{Error, service_of_version};
pub use request::Request;
