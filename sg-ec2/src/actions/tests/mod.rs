//! Actions over the store in memory: requests as clients send them, answers read by an XML reader.

mod attachments;
mod groups;
mod interfaces;
mod lists;
mod modify_rules;
mod networks;
mod references;
mod resource_tags;
mod rules;
mod views;

use std::cell::Cell;

use sg_iam::{Service, Timestamp};
use sg_policy::id::{AccountId, GroupId, VpcId};
use sg_store::{
    RegionName, Snapshot, Stored, SubnetId, Txn,
    id::EpochId,
    memory::Memory,
    objects::Subnet,
    store::{Store as _, list_all},
};

use crate::{
    Caller, Context, Error, Parameters, Quotas, Request,
    seed::{NewVpc, add_default_vpc},
};

pub(super) struct World {
    store: Memory,
    drawn: Cell<u128>,
    caller: Caller,
    region: RegionName,
    quotas: Quotas,
    vpc: VpcId,
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

/// An answer, as a tree of its own.
pub(super) struct Answered(String);

impl Answered {
    /// The texts of all elements that a path leads to: `a/b/c` below the root.
    pub(super) fn all(&self, path: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.0).expect("XML");
        let mut nodes = vec![document.root_element()];
        for name in path.split('/') {
            let below = nodes.into_iter().flat_map(|node| node.children());
            nodes = below.filter(|node| node.tag_name().name() == name).collect();
        }
        nodes.into_iter().map(|node| node.text().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    pub(super) fn one(&self, path: &str) -> String {
        let all = self.all(path);
        assert_eq!(all.len(), 1, "{path} in {}", self.0);
        all[0].clone()
    }

    /// Children of elements as `name=text`, in one text an element.
    pub(super) fn items(&self, path: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.0).expect("XML");
        let mut nodes = vec![document.root_element()];
        for name in path.split('/') {
            let below = nodes.into_iter().flat_map(|node| node.children());
            nodes = below.filter(|node| node.tag_name().name() == name).collect();
        }
        let leaf = |node: roxmltree::Node<'_, '_>| {
            node.text().map(|text| format!("{}={text}", node.tag_name().name()))
        };
        let item = |node: roxmltree::Node<'_, '_>| {
            node.children().filter_map(leaf).collect::<Vec<_>>().join(" ")
        };
        nodes.into_iter().map(item).collect()
    }
}

impl World {
    pub(super) fn new() -> Self {
        let account = AccountId(123_456_789_012);
        let caller = Caller {
            account,
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.to_string(),
        };
        let mut world = Self {
            store: Memory::default(),
            drawn: Cell::new(0),
            caller,
            region: "us-east-1".parse().expect("a region"),
            quotas: Quotas::default(),
            vpc: VpcId(0),
        };
        world.vpc = world.add_vpc(account, "172.31.0.0/16");
        world
    }

    fn draw(&self) -> u128 {
        self.drawn.set(self.drawn.get() + 1);
        self.drawn.get()
    }

    /// A default VPC of an account.
    pub(super) fn add_vpc(&self, account: AccountId, cidr: &str) -> VpcId {
        let mut txn = Txn::new();
        let vpc = add_default_vpc(
            &mut txn,
            &NewVpc {
                account,
                region: &self.region,
                epoch: EpochId(1),
                cidrs: &[cidr.parse().expect("a network")],
                draw: &|| self.draw(),
            },
        );
        self.commit(txn);
        vpc
    }

    /// Another VPC of the caller's, with one subnet and a default group; it is not the default VPC.
    pub(super) fn second_vpc(&self, cidr: &str) -> VpcId {
        let snapshot = self.snapshot();
        let cidr = cidr.parse().expect("a network");
        let mut vpc = snapshot.vpc(self.vpc).expect("the VPC").object.clone();
        (vpc.id, vpc.is_default, vpc.cidrs[0].cidr) = (VpcId(self.draw()), false, cidr);
        let mut subnet = snapshot.all::<Subnet>().next().expect("a subnet").object.clone();
        (subnet.id, subnet.vpc, subnet.ipv4) = (SubnetId(self.draw()), vpc.id, Some(cidr));
        let mut group = snapshot.groups_of(self.vpc).next().expect("a group").object.clone();
        (group.id, group.vpc) = (GroupId(self.draw()), vpc.id);
        group.ingress.clear();
        self.put(&vpc);
        self.put(&subnet);
        self.put(&group);
        vpc.id
    }

    fn commit(&self, txn: Txn) {
        wait(self.store.commit(txn)).expect("a transaction");
    }

    /// The transaction of a call, which is not committed.
    pub(super) fn transaction(&self, query: &str) -> Txn {
        let decision = self.decide(Service::Ec2, query, &self.snapshot());
        decision.unwrap_or_else(|error| panic!("{query}: {error}")).txn.expect("a change")
    }

    pub(super) fn try_commit(&self, txn: Txn) -> bool {
        wait(self.store.commit(txn)).is_ok()
    }

    /// Writes an object whatever was there.
    pub(super) fn put(&self, object: &impl Stored) {
        let mut txn = Txn::new();
        txn.put(object);
        self.commit(txn);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (entries, revision) = wait(list_all(&self.store, "", None)).expect("a list");
        Snapshot::of(entries, revision)
    }

    fn decide(
        &self,
        service: Service,
        query: &str,
        snapshot: &Snapshot,
    ) -> Result<crate::Decision, Error> {
        let version = if service == Service::Sts { "2011-06-15" } else { "2016-11-15" };
        let query = format!("{query}&Version={version}").replace('\n', "").replace(' ', "");
        let parameters = Parameters::decode(query.as_bytes(), b"")?;
        let request = Request::read(service, &parameters)?;
        let decision = request.decide(&Context {
            caller: &self.caller,
            region: &self.region,
            request_id: "r-1",
            now: Timestamp(1_440_938_160),
            snapshot,
            quotas: &self.quotas,
            draw: &|| self.draw(),
        })?;
        Ok(decision)
    }

    /// Makes a call and commits what it changes. The error's text is `CODE: MESSAGE`.
    pub(super) fn try_call(&self, query: &str) -> Result<Answered, String> {
        let decision = self.decide(Service::Ec2, query, &self.snapshot()).map_err(|error| {
            assert!((400..500).contains(&error.status), "{error:?}");
            error.to_string()
        })?;
        if let Some(txn) = decision.txn {
            self.commit(txn);
        }
        assert_eq!(decision.response.status, 200);
        Ok(Answered(decision.response.body))
    }

    #[track_caller]
    pub(super) fn call(&self, query: &str) -> Answered {
        self.try_call(query).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// A call that is refused and changes nothing.
    #[track_caller]
    pub(super) fn refused(&self, query: &str) -> String {
        let before = self.store.revision();
        let error = self.try_call(query).err().unwrap_or_else(|| panic!("{query} is not refused"));
        assert_eq!(self.store.revision(), before);
        error
    }

    #[track_caller]
    pub(super) fn group(&self, name: &str) -> String {
        let query = format!("Action=CreateSecurityGroup&GroupName={name}&GroupDescription=d");
        self.call(&query).one("groupId")
    }

    pub(super) fn subnets(&self) -> Vec<String> {
        self.call("Action=DescribeSubnets").all("subnetSet/item/subnetId")
    }

    pub(super) fn default_group(&self) -> String {
        let query = "Action=DescribeSecurityGroups&GroupName.1=default";
        self.call(query).one("securityGroupInfo/item/groupId")
    }
}

#[test]
fn an_answer_has_the_form_of_its_service() {
    let world = World::new();
    let snapshot = world.snapshot();
    let sts = world.decide(Service::Sts, "Action=GetCallerIdentity", &snapshot).expect("an answer");
    assert_eq!(
        sts.response.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Account>123456789012</Account><Arn>arn:aws:iam::123456789012:root</Arn><UserId>123456789012</UserId>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    );
    let query = format!("Action=CreateTags&ResourceId.1={}&Tag.1.Key=k&Tag.1.Value=v", world.vpc);
    let ec2 = world.decide(Service::Ec2, &query, &snapshot).expect("an answer");
    assert_eq!(
        ec2.response.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <CreateTagsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r-1</requestId>\
         <return>true</return></CreateTagsResponse>"
    );
    assert_eq!(ec2.resources, [world.vpc.to_string()]);
}

#[test]
fn actions_and_versions_that_are_not_there() {
    let read = |service, query: &str| {
        let parameters = Parameters::decode(query.as_bytes(), b"").expect("a form");
        Request::read(service, &parameters).expect_err(query).to_string()
    };
    assert_eq!(
        read(Service::Ec2, "Action=RunInstances&Version=2016-11-15"),
        "InvalidAction: The action RunInstances is not valid for this web service."
    );
    assert_eq!(
        read(Service::Sts, "Action=DescribeVpcs&Version=2011-06-15"),
        "InvalidAction: Could not find operation DescribeVpcs for version 2011-06-15"
    );
    assert!(read(Service::Iam, "Action=ListUsers&Version=2016-11-15").starts_with("InvalidAction"));
    assert!(
        read(Service::Ec2, "Action=DescribeVpcs&Version=2014-01-01").starts_with("NoSuchVersion")
    );
    assert!(read(Service::Ec2, "Action=DescribeVpcs").starts_with("NoSuchVersion"));
    assert!(read(Service::Ec2, "Version=2016-11-15").starts_with("MissingAction"));
}

/// Parameters are looked at before DryRun, and what exists after it.
#[test]
fn a_dry_run_says_nothing_of_what_exists() {
    let world = World::new();
    let dry_run = "DryRunOperation: Request would have succeeded, but DryRun flag is set.";
    let unknown = "sg-0123456789abcdef0";
    for query in [
        format!("Action=DeleteSecurityGroup&GroupId={unknown}"),
        format!("Action=DescribeSecurityGroups&GroupId.1={unknown}"),
        format!("Action=AuthorizeSecurityGroupIngress&GroupId={unknown}&IpProtocol=-1&CidrIp=10.0.0.0/8"),
        format!("Action=RevokeSecurityGroupEgress&GroupId={unknown}&SecurityGroupRuleId.1=sgr-01234567"),
        format!("Action=CreateTags&ResourceId.1={unknown}&Tag.1.Key=a"),
        format!("Action=DeleteTags&ResourceId.1={unknown}"),
        "Action=CreateSecurityGroup&GroupName=a&GroupDescription=b&VpcId=vpc-01234567".to_owned(),
        "Action=CreateNetworkInterface&SubnetId=subnet-01234567".to_owned(),
        "Action=DeleteNetworkInterface&NetworkInterfaceId=eni-01234567".to_owned(),
        "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-01234567".to_owned(),
        "Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId=eni-01234567&Attribute=groupSet".to_owned(),
        "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId=eni-01234567&Description.Value=a".to_owned(),
        "Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1=sgr-01234567".to_owned(),
        format!("Action=ModifySecurityGroupRules&GroupId={unknown}&SecurityGroupRule.1.SecurityGroupRuleId=sgr-01234567&SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1&SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=0.0.0.0/0"),
        format!("Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId={unknown}&SecurityGroupRuleDescription.1.SecurityGroupRuleId=sgr-01234567"),
        format!("Action=UpdateSecurityGroupRuleDescriptionsEgress&GroupId={unknown}&SecurityGroupRuleDescription.1.SecurityGroupRuleId=sgr-01234567"),
        format!("Action=DescribeSecurityGroupReferences&GroupId.1={unknown}"),
        "Action=DescribeStaleSecurityGroups&VpcId=vpc-01234567".to_owned(),
        "Action=GetSecurityGroupsForVpc&VpcId=vpc-01234567".to_owned(),
        "Action=ModifyManagedPrefixList&PrefixListId=pl-01234567&MaxEntries=1".to_owned(),
        "Action=DeleteManagedPrefixList&PrefixListId=pl-01234567".to_owned(),
        "Action=RestoreManagedPrefixListVersion&PrefixListId=pl-01234567&CurrentVersion=2&PreviousVersion=1".to_owned(),
        "Action=DescribeManagedPrefixLists&PrefixListId.1=pl-01234567".to_owned(),
        "Action=GetManagedPrefixListEntries&PrefixListId=pl-01234567".to_owned(),
        "Action=GetManagedPrefixListAssociations&PrefixListId=pl-01234567".to_owned(),
        "Action=DescribePrefixLists&PrefixListId.1=pl-01234567".to_owned(),
        "Action=DescribeVpcs&VpcId.1=vpc-01234567".to_owned(),
        "Action=DeleteVpc&VpcId=vpc-01234567".to_owned(),
        "Action=DescribeVpcAttribute&VpcId=vpc-01234567&Attribute=enableDnsSupport".to_owned(),
        "Action=CreateSubnet&VpcId=vpc-01234567&CidrBlock=10.0.0.0/24".to_owned(),
        "Action=DeleteSubnet&SubnetId=subnet-01234567".to_owned(),
        "Action=ResetNetworkInterfaceAttribute&NetworkInterfaceId=eni-01234567&SourceDestCheck=a".to_owned(),
        "Action=AttachNetworkInterface&NetworkInterfaceId=eni-01234567&InstanceId=i-01234567&DeviceIndex=1".to_owned(),
        "Action=DetachNetworkInterface&AttachmentId=eni-attach-01234567".to_owned(),
        "Action=DescribeSubnets&SubnetId.1=subnet-01234567".to_owned(),
    ] {
        assert_eq!(world.refused(&format!("{query}&DryRun=true")), dry_run, "{query}");
        let without = world.refused(&query);
        assert!(without.contains("NotFound: "), "{query}: {without}");
        let malformed = query.replace("sg-0123456789abcdef0", "foo").replace("-01234567", "-x");
        let malformed = world.refused(&format!("{malformed}&DryRun=true"));
        assert!(malformed.contains("Malformed: ") || malformed.starts_with("InvalidID: "), "{query}: {malformed}");
    }
    let status = world
        .decide(Service::Ec2, "Action=DescribeVpcs&DryRun=true", &world.snapshot())
        .expect_err("a dry run")
        .status;
    assert_eq!(status, 412);
}

/// Everything of another account is as if it were not there.
#[test]
fn accounts_do_not_see_each_other() {
    let mut world = World::new();
    let group = world.group("web");
    let subnet = world.subnets().remove(0);
    let interface = world
        .call(&format!("Action=CreateNetworkInterface&SubnetId={subnet}"))
        .one("networkInterface/networkInterfaceId");
    let rule = world
        .call("Action=DescribeSecurityGroupRules")
        .all("securityGroupRuleSet/item/securityGroupRuleId");
    let list = world
        .call("Action=CreateManagedPrefixList&PrefixListName=a&MaxEntries=1&AddressFamily=IPv4")
        .one("prefixList/prefixListId");
    let vpc = world.vpc;
    let other = AccountId(210_987_654_321);
    world.add_vpc(other, "10.0.0.0/16");
    world.caller.account = other;
    for query in [
        format!("Action=DeleteSecurityGroup&GroupId={group}"),
        format!("Action=DescribeSecurityGroups&GroupId.1={group}"),
        format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpProtocol=-1&CidrIp=10.0.0.0/8"
        ),
        format!("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={}", rule[0]),
        format!("Action=CreateTags&ResourceId.1={group}&Tag.1.Key=a"),
        format!("Action=CreateTags&ResourceId.1={}&Tag.1.Key=a", rule[0]),
        format!("Action=CreateTags&ResourceId.1={interface}&Tag.1.Key=a"),
        format!("Action=DeleteNetworkInterface&NetworkInterfaceId={interface}"),
        format!("Action=DescribeVpcs&VpcId.1={vpc}"),
        format!("Action=ModifyManagedPrefixList&PrefixListId={list}&MaxEntries=2"),
        format!("Action=DeleteManagedPrefixList&PrefixListId={list}"),
        format!("Action=GetManagedPrefixListEntries&PrefixListId={list}"),
        format!("Action=GetManagedPrefixListAssociations&PrefixListId={list}"),
        format!("Action=CreateTags&ResourceId.1={list}&Tag.1.Key=a"),
        format!(
            "Action=AssignPrivateIpAddresses&NetworkInterfaceId={interface}&SecondaryPrivateIpAddressCount=1"
        ),
        format!(
            "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={interface}&PrivateIpAddress.1=172.31.0.4"
        ),
        format!("Action=AssignIpv6Addresses&NetworkInterfaceId={interface}&Ipv6AddressCount=1"),
        format!(
            "Action=UnassignIpv6Addresses&NetworkInterfaceId={interface}&Ipv6Addresses.1=fd00::1"
        ),
        format!(
            "Action=ResetNetworkInterfaceAttribute&NetworkInterfaceId={interface}&SourceDestCheck=a"
        ),
        format!("Action=DeleteVpc&VpcId={vpc}"),
        format!("Action=ModifyVpcAttribute&VpcId={vpc}&EnableDnsSupport.Value=true"),
        format!("Action=AssociateVpcCidrBlock&VpcId={vpc}&CidrBlock=10.9.0.0/16"),
        format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=172.31.128.0/24"),
        format!("Action=DeleteSubnet&SubnetId={subnet}"),
        format!("Action=ModifySubnetAttribute&SubnetId={subnet}&MapPublicIpOnLaunch.Value=false"),
        format!("Action=AssociateSubnetCidrBlock&SubnetId={subnet}&Ipv6CidrBlock=fd00::/64"),
        format!("Action=DescribeStaleSecurityGroups&VpcId={vpc}"),
        format!("Action=GetSecurityGroupsForVpc&VpcId={vpc}"),
        format!("Action=DescribeSecurityGroupReferences&GroupId.1={group}"),
        format!(
            "Action=ModifySecurityGroupRules&GroupId={group}&SecurityGroupRule.1.SecurityGroupRuleId={}&SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1&SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=0.0.0.0/0",
            rule[0]
        ),
        format!(
            "Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId={group}&SecurityGroupRuleDescription.1.SecurityGroupRuleId={}",
            rule[0]
        ),
        format!("Action=CreateSecurityGroup&GroupName=a&GroupDescription=b&VpcId={vpc}"),
        format!("Action=CreateNetworkInterface&SubnetId={subnet}"),
    ] {
        let refused = world.refused(&query);
        assert!(refused.contains("NotFound: "), "{query}: {refused}");
    }
    let own = world.default_group();
    let peer = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={own}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={group}"
    );
    assert_eq!(
        world.refused(&peer),
        format!("InvalidGroup.NotFound: The security group '{group}' does not exist")
    );
    let seen = world.call("Action=DescribeTags").all("tagSet/item/key");
    assert!(seen.is_empty());
    assert_eq!(world.call("Action=DescribeVpcs").all("vpcSet/item/vpcId").len(), 1);
    assert_eq!(
        world.call("Action=DescribeNetworkInterfaces").all("networkInterfaceSet/item").len(),
        0
    );
    assert_eq!(world.call("Action=DescribeSecurityGroups").all("securityGroupInfo/item").len(), 1);
}
