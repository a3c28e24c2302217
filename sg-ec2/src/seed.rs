//! The resources that an account has in a region from the start: a default VPC with its default subnets and group.

use ipnet::IpNet;
use sg_policy::{
    id::{AccountId, GroupId, MASK, RuleId, VpcId},
    model::{Peer, Services},
};
use sg_store::{
    Index, RegionName, SubnetId, Txn,
    id::EpochId,
    key::Counted,
    objects::{
        AccountRegion, CidrBlock, GroupRule, IndexEntry, SecurityGroup, Subnet, Tags, Vpc,
        VpcSettings,
    },
};

use crate::actions::default_egress;

/// Letters of a region's availability zones.
pub(crate) const ZONES: [char; 3] = ['a', 'b', 'c'];
/// A default subnet is so many bits longer than its VPC, as EC2's /20 of a /16 is.
const SUBNET_BITS: u8 = 4;
const LONGEST_SUBNET: u8 = 28;

/// Where a default VPC is made.
#[derive(Clone, Copy)]
pub struct NewVpc<'a> {
    pub account: AccountId,
    pub region: &'a RegionName,
    pub epoch: EpochId,
    /// Blocks without host bits. At least one is of IPv4, and none of these is longer than /28.
    pub cidrs: &'a [IpNet],
    /// Draws a random number for an id.
    pub draw: &'a dyn Fn() -> u128,
}

impl std::fmt::Debug for NewVpc<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, region, cidrs, .. } = self;
        let mut shown = f.debug_struct("NewVpc");
        shown.field("account", account).field("region", region).field("cidrs", cidrs);
        shown.finish_non_exhaustive()
    }
}

/// Adds the default VPC of an account in a region to a transaction, with the region's record and its counts. There must be
/// none yet.
pub fn add_default_vpc(txn: &mut Txn, new: &NewVpc<'_>) -> VpcId {
    let NewVpc { account, region, .. } = *new;
    let vpc = add_vpc_of_default(txn, new).id;
    txn.create(&AccountRegion { account, region: region.clone(), default_vpc: Some(vpc) });
    for counted in [Counted::Groups, Counted::Vpcs] {
        let index = Index::Count(account, region.clone(), counted);
        txn.create(&IndexEntry::counted(index, 1));
    }
    vpc
}

/// Adds the VPC with its subnets and its group.
pub(crate) fn add_vpc_of_default(txn: &mut Txn, new: &NewVpc<'_>) -> Vpc {
    let draw = || (new.draw)() & MASK;
    let NewVpc { account, region, epoch, cidrs, .. } = *new;
    let id = VpcId(draw());
    let block = |cidr: &IpNet| {
        let association = format!("vpc-cidr-assoc-{:017x}", draw());
        CidrBlock { cidr: *cidr, association }
    };
    let vpc = Vpc {
        id,
        epoch,
        account,
        region: region.clone(),
        cidrs: cidrs.iter().map(block).collect(),
        allowed: cidrs.to_vec(),
        is_default: true,
        settings: VpcSettings::default(),
        dns_support: true,
        dns_hostnames: true,
        tags: Tags::new(),
    };
    txn.create(&vpc);
    let first = cidrs.iter().find(|cidr| cidr.addr().is_ipv4());
    let nets = first.into_iter().flat_map(|cidr| subnets_of(*cidr));
    for (net, zone) in nets.zip(ZONES) {
        txn.create(&Subnet {
            id: SubnetId(draw()),
            account,
            region: region.clone(),
            vpc: id,
            availability_zone: format!("{region}{zone}"),
            ipv4: Some(net),
            ipv6: None,
            is_default: true,
            map_public_ip: false,
            assign_ipv6: false,
            tags: Tags::new(),
        });
    }
    add_default_group(txn, &vpc, new.draw);
    vpc
}

/// Blocks for the default subnets of a default VPC, in their order.
pub(crate) fn subnets_of(cidr: IpNet) -> impl Iterator<Item = IpNet> {
    let length = (cidr.prefix_len() + SUBNET_BITS).min(LONGEST_SUBNET).max(cidr.prefix_len());
    cidr.subnets(length).into_iter().flatten()
}

/// The group that network interfaces get where none is named: its members reach each other.
pub(crate) fn add_default_group(txn: &mut Txn, vpc: &Vpc, draw: &dyn Fn() -> u128) {
    let id = GroupId(draw() & MASK);
    let from_itself = GroupRule {
        id: RuleId(draw() & MASK),
        services: Services::All,
        peer: Peer::Group(id),
        description: String::new(),
        tags: Tags::new(),
    };
    txn.create(&SecurityGroup {
        id,
        account: vpc.account,
        region: vpc.region.clone(),
        vpc: vpc.id,
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        ingress: vec![from_itself],
        egress: default_egress(vpc.has_ipv6(), draw),
        tags: Tags::new(),
    });
    txn.create(&IndexEntry::held(Index::group_name(vpc.id, "default"), &id));
}
