//! Looks objects up for an account: objects of other accounts and regions do not exist for it.

use sg_policy::id::{AccountId, GroupId, MASK, PrefixListId, VpcId};
use sg_store::{
    Key, RegionName,
    objects::{
        AccountRegion, ListEntry, ListVersion, NetworkInterface, OwnedPrefixList, SecurityGroup,
        Subnet, Vpc,
    },
    snapshot::Versioned,
};

use super::ids;
use crate::{call::Context, error::Error};

/// An object that belongs to an account in a region.
pub(super) trait Owned {
    fn owner(&self) -> (AccountId, &RegionName);
}

macro_rules! owned {
    ($($type:ty),*) => {
        $(impl Owned for $type {
            fn owner(&self) -> (AccountId, &RegionName) {
                (self.account, &self.region)
            }
        })*
    };
}

owned!(NetworkInterface, OwnedPrefixList, SecurityGroup, Subnet, Vpc);

impl<'a> Context<'a> {
    pub(super) fn is_own(&self, object: &impl Owned) -> bool {
        object.owner() == (self.caller.account, self.region)
    }

    pub(super) fn own<T: sg_store::Stored + Owned>(
        &self,
    ) -> impl Iterator<Item = Versioned<'a, T>> {
        let context = *self;
        self.snapshot.all::<T>().filter(move |object| context.is_own(object.object))
    }

    pub(super) fn own_group(
        &self,
        kind: &ids::Kind,
        id: &str,
    ) -> Result<Versioned<'a, SecurityGroup>, Error> {
        let find = |id| self.snapshot.group(id).filter(|group| self.is_own(group.object));
        kind.find::<GroupId, _>(id, find)
    }

    pub(super) fn own_interface(&self, id: &str) -> Result<Versioned<'a, NetworkInterface>, Error> {
        let find = |id| self.snapshot.interface(id).filter(|found| self.is_own(found.object));
        ids::INTERFACE.find(id, find)
    }

    pub(super) fn own_subnet(&self, id: &str) -> Result<Versioned<'a, Subnet>, Error> {
        let find = |id| self.snapshot.subnet(id).filter(|subnet| self.is_own(subnet.object));
        ids::SUBNET.find(id, find)
    }

    pub(super) fn own_vpc(&self, id: &str) -> Result<Versioned<'a, Vpc>, Error> {
        let find = |id| self.snapshot.vpc(id).filter(|vpc| self.is_own(vpc.object));
        ids::VPC.find::<VpcId, _>(id, find)
    }

    /// A list of the caller's in the region.
    pub(super) fn list(&self, id: PrefixListId) -> Option<Versioned<'a, OwnedPrefixList>> {
        self.snapshot.get(&Key::OwnedList(self.caller.account, self.region.clone(), id))
    }

    pub(super) fn own_list(&self, id: &str) -> Result<Versioned<'a, OwnedPrefixList>, Error> {
        ids::PREFIX_LIST.find(id, |id| self.list(id))
    }

    /// The entries of a version of a list.
    pub(super) fn entries_of(
        &self,
        list: &OwnedPrefixList,
        version: u32,
    ) -> Result<&'a [ListEntry], Error> {
        let key = Key::ListVersion(list.account, list.region.clone(), list.id, version);
        let found = self.snapshot.get::<ListVersion>(&key);
        let absent =
            || Error::invalid(format!("The prefix list '{}' has no version {version}", list.id));
        found.map(|found| &*found.object.entries).ok_or_else(absent)
    }

    pub(super) fn default_vpc(&self) -> Option<VpcId> {
        let key = Key::Region(self.caller.account, self.region.clone());
        self.snapshot.get::<AccountRegion>(&key)?.default_vpc
    }

    /// The group of a name in a VPC; names are the same ignoring case.
    pub(super) fn group_named(
        &self,
        vpc: VpcId,
        name: &str,
    ) -> Result<Versioned<'a, SecurityGroup>, Error> {
        let lower = name.to_lowercase();
        let mut groups = self.snapshot.groups_of(vpc);
        groups
            .find(|group| group.name.to_lowercase() == lower && self.is_own(group.object))
            .ok_or_else(|| ids::GROUP.absent(name))
    }

    /// The group of a name in the default VPC.
    pub(super) fn group_named_by_default(
        &self,
        name: &str,
    ) -> Result<Versioned<'a, SecurityGroup>, Error> {
        let vpc = self.default_vpc().ok_or_else(no_default_vpc)?;
        self.group_named(vpc, name)
    }

    /// A number of as many bits as an id has.
    pub(super) fn draw_id(&self) -> u128 {
        (self.draw)() & MASK
    }

    pub(super) fn arn(&self, account: AccountId, kind: &str, id: impl std::fmt::Display) -> String {
        format!("arn:aws:ec2:{}:{account}:{kind}/{id}", self.region)
    }
}

pub(super) fn no_default_vpc() -> Error {
    Error::new("VPCIdNotSpecified", "No default VPC for this user")
}
