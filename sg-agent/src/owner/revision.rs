//! Revisions: numbered states, the one in force and the one that waits behind it.

use std::sync::Arc;

use anyhow::Context as _;
use sg_common::flow::Tick;
use sg_policy::{DesiredState, model::Interface, rules::parsed::ParsedRules};

use crate::store::{DocumentKind, Store};

/// A state with its number.
#[derive(Clone, Debug)]
pub struct Revision {
    /// 0 = nothing was ever applied.
    pub number: u64,
    pub state: Arc<DesiredState>,
    /// The rules file, if the state comes from one. The next file is read by its difference.
    pub file: Option<Arc<ParsedRules>>,
}

impl Revision {
    /// With "cut", every image holds the flows that were there before it against its rules. Each flow costs
    /// one more look at the rules, and no source of change can be forgotten.
    pub(super) fn is_cut(&self) -> bool {
        self.state.interfaces.iter().any(Interface::cuts)
    }

    fn of_file(number: u64, file: Arc<ParsedRules>) -> Self {
        Self { number, state: Arc::clone(file.state()), file: Some(file) }
    }
}

/// A change that waits for its confirmation.
#[derive(Clone, Debug)]
pub(super) struct PendingConfirmation {
    /// In force from the deadline on.
    pub(super) previous: Revision,
    pub(super) deadline: Tick,
    /// The deadline for people, Unix time in seconds.
    pub(super) until: u64,
}

/// The revision that is to be in force, and the one that it may go back to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) active: Revision,
    pub(super) pending: Option<PendingConfirmation>,
}

/// The rules that the state directory holds, read and parsed before the kernel is touched.
#[derive(Debug)]
pub struct Stored {
    pub(super) current: Revision,
    pub(super) previous: Option<Revision>,
}

impl Stored {
    /// # Errors
    /// A file cannot be read, was damaged, or is refused by this version.
    pub fn load(store: &Store) -> anyhow::Result<Self> {
        let ledger = store.ledger();
        let previous = ledger.pending.as_ref().map(|pending| load(store, pending.previous));
        Ok(Self { current: load(store, ledger.current)?, previous: previous.transpose()? })
    }

    pub fn rules(&self) -> &DesiredState {
        &self.current.state
    }
}

pub(super) fn load(store: &Store, number: u64) -> anyhow::Result<Revision> {
    if number == 0 {
        return Ok(Revision::of_file(0, Arc::default()));
    }
    let document = store.document(number)?;
    match document.kind() {
        DocumentKind::Rules => {
            let name = format!("revision {number}");
            let source = ParsedRules::read(&name, Arc::clone(document.text()))
                .map_err(|faults| anyhow::anyhow!("the stored rules are not valid:\n{faults}"))?;
            Ok(Revision::of_file(number, Arc::new(source)))
        }
        DocumentKind::State => {
            let state = serde_json::from_str(document.text())
                .with_context(|| format!("the stored state of revision {number} is not valid"))?;
            Ok(Revision { number, state: Arc::new(state), file: None })
        }
    }
}
