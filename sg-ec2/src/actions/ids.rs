//! Ids in requests. A well-formed one has 17 hex digits, or 8 as EC2's oldest ids do; ours never have 8.

use std::str::FromStr;

use crate::error::Error;

/// A kind of id with its prefix and EC2's errors.
pub(super) struct Kind {
    prefix: &'static str,
    malformed: (&'static str, fn(&str) -> String),
    absent: (&'static str, fn(&str) -> String),
}

fn invalid_id(text: &str) -> String {
    format!("Invalid id: \"{text}\"")
}

pub(super) const GROUP: Kind = Kind {
    prefix: "sg-",
    malformed: ("InvalidGroupId.Malformed", |id| {
        format!("The security group ID '{id}' is malformed")
    }),
    absent: ("InvalidGroup.NotFound", |id| format!("The security group '{id}' does not exist")),
};
/// A group that is put on a network interface.
pub(super) const INTERFACE_GROUP: Kind = Kind {
    prefix: "sg-",
    malformed: ("InvalidSecurityGroupId.Malformed", invalid_id),
    absent: ("InvalidSecurityGroupID.NotFound", |id| {
        format!("The security group '{id}' does not exist")
    }),
};
pub(super) const RULE: Kind = Kind {
    prefix: "sgr-",
    malformed: ("InvalidSecurityGroupRuleId.Malformed", |id| {
        format!("The security group rule ID '{id}' is malformed")
    }),
    absent: ("InvalidSecurityGroupRuleId.NotFound", |id| {
        format!("The security group rule ID '{id}' does not exist")
    }),
};
pub(super) const INTERFACE: Kind = Kind {
    prefix: "eni-",
    malformed: ("InvalidNetworkInterfaceId.Malformed", invalid_id),
    absent: ("InvalidNetworkInterfaceID.NotFound", |id| {
        format!("The networkInterface ID '{id}' does not exist")
    }),
};
pub(super) const SUBNET: Kind = Kind {
    prefix: "subnet-",
    malformed: ("InvalidSubnetID.Malformed", invalid_id),
    absent: ("InvalidSubnetID.NotFound", |id| format!("The subnet ID '{id}' does not exist")),
};
pub(super) const VPC: Kind = Kind {
    prefix: "vpc-",
    malformed: ("InvalidVpcID.Malformed", invalid_id),
    absent: ("InvalidVpcID.NotFound", |id| format!("The vpc ID '{id}' does not exist")),
};
pub(super) const VPC_BLOCK: Kind = Kind {
    prefix: "vpc-cidr-assoc-",
    malformed: ("InvalidVpcCidrBlockAssociationID.Malformed", invalid_id),
    absent: ("InvalidVpcCidrBlockAssociationID.NotFound", |id| {
        format!("The vpc CIDR block association ID '{id}' does not exist")
    }),
};
pub(super) const SUBNET_BLOCK: Kind = Kind {
    prefix: "subnet-cidr-assoc-",
    malformed: ("InvalidSubnetCidrBlockAssociationID.Malformed", invalid_id),
    absent: ("InvalidSubnetCidrBlockAssociationID.NotFound", |id| {
        format!("The subnet CIDR block association ID '{id}' does not exist")
    }),
};
/// A host.
pub(super) const INSTANCE: Kind = Kind {
    prefix: "i-",
    malformed: ("InvalidInstanceID.Malformed", invalid_id),
    absent: ("InvalidInstanceID.NotFound", |id| format!("The instance ID '{id}' does not exist")),
};
pub(super) const ATTACHMENT: Kind = Kind {
    prefix: "eni-attach-",
    malformed: ("InvalidAttachmentID.Malformed", invalid_id),
    absent: ("InvalidAttachmentID.NotFound", |id| {
        format!("The attachment ID '{id}' does not exist")
    }),
};
pub(super) const PREFIX_LIST: Kind = Kind {
    prefix: "pl-",
    malformed: ("InvalidPrefixListId.Malformed", invalid_id),
    absent: ("InvalidPrefixListID.NotFound", |id| {
        format!("The prefix list ID '{id}' does not exist")
    }),
};

impl Kind {
    /// Refuses texts that are no id of the kind.
    pub(super) fn check(&self, text: &str) -> Result<(), Error> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_id = text
            .strip_prefix(self.prefix)
            .is_some_and(|digits| matches!(digits.len(), 8 | 17) && digits.bytes().all(is_digit));
        let (code, message) = self.malformed;
        if is_id { Ok(()) } else { Err(Error::new(code, message(text))) }
    }

    pub(super) fn check_all(&self, texts: &[String]) -> Result<(), Error> {
        texts.iter().try_for_each(|text| self.check(text))
    }

    pub(super) fn absent(&self, text: &str) -> Error {
        let (code, message) = self.absent;
        Error::new(code, message(text))
    }

    /// Looks an id up. `find` gets an id of ours.
    pub(super) fn find<I: FromStr, T>(
        &self,
        text: &str,
        find: impl FnOnce(I) -> Option<T>,
    ) -> Result<T, Error> {
        self.check(text)?;
        text.parse().ok().and_then(find).ok_or_else(|| self.absent(text))
    }
}
