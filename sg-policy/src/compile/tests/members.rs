//! Members that come, go and move: the table that is kept, the image, and members from scratch.

use std::{collections::BTreeSet, net::IpAddr};

use rand::{
    RngExt as _,
    seq::{IndexedRandom as _, SliceRandom as _},
};

use super::*;
use crate::{
    compile::members::MemberTable,
    id::{AccountId, Scope, VpcId},
    model::{GroupId, LiveInterface, Members, Peer, PortRange, SecurityGroup, Services},
    reference::generate::{SeedableRng as _, SmallRng},
    shared::SharedVec,
};

const GROUPS: [&str; 4] = ["a", "b", "c", "d"];

/// Entries that are live: two with addresses of their own, two whose addresses are observed.
const LIVE: usize = 4;

fn start() -> (DesiredState, Vec<LiveInterface>) {
    let mut text = String::new();
    for (port, group) in (1..).zip(GROUPS) {
        let peer = GROUPS[port % GROUPS.len()];
        text += &format!(
            "[[security_group]]\nname = \"{group}\"\ningress = [\n\
             {{ protocol = \"tcp\", ports = {port}, groups = [\"{peer}\"] }},\n\
             {{ protocol = \"udp\", ports = {port}, groups = [\"{group}\", \"{peer}\"] }},\n\
             {{ protocol = \"tcp\", ports = 9, cidrs = [\"10.0.0.0/28\"] }},\n\
             {{ protocol = \"tcp\", ports = 7, cidrs = [\"0.0.0.0/0\", \"::/0\"] }},\n]\n"
        );
    }
    for (entry, group) in GROUPS.iter().enumerate() {
        text += &format!("[[interface]]\nname = \"if{entry}\"\ngroups = [\"{group}\"]\n");
        if entry < LIVE / 2 {
            text += &format!("role = \"port\"\naddresses = [\"10.0.0.{entry}\"]\n");
        }
    }
    parsed(&text)
}

/// Few, so that interfaces often have one together.
fn addresses(rng: &mut SmallRng) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = (0..12).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    all.push("fd00::1".parse().expect("an address"));
    all.shuffle(rng);
    all.truncate(rng.random_range(1..3));
    all
}

fn groups(rng: &mut SmallRng) -> Vec<GroupId> {
    let mut groups = GROUPS.map(GroupId::of_name).to_vec();
    groups.shuffle(rng);
    groups.truncate(rng.random_range(1..3));
    groups
}

fn edit(rng: &mut SmallRng, state: &mut DesiredState, live: &mut [LiveInterface]) {
    let count = state.interfaces.len();
    let any = rng.random_range(0..count);
    match rng.random_range(0..8) {
        0..=2 => {
            let new = Interface {
                name: format!("far{}", rng.random::<u32>()),
                addresses: addresses(rng),
                groups: groups(rng),
                ..state.interfaces[0].clone()
            };
            state.interfaces.insert(rng.random_range(LIVE..=count), new);
        }
        3 if count > LIVE => drop(state.interfaces.remove(rng.random_range(LIVE..count))),
        4 => state.interfaces[any].groups = groups(rng),
        5 if !state.interfaces[any].addresses.is_empty() => {
            state.interfaces[any].addresses = addresses(rng);
        }
        6 => live[rng.random_range(LIVE / 2..LIVE)].addresses = addresses(rng),
        // A group is named no more, or anew.
        7 => {
            let peer = Peer::Group(GroupId::of_name(GROUPS.choose(rng).expect("four")));
            let rules = &mut state.groups[rng.random_range(0..GROUPS.len())].ingress;
            rules[0].peer = peer;
            if rng.random() {
                rules.swap(0, 1);
            }
        }
        _ => {}
    }
}

fn of_all(members: &Members) -> BTreeSet<(GroupId, IpAddr)> {
    let of = |group| members.of_group(group).iter().map(move |address| (group, *address));
    GROUPS.map(GroupId::of_name).into_iter().flat_map(of).collect()
}

#[test]
fn members_that_are_kept_are_those_from_scratch_and_mean_what_the_reference_says() {
    let (mut answers, mut shared, mut moved) = (Answers::default(), 0, 0);
    for seed in 0..60 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let (mut state, mut live) = start();
        for _ in 0..rng.random_range(0..60) {
            edit(rng, &mut state, &mut live);
        }
        let mut table = MemberTable::of(&state, &live);
        let mut compiler = Compiler::default();
        let mut before = of_all(&Members::of(&state, &live));
        compiler.compile(&state, &live, &PARAMETERS).expect("it fits");
        for _ in 0..25 {
            for _ in 0..rng.random_range(1..4) {
                edit(rng, &mut state, &mut live);
            }
            if rng.random_range(0..6) == 0 {
                // As a file that is read anew.
                let entries: Vec<_> = state.interfaces.iter().cloned().collect();
                state.interfaces = SharedVec::from(entries);
            }
            let changes = table.update(&state, &live);
            let now = of_all(&Members::of(&state, &live));
            let kept = GROUPS.map(GroupId::of_name).into_iter();
            let kept = kept.flat_map(|group| table.of_group(group).map(move |to| (group, to)));
            assert_eq!(kept.collect::<BTreeSet<_>>(), now);
            let mut said = before.clone();
            for change in changes {
                let (is_member, member) = (change.is_member, (change.group, change.address));
                let is_new = if is_member { said.insert(member) } else { said.remove(&member) };
                assert!(is_new, "it was so before");
                moved += 1;
            }
            assert_eq!(said, now);
            before = now;

            let image = compiler.compile(&state, &live, &PARAMETERS).expect("it fits");
            shared += u32::from(image != compiled(&state, &live));
            let check = Check::new(&state, &live, &image);
            check.some(rng, 40, &mut answers);
            check.all_of(rng, &mut answers);
        }
    }
    answers.assert_both(500);
    assert!(shared > 500 && moved > 1000, "{shared} {moved}");
}

/// As a control plane may have them: a name is no identity.
#[test]
fn two_accounts_may_both_have_a_group_default() {
    let (mut state, live) = parsed(
        "[[security_group]]\nname = \"default\"\ningress = [\n\
         { protocol = \"tcp\", ports = 1, groups = [\"default\"] } ]\n\
         [[interface]]\nname = \"a\"\ngroups = [\"default\"]\naddresses = [\"10.0.0.1\"]\n\
         [[interface]]\nname = \"b\"\ngroups = [\"default\"]\naddresses = [\"10.0.0.2\"]\n",
    );
    let other = GroupId(7);
    let mut theirs = SecurityGroup::clone(&state.groups[0]);
    theirs.id = other;
    theirs.scope = Scope { account: AccountId(1), vpc: VpcId(1) };
    theirs.ingress[0].peer = Peer::Group(other);
    theirs.ingress[0].services = Services::Tcp(PortRange { from: 2, to: 2 });
    state.groups.push(theirs.into());
    state.interfaces[1].groups = vec![other];
    let image = compiled(&state, &live);
    let check = Check::new(&state, &live, &image);
    check.some(&mut SmallRng::seed_from_u64(1), 2000, &mut Answers::default());
    let members = Members::of(&state, &live);
    assert_eq!(members.of_group(other), live_address(2));
    assert_eq!(members.of_group(GroupId::of_name("default")), live_address(1));
    // Only theirs changes.
    let mut next = state.clone();
    next.groups[1].ingress.clear();
    let changes = crate::plan::diff(&state, &next);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].object, crate::plan::Object::Group(other));
    assert_eq!(crate::plan::reached(&state, &next, &changes), ["b"]);
}

fn live_address(last: u8) -> [IpAddr; 1] {
    [IpAddr::from([10, 0, 0, last])]
}
