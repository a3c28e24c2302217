//! Every kind of object, as it is written. The documents are for ever: stores and agents of other
//! versions read them.

use std::fmt::Debug;

use sg_common::Family;
use sg_policy::{
    id::{AccountId, GroupId, PrefixListId, RuleId, VpcId},
    model::{IcmpMatch, Peer, PortRange, Services},
};

use super::*;
use crate::{
    id::{EpochId, InstanceId, Revision},
    key::Index,
};

fn name<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect(text)
}

pub(crate) fn rule(id: u128, services: Services, peer: Peer) -> GroupRule {
    let (description, tags) = (String::new(), Tags::new());
    GroupRule { id: RuleId(id), services, peer, description, tags }
}

fn group() -> SecurityGroup {
    let https = Services::Tcp(PortRange { from: 443, to: 443 });
    let mut first = rule(1, https, Peer::Cidr(name("10.0.0.0/8")));
    first.description = "from the office".to_owned();
    first.tags.insert("team".to_owned(), "web".to_owned());
    let ping = Services::Icmp(IcmpMatch { kind: Some(8), code: None });
    SecurityGroup {
        id: GroupId(7),
        account: AccountId(42),
        region: name("us-east-1"),
        vpc: VpcId(1),
        name: "web".to_owned(),
        description: "the web".to_owned(),
        ingress: vec![first, rule(2, ping, Peer::Group(GroupId(7)))],
        egress: vec![
            rule(3, Services::All, Peer::PrefixList(PrefixListId(9))),
            rule(4, Services::Protocol(47), Peer::Cidr(name("::/0"))),
        ],
        tags: Tags::new(),
    }
}

fn interface() -> NetworkInterface {
    NetworkInterface {
        id: InterfaceId(3),
        account: AccountId(42),
        region: name("us-east-1"),
        vpc: VpcId(1),
        subnet: SubnetId(5),
        description: String::new(),
        addresses: vec![name("10.0.0.5")],
        groups: vec![GroupId(7)],
        source_dest_check: true,
        timeouts: IdleTimeouts { tcp_established: Some(350), ..IdleTimeouts::default() },
        role: InterfaceRole::Port,
        mac: None,
        shown_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        max_flows: None,
        bind: Some(name("h1/tap0")),
        host: None,
        device_index: 0,
        bound_revision: None,
        created_at: 1_700_000_000,
        tags: Tags::new(),
    }
}

fn host() -> Host {
    Host {
        name: name("h1"),
        instance: InstanceId(0xb),
        machine_id: None,
        vpcs: vec![VpcId(1)],
        allow: vec![name("10.0.0.0/8")],
        claims: Claims::Own,
        accounts: AdmittedAccounts::All,
        interfaces: Some(vec!["tap*".to_owned()]),
        is_fenced: false,
        tags: Tags::new(),
    }
}

fn entry() -> ListEntry {
    ListEntry { cidr: name("10.0.0.0/8"), description: String::new() }
}

/// One of each kind.
pub(crate) fn one_of_each() -> Vec<Object> {
    let (account, vpc) = (AccountId(42), VpcId(1));
    let region = || name::<RegionName>("us-east-1");
    let epoch = EpochId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let list = PrefixListId(9);
    vec![
        EpochRecord::new(epoch).into(),
        Vpc {
            id: vpc,
            epoch,
            account,
            region: region(),
            cidrs: vec![CidrBlock {
                cidr: name("172.31.0.0/16"),
                association: "vpc-cidr-assoc-1".to_owned(),
            }],
            allowed: Vec::new(),
            is_default: true,
            settings: VpcSettings::default(),
            dns_support: true,
            dns_hostnames: false,
            tags: Tags::new(),
        }
        .into(),
        group().into(),
        SharedGroup { used_in: VpcId(2), group: group() }.into(),
        ForeignMember {
            used_in: VpcId(2),
            group: GroupId(7),
            interface: InterfaceId(3),
            addresses: vec![name("10.0.0.5")],
        }
        .into(),
        PrefixList {
            used_in: vpc,
            id: list,
            account,
            name: "office".to_owned(),
            family: Family::V4,
            max_entries: 10,
            version: 1,
            entries: ListEntries::Inline(vec![entry()]),
        }
        .into(),
        interface().into(),
        ObservedAddresses {
            vpc,
            host: name("h1"),
            interface: InterfaceId(3),
            ifname: "tap0".to_owned(),
            addresses: vec![name("fd00::5")],
        }
        .into(),
        host().grant(vpc).into(),
        Waiter { vpc, id: name("w1"), hosts: Some(vec![name("h1")]) }.into(),
        BlobPart { vpc, digest: Digest([1; 32]), part: 0, text: "[]".to_owned() }.into(),
        host().into(),
        HostStatus {
            host: name("h1"),
            epoch,
            enforced: [(vpc, Revision(8))].into(),
            durable: [(vpc, Revision(7))].into(),
            boot: String::new(),
            machine_id: String::new(),
            version: "0.1.0".to_owned(),
            bound: vec![BoundInterface { interface: InterfaceId(3), device: name("h1/tap0") }],
            faults: Vec::new(),
        }
        .into(),
        Account {
            id: account,
            name: "first".to_owned(),
            allow: None,
            is_first: true,
            root_key: Some(RootKey {
                access_key_id: "AKIA1".to_owned(),
                sealed: Sealed(vec![0xab, 1]),
                created_at: 1_700_000_000,
            }),
            sessions_revoked_at: 0,
            created_at: 1_700_000_000,
            tags: Tags::new(),
        }
        .into(),
        AccountRegion { account, region: region(), default_vpc: Some(vpc) }.into(),
        Subnet {
            id: SubnetId(5),
            account,
            region: region(),
            vpc,
            availability_zone: "us-east-1a".to_owned(),
            ipv4: Some(name("172.31.0.0/20")),
            ipv6: None,
            is_default: true,
            map_public_ip: false,
            assign_ipv6: false,
            tags: Tags::new(),
        }
        .into(),
        OwnedPrefixList {
            id: list,
            account,
            region: region(),
            name: "office".to_owned(),
            family: Family::V4,
            max_entries: 10,
            version: 1,
            oldest_version: 1,
            state: ListState::CreateComplete,
            state_message: String::new(),
            copied_to: vec![vpc],
            tags: Tags::new(),
        }
        .into(),
        ListVersion { list, account, region: region(), version: 1, entries: vec![entry()] }.into(),
        AuditRecord {
            account,
            server: name("local"),
            event: name("e-1"),
            line: r#"{"eventName":"X"}"#.to_owned(),
        }
        .into(),
        IndexEntry::held(Index::group_name(vpc, "Web"), &GroupId(7)).into(),
    ]
}

const DOCUMENTS: &str = include_str!("documents.txt");

/// `SG_BLESS=1` writes the file anew: for a kind that is new, never for one that is there.
#[test]
fn documents_are_for_ever() {
    let line = |object: Object| {
        let document = String::from_utf8(object.encode()).expect("UTF-8");
        format!("{} {document}\n", object.key())
    };
    let written: String = one_of_each().into_iter().map(line).collect();
    if std::env::var_os("SG_BLESS").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/objects/documents.txt");
        std::fs::write(file, &written).expect("the sources can be written");
    }
    let differs = written.lines().zip(DOCUMENTS.lines()).find(|(written, known)| written != known);
    assert_eq!(differs, None, "left: as it is written now");
    assert_eq!(written.lines().count(), DOCUMENTS.lines().count());
}

#[test]
fn every_object_is_read_from_what_it_writes() {
    for object in one_of_each() {
        assert_eq!(Object::decode(&object.key(), &object.encode()), Ok(object.clone()));
        let with_more = String::from_utf8(object.encode()).expect("UTF-8");
        let with_more = with_more.replacen('{', r#"{"from_a_later_version":[{}],"#, 1);
        assert_eq!(Object::decode(&object.key(), with_more.as_bytes()), Ok(object));
    }
}

#[test]
fn an_object_in_another_ones_place_is_refused() {
    let key = Key::Group(VpcId(2), GroupId(7));
    let own = group().key().to_string();
    assert_eq!(Object::decode(&key, &group().encode()), Err(Undecodable::Misplaced(own)));
}

#[test]
fn a_rule_that_nobody_could_have_written_is_refused() {
    let table = [
        (r#""protocol":"tcp","cidr":"10.0.0.0/8""#, "no range of ports"),
        (r#""protocol":"udp","from":9,"to":8,"cidr":"10.0.0.0/8""#, "no range of ports"),
        (r#""protocol":"icmp","to":0,"cidr":"10.0.0.0/8""#, "no ICMP type"),
        (r#""protocol":"icmp","from":256,"cidr":"10.0.0.0/8""#, "no ICMP type"),
        (r#""protocol":"all","from":1,"to":1,"cidr":"10.0.0.0/8""#, "has no ports"),
        (r#""protocol":"47","to":1,"cidr":"10.0.0.0/8""#, "has no ports"),
        (r#""protocol":"6","from":1,"to":1,"cidr":"10.0.0.0/8""#, "its number where"),
        (r#""protocol":"256","cidr":"10.0.0.0/8""#, "its number where"),
        (r#""protocol":"all""#, "needs one of"),
        (r#""protocol":"all","cidr":"10.0.0.0/8","group":"sg-00000000000000007""#, "needs one of"),
        (r#""protocol":"all","cidr":"10.0.0.1/8""#, "host bits"),
        (r#""protocol":"icmpv6","cidr":"10.0.0.0/8""#, "other address family"),
        (r#""protocol":"icmp","cidr":"fd00::/8""#, "other address family"),
    ];
    for (fields, expected) in table {
        let text = format!(r#"{{"id":"sgr-00000000000000001",{fields}}}"#);
        let error = serde_json::from_str::<GroupRule>(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn nothing_shows_a_sealed_key() {
    let object = one_of_each().into_iter().find(|object| matches!(object, Object::Account(_)));
    let shown = format!("{object:?}");
    assert!(shown.contains("Sealed(2 bytes)") && !shown.contains("ab01"), "{shown}");
}

#[test]
fn a_binding_keeps_its_revision_while_it_stays() {
    let mut interface = interface();
    assert_eq!(interface.bound_at(Revision(5)), Some(Revision(5)), "it came with the record");

    interface.rebind(Some(name("h1/tap0")), Revision(5));
    assert_eq!(interface.bound_at(Revision(9)), Some(Revision(5)), "the record changed since");

    interface.rebind(Some(name("h1/tap1")), Revision(9));
    assert_eq!(interface.bound_at(Revision(10)), Some(Revision(10)));

    interface.rebind(None, Revision(10));
    assert_eq!(interface.bound_at(Revision(11)), None);
    assert_eq!(interface.bound_revision, None);
}

#[test]
fn a_store_comes_after_all_that_it_follows() {
    let first = EpochRecord::new(EpochId(1));
    let third = EpochRecord::following(EpochId(3), &EpochRecord::following(EpochId(2), &first));
    assert!(third.comes_after(EpochId(1)) && third.comes_after(EpochId(2)));
    assert!(!third.comes_after(EpochId(3)) && !first.comes_after(EpochId(2)));
}

#[test]
fn a_grant_says_what_its_host_says() {
    let grant = host().grant(VpcId(1));
    assert!(grant.covers(name("10.1.2.3")) && !grant.covers(name("11.1.2.3")));
    assert!(grant.accounts.admit(AccountId(1)));
    assert!(!AdmittedAccounts::default().admit(AccountId(1)));
    assert!(AdmittedAccounts::Only(vec![AccountId(1)]).admit(AccountId(1)));
}
