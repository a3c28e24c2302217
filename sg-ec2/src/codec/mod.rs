//! Requests from forms, answers to XML. Nothing here knows an action.

pub mod query;
pub(crate) mod shape;
pub mod xml;
