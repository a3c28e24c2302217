//! AWS Signature Version 4: requests signed with HMAC-SHA256, in the `Authorization` header or presigned
//! in the query (AWS General Reference, "Create a signed AWS API request").
//!
//! ```text
//! Presented::read(request) ─> access key id ─> the caller looks the secret up
//!          │                                              │
//!          └──────────── verify(request, secret, expected) ──> Verified
//! ```
//!
//! Only [`Presented::verify`] makes a [`Verified`], so a handler that takes one cannot be reached unverified.

mod canonical;
mod error;
mod key;
mod presented;
mod request;
mod sign;
mod verify;

pub use error::{Error, Malformed};
pub use key::{Scope, SecretKey};
pub use presented::{Form, Presented};
pub use request::Request;
pub use sign::{Signer, presign, sign};
pub use verify::{Expected, Verified};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

#[cfg(test)]
mod tests;
