//! The verbs of root on a server's machine, over `admin.sock`: one line of JSON each way.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Name of the socket in the server's runtime directory.
pub const SOCKET: &str = "admin.sock";
/// Longest line in bytes.
pub const MAX_LINE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    CreateAccount { name: String, allow: Vec<IpNet> },
    ListAccounts,
    ResetRootKey { account: String },
    RevokeSessions { account: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Issued(Issued),
    Accounts(Vec<Listed>),
    Done,
    /// Nothing was changed; the text says why.
    Failed(String),
}

/// A root access key, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    pub account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({}, {})", self.account, self.access_key_id)
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub account: String,
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let issued = Issued {
            account: "123456789012".to_owned(),
            name: None,
            access_key_id: "AKIA".to_owned(),
            secret_access_key: "secret".to_owned(),
            region: "us-east-1".to_owned(),
        };
        assert!(!format!("{:?}", Answer::Issued(issued)).contains("secret"));
    }
}
