//! Security groups without a kernel: rules.toml, the model, validation, the compiler to an image of
//! the data path. Behind a feature: the reference evaluator that the data path is tested against.
//!
//! Pure: text and values in, values out. No I/O, no clock, no async.

pub mod cidr;
pub mod compile;
pub mod describe;
pub mod edit;
pub mod explain;
pub mod export;
pub mod id;
pub mod model;
pub mod plan;
#[cfg(any(test, feature = "reference"))]
pub mod reference;
pub mod rules;
mod serial;
pub mod shared;
mod warnings;

pub use model::DesiredState;
pub use rules::parse;
pub use warnings::warnings;
