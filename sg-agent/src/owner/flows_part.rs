//! A part of the flow list.

use crate::{api::Flow, datapath::FlowCursor};

/// Flows of some buckets of the table.
#[derive(Debug)]
pub struct FlowsPart {
    pub flows: Vec<Flow>,
    /// Where the next part begins; `None`: this is the last one.
    pub next: Option<FlowCursor>,
}
