//! The objects, each under its key: what a document means.

mod account;
mod fields;
mod group;
mod host;
mod index;
mod interface;
mod prefix_list;
mod vpc;

pub use account::{Account, AccountRegion, AuditRecord, EpochRecord, RootKey, Sealed};
pub use fields::Tags;
pub use group::{ForeignMember, GroupRule, SecurityGroup, SharedGroup};
pub use host::{
    AdmittedAccounts, BoundInterface, Claims, Grant, Host, HostStatus, ObservedAddresses, Waiter,
};
pub use index::IndexEntry;
pub use interface::{Binding, IdleTimeouts, InterfaceRole, MacAddress, NetworkInterface};
pub use prefix_list::{
    BlobPart, BlobReference, ListEntries, ListEntry, ListState, ListVersion, OwnedPrefixList,
    PrefixList,
};
use serde::{Serialize, de::DeserializeOwned};
use sg_policy::id::{AccountId, GroupId, PrefixListId, VpcId};
pub use vpc::{CidrBlock, RevokeMode, Subnet, Vpc, VpcSettings};

use crate::{
    document::{self, Undecodable},
    id::{Digest, EventId, HostName, InterfaceId, RegionName, ServerName, SubnetId},
    key::{Index, Key},
};

/// An object with a key and a format of its own.
pub trait Stored: Serialize + DeserializeOwned + Clone + std::fmt::Debug + 'static {
    /// The newest format that this version reads, and the one it writes.
    const FORMAT: u32;

    fn key(&self) -> Key;

    /// A key before all others of the kind, for ranges.
    fn lowest_key() -> Key;

    /// `None` for an object of another kind.
    fn of(object: &Object) -> Option<&Self>;

    fn encode(&self) -> Vec<u8> {
        document::encode(Self::FORMAT, self)
    }
}

/// All kinds of objects: variant, type, format, the keys that the kind lies under, and one before them.
macro_rules! objects {
    ($($kind:ident($type:ty, $format:literal) at $keys:pat, from $lowest:expr;)+) => {
        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Object {
            $($kind($type),)+
        }

        impl Object {
            /// Reads the document that lies under a key. An object whose own ids lead to another key is
            /// refused: nobody has written it there on purpose.
            pub fn decode(key: &Key, document: &[u8]) -> Result<Self, Undecodable> {
                let object = match key {
                    $($keys => Self::$kind(document::decode(<$type>::FORMAT, document)?),)+
                };
                let own = object.key();
                if own != *key {
                    return Err(Undecodable::Misplaced(own.to_string()));
                }
                Ok(object)
            }

            pub fn key(&self) -> Key {
                match self {
                    $(Self::$kind(object) => object.key(),)+
                }
            }

            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$kind(object) => object.encode(),)+
                }
            }
        }

        $(
            impl From<$type> for Object {
                fn from(object: $type) -> Self {
                    Self::$kind(object)
                }
            }

            impl Stored for $type {
                const FORMAT: u32 = $format;

                fn key(&self) -> Key {
                    self.own_key()
                }

                fn lowest_key() -> Key {
                    $lowest
                }

                fn of(object: &Object) -> Option<&Self> {
                    match object {
                        Object::$kind(object) => Some(object),
                        _ => None,
                    }
                }
            }
        )+
    };
}

objects! {
    Epoch(EpochRecord, 1) at Key::Epoch, from Key::Epoch;
    Vpc(Vpc, 1) at Key::Vpc(_), from Key::Vpc(VPC);
    Group(SecurityGroup, 1) at Key::Group(..), from Key::Group(VPC, GROUP);
    SharedGroup(SharedGroup, 1) at Key::SharedGroup(..), from Key::SharedGroup(VPC, GROUP);
    ForeignMember(ForeignMember, 1) at Key::ForeignMember(..),
        from Key::ForeignMember(VPC, GROUP, INTERFACE);
    PrefixList(PrefixList, 1) at Key::PrefixList(..), from Key::PrefixList(VPC, LIST);
    Interface(NetworkInterface, 1) at Key::Interface(..), from Key::Interface(VPC, INTERFACE);
    Observed(ObservedAddresses, 1) at Key::Observed(..),
        from Key::Observed(VPC, HostName::lowest(), INTERFACE);
    Grant(Grant, 1) at Key::Grant(..), from Key::Grant(VPC, HostName::lowest());
    Waiter(Waiter, 1) at Key::Waiter(..), from Key::Waiter(VPC, EventId::lowest());
    Blob(BlobPart, 1) at Key::Blob(..), from Key::Blob(VPC, Digest([0; 32]), 0);
    Host(Host, 1) at Key::Host(_), from Key::Host(HostName::lowest());
    Status(HostStatus, 1) at Key::Status(_), from Key::Status(HostName::lowest());
    Account(Account, 1) at Key::Account(_), from Key::Account(ACCOUNT);
    Region(AccountRegion, 1) at Key::Region(..), from Key::Region(ACCOUNT, RegionName::lowest());
    Subnet(Subnet, 1) at Key::Subnet(..),
        from Key::Subnet(ACCOUNT, RegionName::lowest(), SubnetId(0));
    OwnedList(OwnedPrefixList, 1) at Key::OwnedList(..),
        from Key::OwnedList(ACCOUNT, RegionName::lowest(), LIST);
    ListVersion(ListVersion, 1) at Key::ListVersion(..),
        from Key::ListVersion(ACCOUNT, RegionName::lowest(), LIST, 0);
    Audit(AuditRecord, 1) at Key::Audit(..),
        from Key::Audit(ACCOUNT, ServerName::lowest(), EventId::lowest());
    Index(IndexEntry, 1) at Key::Index(_), from Key::Index(Index::GroupName(VPC, String::new()));
}

const VPC: VpcId = VpcId(0);
const GROUP: GroupId = GroupId(0);
const LIST: PrefixListId = PrefixListId(0);
const INTERFACE: InterfaceId = InterfaceId(0);
const ACCOUNT: AccountId = AccountId(0);

#[cfg(test)]
pub(crate) mod tests;
