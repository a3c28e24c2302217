//! Making a failing case small: whatever can go while it still fails, goes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sg_policy::model::DesiredState;

use super::{
    case::{Case, Step},
    rig::{Mismatch, Rig},
};

/// Longest time to spend on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest case found that fails like `case`, with its difference.
pub fn shrink(rig: &mut Rig, case: Case, mismatch: Mismatch) -> (Case, Mismatch) {
    let mut shrinker = Shrinker { rig, case, mismatch, deadline: Instant::now() + PATIENCE };
    shrinker.drop_what_follows();
    while shrinker.steps() | shrinker.rules() | shrinker.rest() {}
    (shrinker.case, shrinker.mismatch)
}

struct Shrinker<'a> {
    rig: &'a mut Rig,
    case: Case,
    mismatch: Mismatch,
    deadline: Instant,
}

impl Shrinker<'_> {
    /// Takes `candidate` if it fails, too.
    fn try_case(&mut self, candidate: Case) -> bool {
        if Instant::now() > self.deadline {
            return false;
        }
        match self.rig.play(&candidate) {
            Ok(_) => false,
            Err(mismatch) => {
                (self.case, self.mismatch) = (candidate, mismatch);
                true
            }
        }
    }

    fn drop_what_follows(&mut self) {
        let mut candidate = self.case.clone();
        candidate.steps.truncate(self.mismatch.step + 1);
        self.try_case(candidate);
    }

    /// Drops steps, many at once at first.
    fn steps(&mut self) -> bool {
        let mut shrunk = false;
        let mut chunk = (self.case.steps.len() / 2).max(1);
        loop {
            let mut at = 0;
            while at < self.case.steps.len() {
                let mut candidate = self.case.clone();
                candidate.steps.drain(at..(at + chunk).min(candidate.steps.len()));
                if self.try_case(candidate) {
                    shrunk = true;
                } else {
                    at += chunk;
                }
            }
            if chunk == 1 {
                return shrunk;
            }
            chunk /= 2;
        }
    }

    /// Drops rules, from all states at once.
    fn rules(&mut self) -> bool {
        let mut shrunk = false;
        for group in 0..self.case.state.groups.len() {
            for egress in [false, true] {
                let mut rule = 0;
                while rule < rules_of(&mut self.case.clone(), group, egress) {
                    let mut candidate = self.case.clone();
                    each_state(&mut candidate, &mut |state| {
                        let rules = side(state, group, egress);
                        if rule < rules.len() {
                            rules.remove(rule);
                        }
                    });
                    if self.try_case(candidate) {
                        shrunk = true;
                    } else {
                        rule += 1;
                    }
                }
            }
        }
        shrunk
    }

    /// Everything else that a state has more of than it needs.
    fn rest(&mut self) -> bool {
        let mut shrunk = false;
        for list in 0..self.case.state.prefix_lists.len() {
            while !self.case.state.prefix_lists[list].entries.is_empty() {
                let mut candidate = self.case.clone();
                each_state(&mut candidate, &mut |state| {
                    Arc::make_mut(&mut state.prefix_lists[list].entries).pop();
                });
                if !self.try_case(candidate) {
                    break;
                }
                shrunk = true;
            }
        }
        for entry in 0..self.case.state.interfaces.len() {
            for change in [
                (|entry| {
                    entry.groups.truncate(1);
                }) as fn(&mut sg_policy::model::Interface),
                |entry| entry.mac = None,
                |entry| entry.addresses.truncate(1),
            ] {
                let mut candidate = self.case.clone();
                each_state(&mut candidate, &mut |state| change(&mut state.interfaces[entry]));
                if candidate.state != self.case.state && self.try_case(candidate) {
                    shrunk = true;
                }
            }
        }
        shrunk
    }
}

fn each_state(case: &mut Case, change: &mut dyn FnMut(&mut DesiredState)) {
    change(&mut case.state);
    for step in &mut case.steps {
        if let Step::Apply(applied) | Step::ApplyUntil(applied, _) = step {
            change(&mut applied.0);
        }
    }
}

fn side(state: &mut DesiredState, group: usize, egress: bool) -> &mut Vec<sg_policy::model::Rule> {
    let group = &mut state.groups[group];
    if egress { &mut group.egress } else { &mut group.ingress }
}

/// The most that any of the case's states has.
fn rules_of(case: &mut Case, group: usize, egress: bool) -> usize {
    let mut most = 0;
    each_state(case, &mut |state| most = most.max(side(state, group, egress).len()));
    most
}
