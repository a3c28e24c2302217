//! Where the programs attach to an interface, which of it is wished for, and what came of it.

/// Which hook an interface is to be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookChoice {
    /// Whichever is best for its driver.
    Auto,
    Xdp,
    Tc,
}

/// Which program sees what an interface receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Xdp,
    Tc,
}

/// What filters the kernel's ingress of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tcx,
    Tc,
}

/// How soon an interface has to be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// By the hook that is best for it, which takes 30 ms.
    Best,
    /// At once, by what can be attached in less than one; see [`Attachment::for_now`].
    Now,
}

/// How an interface is attached, and why so.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub hook: Hook,
    pub reason: String,
    /// There is a better hook, to be attached when there is time.
    pub for_now: bool,
}
