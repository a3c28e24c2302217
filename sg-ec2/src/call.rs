//! Inputs of a decision, and the decision.

use sg_iam::Timestamp;
use sg_policy::id::AccountId;
use sg_store::{RegionName, Snapshot, Txn};

use crate::{
    answer::Response,
    error::Error,
    generated::{ec2, sts},
};

/// A request of one of the services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    Ec2(Box<ec2::Request>),
    Sts(sts::Request),
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    pub account: AccountId,
    /// For example `arn:aws:iam::123456789012:root`.
    pub arn: String,
    pub user_id: String,
}

/// Everything that a decision depends on beside the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub caller: &'a Caller,
    pub region: &'a RegionName,
    pub request_id: &'a str,
    pub now: Timestamp,
    pub snapshot: &'a Snapshot,
    pub quotas: &'a Quotas,
    /// Draws a random number for an id.
    pub draw: &'a dyn Fn() -> u128,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caller, region, request_id, now, .. } = self;
        let mut shown = f.debug_struct("Context");
        shown.field("caller", caller).field("region", region);
        shown.field("request_id", request_id).field("now", now).finish_non_exhaustive()
    }
}

/// Limits of an account in a region; the defaults are EC2's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    pub groups: u64,
    /// Per direction and address family.
    pub rules_per_group: usize,
    pub groups_per_interface: usize,
    pub network_interfaces: u64,
    pub prefix_lists: u64,
    /// The largest size of a list.
    pub prefix_list_entries: u32,
    pub vpcs: u64,
    pub tags: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            groups: 2500,
            rules_per_group: 60,
            groups_per_interface: 5,
            network_interfaces: 5000,
            prefix_lists: 100,
            prefix_list_entries: 1000,
            vpcs: 5,
            tags: 50,
        }
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub struct Decision {
    /// To be sent once the transaction is durable.
    pub response: Response,
    /// `None`: nothing changes.
    pub txn: Option<Txn>,
    /// Ids of the resources that the call is about, for the audit log.
    pub resources: Vec<String>,
}

/// Stands between a request and what exists. An action checks its parameters, then opens the gate, and sees the store only
/// behind it.
pub(crate) struct Gate<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) is_dry_run: bool,
}

impl<'a> Gate<'a> {
    /// Every key of an account is its root, so all that is well-formed is allowed.
    pub(crate) fn open(&self) -> Result<&'a Context<'a>, Error> {
        if self.is_dry_run { Err(Error::dry_run()) } else { Ok(self.context) }
    }
}
