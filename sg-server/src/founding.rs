//! New accounts, and what each has in a region: a default VPC with subnets and its default group.

use ipnet::IpNet;
use sg_ec2::seed::{NewVpc, add_default_vpc};
use sg_policy::id::AccountId;
use sg_store::{
    EpochId, Index, Key, RegionName, Snapshot, Txn,
    objects::{Account, AccountRegion, IndexEntry, RootKey, Vpc},
};

use crate::{
    ids::with_draws,
    seal::{SealingKey, random},
};

/// EC2's default VPC.
const DEFAULT_CIDR: &str = "172.31.0.0/16";
/// An access key with its secret in the clear: shown once, to the one who asked for it.
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

impl AccessKey {
    /// Draws a key: `AKIA` and 16 characters, as AWS's, and a secret of 240 bits.
    pub fn draw() -> anyhow::Result<Self> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let pick = |alphabet: &[u8], byte: &u8| {
            // Both alphabets have a power of two of letters, so every letter is equally likely.
            char::from(alphabet[usize::from(*byte) % alphabet.len()])
        };
        let id = random::<16>()?.iter().map(|byte| pick(LETTERS, byte)).collect::<String>();
        let secret = random::<40>()?.iter().map(|byte| pick(DIGITS, byte)).collect();
        Ok(Self { id: format!("AKIA{id}"), secret })
    }

    /// The key as the store keeps it.
    pub fn seal(&self, key: &SealingKey, now: u64) -> anyhow::Result<RootKey> {
        let sealed = key.seal(&self.id, self.secret.as_bytes())?;
        Ok(RootKey { access_key_id: self.id.clone(), sealed, created_at: now })
    }
}

/// Draws the number of an account: 12 digits, the first one not 0.
pub fn draw_account() -> anyhow::Result<AccountId> {
    let number = u64::from_le_bytes(random()?);
    let digits = 100_000_000_000 + number % 900_000_000_000;
    Ok(digits.to_string().parse()?)
}

/// Adds an account with its root key to a transaction. Fails on commit where the name or the number is taken.
pub fn add_account(txn: &mut Txn, account: &Account) {
    txn.create(account);
    txn.create(&IndexEntry::held(Index::AccountName(account.name.clone()), &account.id));
    if let Some(key) = &account.root_key {
        txn.create(&IndexEntry::held(Index::AccessKey(key.access_key_id.clone()), &account.id));
    }
}

/// Where a default VPC is to be made.
#[derive(Clone, Debug)]
pub struct Region<'a> {
    pub account: AccountId,
    pub region: &'a RegionName,
    pub epoch: EpochId,
    /// The default VPC's blocks, at least one of IPv4. See [`check_prefixes`].
    pub cidrs: &'a [IpNet],
}

/// Adds a region of an account, with its default VPC, to a transaction.
pub fn add_region(txn: &mut Txn, region: &Region<'_>) -> anyhow::Result<()> {
    let Region { account, region, epoch, cidrs } = *region;
    with_draws(|draw| {
        add_default_vpc(txn, &NewVpc { account, region, epoch, cidrs, draw });
    })?;
    Ok(())
}

/// The blocks of a default VPC in a region that is new to an account: those of its first region, the first
/// prefix of its `--allow`, or EC2's.
pub fn cidrs_for(snapshot: &Snapshot, account: &Account) -> Vec<IpNet> {
    let of_default = snapshot
        .all::<Vpc>()
        .find(|vpc| vpc.account == account.id && vpc.is_default)
        .map(|vpc| vpc.cidrs.iter().map(|block| block.cidr).collect());
    let allowed = || {
        let allow = account.allow.as_ref()?;
        allow.iter().find(|net| net.addr().is_ipv4()).map(|net| vec![*net])
    };
    let default = || vec![DEFAULT_CIDR.parse().expect("a prefix")];
    of_default.or_else(allowed).unwrap_or_else(default)
}

/// Whether a region of an account is still to be made.
pub fn lacks_region(snapshot: &Snapshot, account: AccountId, region: &RegionName) -> bool {
    snapshot.get::<AccountRegion>(&Key::Region(account, region.clone())).is_none()
}

/// Checks the prefixes of `--vpc-cidr` and `--allow`.
///
/// # Errors
/// The prefix that has host bits, or that no VPC can have.
pub fn check_prefixes(prefixes: &[IpNet]) -> anyhow::Result<()> {
    for prefix in prefixes {
        anyhow::ensure!(
            prefix.trunc() == *prefix,
            "{prefix} has host bits; did you mean {}?",
            prefix.trunc()
        );
        if prefix.addr().is_ipv4() {
            anyhow::ensure!(
                (8..=28).contains(&prefix.prefix_len()),
                "{prefix}: a VPC has /8 to /28"
            );
        }
    }
    anyhow::ensure!(
        prefixes.iter().any(|prefix| prefix.addr().is_ipv4()),
        "a VPC needs an IPv4 prefix"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use sg_policy::model::Peer;
    use sg_store::objects::{SecurityGroup, Subnet};

    use super::*;

    #[test]
    fn a_key_looks_like_aws_s() {
        let key = AccessKey::draw().unwrap();
        assert_eq!((key.id.len(), key.secret.len()), (20, 40));
        assert!(key.id.starts_with("AKIA"));
        assert!(!format!("{key:?}").contains(&key.secret));
        assert_ne!(AccessKey::draw().unwrap().secret, key.secret);
        assert_eq!(draw_account().unwrap().to_string().len(), 12);
    }

    #[test]
    fn prefixes_that_no_vpc_can_have_are_named() {
        let check = |texts: &[&str]| {
            let prefixes: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
            check_prefixes(&prefixes).map_err(|error| error.to_string())
        };
        assert!(check(&["10.0.0.0/8", "fd00::/56"]).is_ok());
        assert!(check(&["10.0.0.1/8"]).unwrap_err().contains("10.0.0.0/8"));
        assert!(check(&["10.0.0.0/29"]).unwrap_err().contains("/8 to /28"));
        assert!(check(&["fd00::/56"]).unwrap_err().contains("IPv4"));
    }

    #[test]
    fn a_region_has_a_vpc_three_subnets_and_a_group() {
        let cidrs = ["172.31.0.0/16", "fd00:1::/56"].map(|text| text.parse().unwrap());
        let region = "us-east-1".parse().unwrap();
        let account = draw_account().unwrap();
        let mut txn = Txn::new();
        let founded = Region { account, region: &region, epoch: EpochId(1), cidrs: &cidrs };
        add_region(&mut txn, &founded).unwrap();
        let entries = txn.ops().iter().map(|op| match op {
            sg_store::Op::Put { key, value } => sg_store::KeyValue {
                key: key.clone(),
                value: value.clone(),
                create_revision: sg_store::Revision(2),
                mod_revision: sg_store::Revision(2),
            },
            sg_store::Op::Delete { key } => panic!("{key} is deleted"),
        });
        let snapshot = Snapshot::of(entries, sg_store::Revision(2));
        assert_eq!(snapshot.unusable().count(), 0);
        let vpc = snapshot.all::<Vpc>().next().expect("a VPC");
        assert_eq!(snapshot.all::<Subnet>().count(), 3);
        let group = snapshot.all::<SecurityGroup>().next().expect("a group");
        assert_eq!((group.vpc, group.egress.len(), group.ingress.len()), (vpc.id, 2, 1));
        assert_eq!(group.ingress[0].peer, Peer::Group(group.id));
        assert!(!lacks_region(&snapshot, account, &region));
    }
}
