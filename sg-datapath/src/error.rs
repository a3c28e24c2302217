//! Errors of the kernel, with advice.

use std::io;

use sg_common::view::ImageError;

use crate::advice;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operation, and the kernel's answer.
    #[error("{what}: {source}{}", advice::on(source))]
    Kernel { what: String, source: io::Error },
    /// Does not fit into the allocated memory; the old state stays in force.
    #[error("{0}")]
    TooLarge(String),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn kernel(what: impl Into<String>, source: io::Error) -> Self {
        Self::Kernel { what: what.into(), source }
    }
}
