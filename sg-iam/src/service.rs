//! The services that one port serves. The credential scope of a signature names one.

/// A service, as a credential scope names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Ec2,
    Iam,
    Sts,
    Ram,
    /// Our own requests: JSON over `POST /v1/NAME`.
    Sg,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::Ec2, Self::Iam, Self::Sts, Self::Ram, Self::Sg];

    /// The name in a credential scope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Iam => "iam",
            Self::Sts => "sts",
            Self::Ram => "ram",
            Self::Sg => "sg",
        }
    }

    /// The service of a name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// An error as a client sees it. Clients match code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}
