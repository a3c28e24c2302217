//! A packet's way, from the frame on a hook to a verdict that is counted.

pub(crate) mod exempt;
pub(crate) mod fragments;
pub(crate) mod ip;
pub(crate) mod judge;
pub(crate) mod link;
pub(crate) mod metadata;
pub(crate) mod packet;
pub(crate) mod related;
pub(crate) mod source;
pub(crate) mod transport;
