use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const VPC: &str = "vpc-00000000000000001";

#[test]
fn keys_are_for_ever() {
    let vpc = VpcId(1);
    let host = || "h1.example.org".parse::<HostName>().expect("a name");
    let region = || "us-east-1".parse::<RegionName>().expect("a region");
    let event = || "e-1".parse::<EventId>().expect("an event");
    let account = AccountId(42);
    let table = [
        (Key::Epoch, "epoch"),
        (Key::Vpc(vpc), "v/VPC/s"),
        (Key::Group(vpc, GroupId(2)), "v/VPC/g/sg-00000000000000002"),
        (Key::SharedGroup(vpc, GroupId(2)), "v/VPC/p/sg-00000000000000002"),
        (
            Key::ForeignMember(vpc, GroupId(2), InterfaceId(3)),
            "v/VPC/m/sg-00000000000000002/eni-00000000000000003",
        ),
        (Key::PrefixList(vpc, PrefixListId(4)), "v/VPC/l/pl-00000000000000004"),
        (Key::Interface(vpc, InterfaceId(3)), "v/VPC/i/eni-00000000000000003"),
        (
            Key::Observed(vpc, host(), InterfaceId(3)),
            "v/VPC/a/h1.example.org/eni-00000000000000003",
        ),
        (Key::Grant(vpc, host()), "v/VPC/h/h1.example.org"),
        (Key::Waiter(vpc, event()), "v/VPC/w/e-1"),
        (Key::Host(host()), "h/h1.example.org"),
        (Key::Status(host()), "s/h1.example.org"),
        (Key::Account(account), "acct/000000000042/s"),
        (Key::Region(account, region()), "acct/000000000042/r/us-east-1/s"),
        (
            Key::Subnet(account, region(), SubnetId(5)),
            "acct/000000000042/r/us-east-1/n/subnet-00000000000000005",
        ),
        (
            Key::OwnedList(account, region(), PrefixListId(4)),
            "acct/000000000042/r/us-east-1/l/pl-00000000000000004/s",
        ),
        (
            Key::ListVersion(account, region(), PrefixListId(4), 12),
            "acct/000000000042/r/us-east-1/l/pl-00000000000000004/12",
        ),
        (
            Key::Audit(account, "local".parse().expect("a server"), event()),
            "acct/000000000042/audit/local/e-1",
        ),
        (Key::Index(Index::group_name(vpc, "Web/A b")), "x/group/VPC/web/a b"),
        (
            Key::Index(Index::Address(vpc, Ipv4Addr::new(10, 0, 0, 1).into())),
            "x/address/VPC/10.0.0.1",
        ),
        (Key::Index(Index::AccountName("a/b".into())), "x/account/a/b"),
        (Key::Index(Index::AccessKey("AKIA1".into())), "x/key/AKIA1"),
        (
            Key::Index(Index::ClientToken(account, region(), "t/1".into())),
            "x/token/000000000042/us-east-1/t/1",
        ),
        (
            Key::Index(Index::Count(account, region(), Counted::Groups)),
            "x/count/000000000042/us-east-1/groups",
        ),
        (Key::Index(Index::GroupUsers(GroupId(2))), "x/users/sg-00000000000000002"),
        (Key::Index(Index::ListUsers(PrefixListId(4))), "x/users/pl-00000000000000004"),
        (Key::Index(Index::VpcUsers(vpc)), "x/users/VPC"),
    ];
    for (key, text) in table {
        let text = format!("/sg/1/{}", text.replace("VPC", VPC));
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse(), Ok(key), "{text}");
    }
    let blob = Key::Blob(vpc, Digest([0xab; 32]), 3);
    let text = format!("/sg/1/b/{VPC}/{}/3", "ab".repeat(32));
    assert_eq!(blob.to_string(), text);
    assert_eq!(text.parse(), Ok(blob));
}

#[test]
fn a_text_that_no_key_has_is_unknown() {
    let list = "/sg/1/acct/000000000042/r/us-east-1/l/pl-00000000000000004";
    let texts = [
        String::new(),
        "/sg/1/".to_owned(),
        "/sg/2/epoch".to_owned(),
        "/sg/1/epoch/".to_owned(),
        "sg/1/epoch".to_owned(),
        format!("/sg/1/v/{VPC}"),
        format!("/sg/1/v/{VPC}/s/"),
        format!("/sg/1/v/{VPC}/z/sg-00000000000000002"),
        format!("/sg/1/v/{VPC}/i/eni-1"),
        // Two spellings of one number.
        format!("{list}/012"),
        format!("{list}/+12"),
        // Two spellings of one address.
        format!("/sg/1/x/address/{VPC}/0:0::1"),
        format!("{list}/1/2/3/4"),
        "/sg/1/x/users/eni-00000000000000003".to_owned(),
        "/sg/1/x/count/000000000042/us-east-1/pears".to_owned(),
    ];
    for text in texts {
        assert_eq!(text.parse::<Key>(), Err(UnknownKey(text.clone())), "{text}");
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    let host = "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}"
        .prop_filter_map("root is refused", |name| name.parse::<HostName>().ok());
    let number = 0_u128..1 << 68;
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ];
    let texts = (host, "[a-z]{2}-[a-z]{4}-[0-9]", ".{1,12}", address);
    (texts, (number.clone(), number), any::<u32>(), 0..12_u8).prop_map(
        |((host, region, text, address), (first, second), version, kind)| {
            let (vpc, group, list) = (VpcId(first), GroupId(second), PrefixListId(second));
            let interface = InterfaceId(second);
            let account = AccountId((first % 1_000_000_000_000) as u64);
            let region = region.parse().expect("a region");
            match kind {
                0 => Key::Group(vpc, group),
                1 => Key::ForeignMember(vpc, group, interface),
                2 => Key::Observed(vpc, host, interface),
                3 => Key::Grant(vpc, host),
                4 => Key::Status(host),
                5 => Key::Blob(vpc, Digest([version as u8; 32]), version),
                6 => Key::ListVersion(account, region, list, version),
                7 => Key::Index(Index::group_name(vpc, &text)),
                8 => Key::Index(Index::Address(vpc, address)),
                9 => Key::Index(Index::ClientToken(account, region, text)),
                10 => Key::Index(Index::AccountName(text)),
                _ => Key::Subnet(account, region, SubnetId(first)),
            }
        },
    )
}

proptest! {
    #[test]
    fn every_key_is_read_from_its_text(key in any_key()) {
        prop_assert_eq!(key.to_string().parse(), Ok(key));
    }

    /// A prefix of a VPC's is of no other VPC, and no host's is of another host.
    #[test]
    fn keys_lie_below_their_own_vpc_only(key in any_key(), other in any_key()) {
        if let Some(vpc) = other.vpc() {
            let below = key.to_string().starts_with(&Key::vpc_prefix(vpc));
            let expected = key.vpc() == Some(vpc) && !matches!(key, Key::Blob(..));
            prop_assert_eq!(below, expected);
        }
    }
}
