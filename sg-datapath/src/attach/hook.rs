//! Where the programs attach to an interface, which of it is wished for, and what came of it.

/// Which hook an interface is to be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookChoice {
    /// Whichever is best for its driver.
    Auto,
    Xdp,
    Tc,
}

/// The program that sees packets which an interface receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Xdp,
    Tc,
}

/// The hook that filters the kernel's ingress of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tcx,
    Tc,
}

/// How an interface is attached when there are several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// By the hook that is best for it, which takes 30 ms.
    Preferred,
    /// By a hook that is attached in less than 1 ms; see [`Attachment::is_provisional`].
    Fast,
}

/// How an interface is attached, and why so.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub hook: Hook,
    pub reason: String,
    /// The agent attaches a better hook when there is time.
    pub is_provisional: bool,
}
