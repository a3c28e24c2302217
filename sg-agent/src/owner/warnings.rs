//! Interfaces that are not as the rules say although these are in force.

use std::collections::{BTreeSet, HashSet};

use tracing::warn;

use super::state::Owner;
use crate::kernel::Kernel;

impl<D: Kernel> Owner<D> {
    /// Interfaces that an entry of the rules names by another name of theirs, which filters nothing: that name.
    pub(super) fn named_otherwise(&self) -> BTreeSet<(u32, String)> {
        let exact = self.rules().interfaces.iter().filter(|entry| !entry.is_glob());
        let exact: HashSet<&[u8]> = exact.map(|entry| entry.name.as_bytes()).collect();
        let names: HashSet<&[u8]> =
            self.view.values().map(|interface| interface.device.name.as_ref()).collect();
        let mut found = BTreeSet::new();
        for (&ifindex, interface) in &self.view {
            let altnames = interface.device.altnames.iter();
            let meant = altnames
                .filter(|name| exact.contains(name.as_ref()) && !names.contains(name.as_ref()));
            found.extend(meant.map(|name| (ifindex, name.to_string())));
        }
        found
    }

    /// Says once that the rules name an interface by another name.
    pub(super) fn note_named_otherwise(&mut self) {
        let now = self.named_otherwise();
        for (ifindex, altname) in now.difference(&self.verification.hinted) {
            if let Some(interface) = self.view.get(ifindex) {
                warn!(interface = %interface.device.name, "{}", altname_hint(altname));
            }
        }
        self.verification.hinted = now;
    }

    /// A sentence for each interface that is not as the rules say.
    pub(super) fn warnings(&self) -> Vec<String> {
        let held = self.filtered.values().filter(|held| held.entry.is_some());
        let faults =
            held.filter_map(|held| Some((held.name.to_string(), held.attachment.as_ref().err()?)));
        let faults = faults.map(|(name, reason)| format!("{name} is NOT filtered: {reason}"));
        let otherwise = self.named_otherwise().into_iter().filter_map(|(ifindex, altname)| {
            let name = &self.view.get(&ifindex)?.device.name;
            Some(format!("{name}: {}", altname_hint(&altname)))
        });
        faults.chain(otherwise).collect()
    }
}

pub(super) fn altname_hint(altname: &str) -> String {
    format!(
        "the rules call it \"{altname}\", which is one of its other names (altname): entries go by the \
         name that `ip interface` shows in its first line"
    )
}
