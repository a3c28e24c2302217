//! New accounts, and what each has in a region: a default VPC with subnets and its default group.

use ipnet::{IpNet, Ipv4Net};
use sg_policy::{
    id::{AccountId, GroupId, RuleId, VpcId},
    model::{Peer, Services},
};
use sg_store::{
    EpochId, Index, Key, RegionName, Snapshot, SubnetId, Txn,
    key::Counted,
    objects::{
        Account, AccountRegion, CidrBlock, GroupRule, IndexEntry, RootKey, SecurityGroup, Subnet,
        Vpc, VpcSettings,
    },
};

use crate::seal::{SealingKey, random};

/// EC2's default VPC.
const DEFAULT_CIDR: &str = "172.31.0.0/16";
/// Each region has zones with these letters, and the default VPC a subnet in each.
const ZONES: [char; 3] = ['a', 'b', 'c'];
/// The smallest subnet that EC2 has.
const SMALLEST_SUBNET: u8 = 28;

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

/// What a region of an account begins with.
#[derive(Clone, Debug)]
pub struct Region<'a> {
    pub account: AccountId,
    pub region: &'a RegionName,
    pub epoch: EpochId,
    /// The default VPC's blocks, at least one of IPv4.
    pub cidrs: &'a [IpNet],
}

/// Adds a region of an account, with its default VPC, to a transaction.
pub fn add_region(txn: &mut Txn, region: &Region<'_>) -> anyhow::Result<()> {
    let vpc = Vpc {
        id: VpcId(draw_id()?),
        epoch: region.epoch,
        account: region.account,
        region: region.region.clone(),
        cidrs: blocks(region.cidrs)?,
        allowed: region.cidrs.to_vec(),
        is_default: true,
        settings: VpcSettings::default(),
        dns_support: true,
        dns_hostnames: true,
        tags: Default::default(),
    };
    let account_region = AccountRegion {
        account: region.account,
        region: region.region.clone(),
        default_vpc: Some(vpc.id),
    };
    txn.create(&account_region).create(&vpc);
    let first = region.cidrs.iter().find_map(|cidr| match cidr {
        IpNet::V4(cidr) => Some(*cidr),
        IpNet::V6(_) => None,
    });
    let first = first.ok_or_else(|| anyhow::anyhow!("a VPC needs an IPv4 block"))?;
    for (zone, cidr) in ZONES.into_iter().zip(subnets(first)) {
        txn.create(&Subnet {
            id: SubnetId(draw_id()?),
            account: region.account,
            region: region.region.clone(),
            vpc: vpc.id,
            availability_zone: format!("{}{zone}", region.region),
            ipv4: Some(cidr.into()),
            ipv6: None,
            is_default: true,
            map_public_ip: false,
            assign_ipv6: false,
            tags: Default::default(),
        });
    }
    let group = default_group(&vpc)?;
    txn.create(&group);
    txn.create(&IndexEntry::held(Index::group_name(vpc.id, &group.name), &group.id));
    txn.create(&IndexEntry::guard(Index::VpcUsers(vpc.id)));
    for counted in [Counted::Groups, Counted::Vpcs] {
        let index = Index::Count(region.account, region.region.clone(), counted);
        txn.create(&IndexEntry::counted(index, 1));
    }
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

/// The group `default` of a VPC: its members reach each other, and everything is allowed out.
fn default_group(vpc: &Vpc) -> anyhow::Result<SecurityGroup> {
    let id = GroupId(draw_id()?);
    let rule = |peer| -> anyhow::Result<GroupRule> {
        Ok(GroupRule {
            id: RuleId(draw_id()?),
            services: Services::All,
            peer,
            description: String::new(),
            tags: Default::default(),
        })
    };
    let mut egress = vec![rule(Peer::Cidr("0.0.0.0/0".parse()?))?];
    if vpc.has_ipv6() {
        egress.push(rule(Peer::Cidr("::/0".parse()?))?);
    }
    Ok(SecurityGroup {
        id,
        account: vpc.account,
        region: vpc.region.clone(),
        vpc: vpc.id,
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        ingress: vec![rule(Peer::Group(id))?],
        egress,
        tags: Default::default(),
    })
}

fn blocks(cidrs: &[IpNet]) -> anyhow::Result<Vec<CidrBlock>> {
    let one = |cidr: &IpNet| -> anyhow::Result<CidrBlock> {
        let association = format!("vpc-cidr-assoc-{:017x}", draw_id()?);
        Ok(CidrBlock { cidr: *cidr, association })
    };
    cidrs.iter().map(one).collect()
}

/// The default subnets of a block: sixteenths of it, or the block itself where these would be too small.
fn subnets(block: Ipv4Net) -> Vec<Ipv4Net> {
    let length = block.prefix_len() + 4;
    if length > SMALLEST_SUBNET {
        return vec![block];
    }
    block.subnets(length).map(|subnets| subnets.take(ZONES.len()).collect()).unwrap_or_default()
}

/// 68 random bits: the 17 hex digits of an id.
pub fn draw_id() -> anyhow::Result<u128> {
    Ok(u128::from_le_bytes(random()?) >> 60)
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
    use super::*;

    #[test]
    fn subnets_are_sixteenths_while_they_can_be() {
        let shown = |block: &str| {
            let subnets = subnets(block.parse().unwrap());
            subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown("172.31.0.0/16"), "172.31.0.0/20 172.31.16.0/20 172.31.32.0/20");
        assert_eq!(shown("10.0.0.0/24"), "10.0.0.0/28 10.0.0.16/28 10.0.0.32/28");
        assert_eq!(shown("10.0.0.0/25"), "10.0.0.0/25");
        assert_eq!(shown("10.0.0.0/28"), "10.0.0.0/28");
    }

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
