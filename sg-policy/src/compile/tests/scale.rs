//! Rules that do not fit are refused, and images of usual rules stay small.

use std::fmt::Write;

use super::*;
use crate::model::{Peer, PrefixListId};

fn one_group(rules: impl Iterator<Item = String>) -> (DesiredState, Vec<LiveInterface>) {
    let mut text = String::from(
        "[settings.quotas]\nrules_per_group = 1000000\ngroups_per_interface = 1\n\
         rules_per_interface = 1000000\n\
         [[interface]]\nname = \"x\"\ngroups = [\"a\"]\n\
         [[security_group]]\nname = \"a\"\ningress = [\n",
    );
    for rule in rules {
        let _ = writeln!(text, "{{ protocol = \"tcp\", {rule} }},");
    }
    parsed(&(text + "]\n"))
}

/// Each of many small prefixes has many services of a large one besides its own.
#[test]
fn a_state_that_does_not_fit_is_an_error() {
    let large = (0..8000).map(|port| format!("ports = {}, cidrs = [\"10.0.0.0/8\"]", port * 2));
    let small = (0..8000).map(|net| {
        format!("ports = {}, cidrs = [\"10.{}.{}.0/24\"]", net * 2 + 20_001, net >> 8, net & 255)
    });
    let (state, live) = one_group(large.chain(small));
    let CompileError::TooLarge { needed, limit } =
        compile(&state, &live, &PARAMETERS).expect_err("8000 sets of 64 KiB");
    // It stops in time.
    assert!(needed > limit && needed < limit + (1 << 20), "{needed} {limit}");
}

#[test]
fn a_long_list_costs_its_prefixes_only() {
    let list: Vec<_> = (0..10_000)
        .map(|net| format!("\"10.{}.{}.{}/30\"", net >> 13, net >> 5 & 255, (net & 31) * 8))
        .collect();
    let list = format!("[[prefix_list]]\nname = \"l\"\nentries = [{}]", list.join(","));
    let (mut state, live) =
        one_group(std::iter::once("ports = 1, cidrs = [\"10.0.0.0/8\"]".into()));
    state.prefix_lists = parsed(&list).0.prefix_lists;
    state.groups[0].ingress[0].peer = Peer::PrefixList(PrefixListId::of_name("l"));
    // A word for each key and value, run padding and a table's refs.
    let words = compiled(&state, &live).words.len();
    assert!(words < 20_000 * 5, "{words}");
}
