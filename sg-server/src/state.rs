//! State that every part of a running server shares.

use std::{ops::Deref, sync::Arc};

use sg_store::Store;
use tokio::sync::RwLock;

use crate::{audit::Audit, hosts::Hosts, replica::Replica, seal::SealingKey, settings::Settings};

/// A running server. Clones share it.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
pub struct Shared {
    pub settings: Settings,
    pub quotas: sg_ec2::Quotas,
    pub store: Arc<dyn Store>,
    pub replica: Replica,
    pub key: SealingKey,
    pub hosts: Hosts,
    pub audit: Audit,
    /// Held shared from a decision to its commit, so that changes share the disk's syncs. A change that others
    /// were faster than several times holds it alone.
    pub turn: RwLock<()>,
}

impl Server {
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
