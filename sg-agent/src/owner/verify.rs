//! Compares the owner's view of interfaces with the kernel's. A program that was attached need not
//! judge any more: another tool may have taken it off, and the device may be another one by now.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::state::Owner;
use crate::kernel::Kernel;

/// A question does not ask the kernel again within this time.
const FRESH: Duration = Duration::from_secs(1);

impl<D: Kernel> Owner<D> {
    /// For a question that must not be answered by hearsay.
    pub fn verify_for_question(&mut self) {
        if self.verification.at.elapsed() > FRESH {
            self.verify();
        }
    }

    /// Asks the kernel for the links, programs and devices of all attached interfaces. An interface that it does not confirm is
    /// a fault from now on. Returns true if there is a new one.
    pub(super) fn verify(&mut self) -> bool {
        let began = Instant::now();
        let found = self.kernel.verify();
        self.verification.at = began;
        self.verification.took = began.elapsed();
        let faults = match found {
            Ok(faults) => faults,
            Err(error) => {
                self.distrust(error.to_string());
                return false;
            }
        };
        if self.verification.distrust.take().is_some() {
            info!("the pins can be trusted again");
        }
        let mut is_new = false;
        for (ifindex, fault) in faults {
            let Some(held) = self.filtered.get_mut(&ifindex) else { continue };
            // rtnetlink is about to tell of an interface that is gone.
            if held.attachment.is_err() || !self.kernel.exists(ifindex) {
                continue;
            }
            error!(interface = %held.name, "is NOT filtered: {fault}");
            held.attachment = Err(fault);
            self.verification.faults.inc();
            self.unsettled = true;
            is_new = true;
        }
        is_new
    }

    fn distrust(&mut self, reason: String) {
        if self.verification.distrust.as_ref() != Some(&reason) {
            error!("no interface can be said to be filtered: {reason}");
            self.verification.faults.inc();
        }
        self.verification.distrust = Some(reason);
    }
}
