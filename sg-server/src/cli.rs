//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use sg_policy::id::AccountId;

use crate::settings::Options;

/// EC2's API for the security groups of this host: serves it, and sets it up.
#[derive(Clone, Debug, Parser)]
#[command(name = "sg-server", version)]
pub struct Cli {
    /// Settings [default: /etc/sg/server.toml, absent is fine]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Without a verb the server serves.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Make the store, the first account and its root access key, and print the key once
    Init(Init),
    /// Test settings, store and key without serving
    Check,
    /// Accounts of the server that runs on this machine; root only
    #[command(subcommand)]
    Account(Account),
    /// Write the man page to standard output, for a package
    #[command(hide = true)]
    Man,
}

#[derive(Args, Clone, Debug)]
pub struct Init {
    /// Number of the first account, 12 digits [default: a random one]
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
    /// Blocks of the default VPC, the first one of IPv4 [default: 172.31.0.0/16]
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',')]
    pub vpc_cidr: Vec<IpNet>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Account {
    /// Make an account with a default VPC, and print its root access key once
    Create {
        /// Name of the account: letters, digits, '-', '_' and '.'
        name: String,
        /// Prefixes that the account's VPCs must lie in
        #[arg(long, value_name = "CIDR", required = true, num_args = 1.., value_delimiter = ',')]
        allow: Vec<IpNet>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw a new root access key, void the old one, and print the new one once
    ResetRootKey {
        /// Number of the account
        id: AccountId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Void all sessions of an account that were issued until now
    RevokeSessions {
        /// Number of the account
        id: AccountId,
    },
}
