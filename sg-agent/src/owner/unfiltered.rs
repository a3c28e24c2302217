//! A change that leaves no interface filtered while some are now is refused unless it goes back by itself
//! or is forced. A wrong name in a rules file opens a host as surely as an empty file does.

use super::{error::Error, lockout::Origin, prepare::Prepared, state::Owner};
use crate::{kernel::Kernel, observe::ssh_sessions::Located};

/// Names that a refusal lists; the rest is counted.
const NAMED: usize = 5;

/// Harm that a change must not do, because nobody asked for it. The default guards nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// SSH sessions that go on, and whose clients can open others.
    pub sessions: Vec<Located>,
    /// Some interface stays filtered where some are.
    pub keeps_filtering: bool,
}

impl<D: Kernel> Owner<D> {
    /// # Errors
    /// Harm of the next rules that `guard` does not let them; nothing is changed.
    pub(super) fn refuse_unasked(
        &self,
        next: &Prepared,
        origin: Origin,
        guard: &Guard,
    ) -> Result<(), Error> {
        if guard.keeps_filtering {
            self.refuse_unfiltered(next, origin)?;
        }
        self.refuse_lock_out(next, origin, &guard.sessions)
    }

    fn refuse_unfiltered(&self, next: &Prepared, origin: Origin) -> Result<(), Error> {
        let filtered = self.filtered.values();
        let filtered = filtered.filter(|held| held.entry.is_some() && held.attachment.is_ok());
        let names: Vec<String> = filtered.map(|held| held.name.to_string()).collect();
        let stays = next.plan.interfaces.values().any(|planned| planned.entry.is_some());
        if names.is_empty() || stays {
            return Ok(());
        }
        let (shown, more) = names.split_at(names.len().min(NAMED));
        let names = match more.len() {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        };
        let rules = origin.rules();
        Err(origin
            .refuse(&format!("{rules} would leave no interface filtered; filtered now: {names}")))
    }
}
