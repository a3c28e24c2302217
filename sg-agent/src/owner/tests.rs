//! The owner over a data path that only keeps a diary.

use std::time::Instant;

use sg_common::{Direction, flow::Timeout};
use sg_policy::{
    edit::Edit,
    id::{AccountId, GroupId, RuleId, Scope, VpcId},
    model::{self, Peer, PortRange, Rule, SecurityGroup, Services},
};

use super::{
    attach_limiter::AttachLimiter,
    cause::Cause,
    command::{Actor, Change, Command, Replacement},
    error::Error,
    fake::{self, Fixture, TOO_LARGE, interface, view},
    lockout::Origin,
    revision::{Revision, Target},
    unfiltered::Guard,
};
use crate::{
    api::{self, FlushRequest, Session},
    datapath::{FlowEntry, Phase},
    observe::{
        conntrack::Tracked,
        interfaces::{DeviceKind, Interface, View},
        sockets::{Socket, Sockets},
        ssh_sessions::{Carrier, Located, Unknown},
    },
    store::{
        Store,
        simulated::{Fault, Plan, Simulated},
    },
};

/// Rules that filter the interfaces named.
fn rules(interfaces: &[&str]) -> String {
    let mut text = "[[security_group]]\nname = \"web\"\n".to_owned();
    for name in interfaces {
        text += &format!("[[interface]]\nname = \"{name}\"\ngroups = [\"web\"]\n");
    }
    text
}

fn with_cut(rules: &str) -> String {
    format!("[settings]\non_revoke = \"cut\"\n{rules}")
}

#[test]
fn an_apply_attaches_then_flips_then_detaches() {
    let mut host =
        Fixture::new(view([interface(2, "tap0"), interface(3, "tap1"), interface(4, "eth0")]));
    let applied = host.apply(&rules(&["tap0"])).unwrap();
    assert_eq!((applied.revision, applied.changed, applied.interfaces), (1, true, 1));
    assert_eq!(host.diary(), ["attach 2 Auto", "publish 1: 2=0"]);
    let applied = host.apply(&rules(&["tap1"])).unwrap();
    assert_eq!((applied.revision, applied.interfaces), (2, 1));
    assert_eq!(host.diary(), ["attach 3 Auto", "publish 2: 3=1", "detach 2", "release 0"]);
}

#[test]
fn an_apply_that_changes_nothing_does_nothing() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    let applied = host.apply(&rules(&["tap0"])).unwrap();
    assert_eq!((applied.revision, applied.changed), (1, false));
    assert_eq!(host.diary(), [""; 0]);
    assert_eq!(host.owner.history().len(), 1);
}

#[test]
fn a_new_interface_is_in_force_before_it_is_attached_and_a_lost_one_after() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.diary();
    host.owner.follow(view([interface(2, "tap0"), interface(7, "tap1"), interface(8, "eth0")]));
    assert_eq!(host.diary(), ["publish 1: 2=0 7=1", "attach 7 Auto"]);
    host.owner.follow(view([interface(7, "tap1"), interface(8, "eth0")]));
    assert_eq!(host.diary(), ["publish 1: 7=1", "detach 2", "release 0"]);
    // An entry without an interface changes nothing.
    host.owner.follow(view([interface(7, "tap1")]));
    assert_eq!(host.diary(), [""; 0]);
}

#[test]
fn a_rename_keeps_the_slot_while_an_entry_matches() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap0", "tap1", "tap2"])).unwrap();
    host.diary();
    host.owner.follow(view([interface(2, "tap0"), interface(3, "tap2")]));
    assert_eq!(host.diary(), ["publish 1: 2=0 3=1"]);
    host.owner.follow(view([interface(2, "tap0"), interface(3, "other")]));
    assert_eq!(host.diary(), ["publish 1: 2=0", "detach 3", "release 1"]);
}

#[test]
fn another_interface_of_the_same_number_starts_afresh() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    // Nothing of ours is on it.
    host.kernel().attached.clear();
    let again = Interface { generation: 99, ..interface(2, "tap0").1 };
    host.owner.follow(View::from([(2, again)]));
    assert_eq!(host.diary(), ["publish 1: 2=1", "detach 2", "attach 2 Auto", "release 0"]);
}

#[test]
fn an_interface_that_the_kernel_knows_as_ours_is_the_same_after_lost_events() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.diary();
    host.kernel().attached.remove(&3);
    let again =
        |ifindex, name| (ifindex, Interface { generation: 90, ..interface(ifindex, name).1 });
    host.owner.follow(View::from([again(2, "tap0"), again(3, "tap1")]));
    let diary = host.diary();
    assert_eq!(diary[..3], ["publish 1: 2=0 3=2", "detach 3", "attach 3 Auto"]);
    assert_eq!(host.kernel().asked.borrow().get("verify"), Some(&1));
}

#[test]
fn an_interface_that_cannot_be_attached_leaves_everything_as_it_was() {
    let mut host =
        Fixture::new(view([interface(2, "tap0"), interface(3, "tap1"), interface(4, "tap2")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    host.kernel().broken.insert(4);
    let error = host.apply(&rules(&["tap1", "tap2"])).unwrap_err();
    assert!(matches!(error, Error::Refused(_)));
    assert_eq!(error.to_string(), "cannot filter tap2: no; nothing was changed");
    assert_eq!(host.diary(), ["attach 3 Auto", "attach 4 Auto", "detach 4", "detach 3"]);
    assert_eq!(host.stored(), (1, 1));
    assert_eq!(host.owner.status().interfaces.len(), 1);
}

#[test]
fn an_interface_that_is_gone_does_not_stop_an_apply() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.kernel().broken.insert(3);
    host.kernel().gone.insert(3);
    let applied = host.apply(&rules(&["tap*"])).unwrap();
    assert_eq!((applied.revision, applied.interfaces), (1, 1));
}

#[test]
fn what_the_kernel_refuses_is_not_stored() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    host.kernel().refuses_images = true;
    let error = host.apply(&rules(&["tap1"])).unwrap_err();
    assert!(matches!(error, Error::Datapath(_)), "{error}");
    assert_eq!(host.diary(), ["attach 3 Auto", "publish 2: 3=1", "detach 3"]);
    // In force is what was, and the number is used up.
    assert_eq!(host.stored(), (1, 1));
    host.kernel().refuses_images = false;
    assert_eq!(host.apply(&rules(&["tap1"])).unwrap().revision, 3);
}

#[test]
fn rules_that_do_not_fit_touch_nothing() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    let error = host.apply(&rules(&["tap0", fake::TOO_LARGE])).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!(host.diary(), [""; 0]);
    assert_eq!(host.stored(), (0, 0));
}

/// A host whose disk is a simulated one, with [`with_port`] 1 in force.
fn host_on(disk: &Simulated) -> Fixture {
    let (directory, on) = (tempfile::tempdir().unwrap(), disk.clone());
    let mut host =
        Fixture::on(directory, move || Store::simulated(&on), view([interface(2, "tap0")]));
    host.apply(&with_port(1)).unwrap();
    host.diary();
    host
}

/// The current revision after a power cut and after the agent's death.
fn after_a_restart(disk: &Simulated) -> [u64; 2] {
    [disk.after_power_cut(), disk.after_death()]
        .map(|disk| Store::simulated(&disk).ledger().current)
}

/// Issue 18, row 19.
#[test]
fn a_change_that_the_disk_refuses_is_not_in_force_nor_is_it_after_a_restart() {
    for fault in [Fault::Eio, Fault::Enospc] {
        for at in 0.. {
            let disk = Simulated::new(at + 1);
            let mut host = host_on(&disk);
            disk.plan(Some(Plan { fault, at, times: 1 }));
            let applied = host.apply(&with_port(2));
            let operations = disk.operations();
            disk.plan(None);
            let published: &[&str] = match (at, fault) {
                // The record is not written: the filter stays as it is.
                (0, _) => &[],
                // The disk does not take it: the filter had not waited for that.
                (1, Fault::Eio) => &["publish 2: 2=0", "publish 1: 2=0"],
                _ => &["publish 2: 2=0"],
            };
            assert_eq!(host.diary(), published);
            let current = if published.len() == 1 { 2 } else { 1 };
            match applied {
                Ok(applied) => assert_eq!(applied.revision, current),
                Err(error) => assert!(matches!(error, Error::Store(_)) && current == 1, "{error}"),
            }
            assert_eq!(after_a_restart(&disk), [current; 2]);
            let next = host.apply(&with_port(3)).unwrap().revision;
            // A number that was in force for a moment is not used again.
            assert_eq!(next, if published.is_empty() { 2 } else { 3 });
            assert_eq!(after_a_restart(&disk), [next; 2]);
            if at >= operations {
                // One write and one fdatasync.
                assert_eq!(operations, 2);
                break;
            }
        }
    }
}

/// Nor if no segment can be begun after it: then the record is erased.
#[test]
fn a_second_fault_leaves_no_doubt_where_the_disk_takes_something() {
    let disk = Simulated::new(1);
    let mut host = host_on(&disk);
    disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: 2 }));
    let error = host.apply(&with_port(2)).unwrap_err().to_string();
    assert!(!error.contains("restart"), "{error}");
    assert_eq!(after_a_restart(&disk), [1; 2]);
    host.apply(&with_port(3)).unwrap();
    assert_eq!(after_a_restart(&disk), [3; 2]);
}

/// Confirmations and rollbacks, too.
#[test]
fn the_deadline_holds_where_the_disk_refuses_a_confirmation() {
    let disk = Simulated::new(1);
    let mut host = host_on(&disk);
    host.apply_until(&with_port(2), 60).unwrap();
    host.diary();
    disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: 1 }));
    let error = host.owner.confirm(Instant::now()).unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error}");
    assert_eq!(host.diary(), ["publish 2: 2=0", "publish 2: 2=0 until 2200 1: 2=0"]);
    assert!(host.owner.status().confirm_until.is_some());
    let pending = Store::simulated(&disk.after_power_cut()).ledger().pending.clone();
    assert_eq!(pending.unwrap().deadline, 2200);
    disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: 1 }));
    host.owner.seconds_pass(60);
    host.owner.expire();
    assert_eq!(host.diary(), ["publish 1: 2=0", "publish 2: 2=0 until 2200 1: 2=0"]);
    assert_eq!(after_a_restart(&disk), [2; 2]);
    host.owner.wake();
    assert_eq!((host.diary(), after_a_restart(&disk)), (vec!["publish 1: 2=0".into()], [1; 2]));
}

/// A disk that takes nothing, not the note that a change is void either: the doubt is told, and ended
/// as soon as it can be.
#[test]
fn a_doubt_is_told_and_ended() {
    let mut has_come_back = false;
    for seed in 1..=20 {
        let disk = Simulated::new(seed);
        let mut host = host_on(&disk);
        disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: u64::MAX }));
        let error = host.apply(&with_port(2)).unwrap_err().to_string();
        assert!(error.contains("a restart may bring the change back"), "{error}");
        assert_eq!(host.diary(), ["publish 2: 2=0", "publish 1: 2=0"]);
        host.owner.wake();
        assert!(!host.rests());
        // The next one is refused, and nothing of it is anywhere.
        let error = host.apply(&with_port(3)).unwrap_err().to_string();
        assert!(error.starts_with("cannot write") && !error.contains("restart"), "{error}");
        has_come_back |= after_a_restart(&disk).contains(&2);
        disk.plan(None);
        host.owner.wake();
        assert!(host.rests());
        assert_eq!(after_a_restart(&disk), [1; 2]);
    }
    assert!(has_come_back);
}

/// Somebody who asks again and again must not keep the agent from mending what is broken.
#[test]
fn questions_do_not_put_off_a_second_attempt() {
    let disk = Simulated::new(1);
    let mut host = host_on(&disk);
    disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: 1 }));
    host.kernel().takes_images = Some(1);
    host.apply(&with_port(2)).unwrap_err();
    host.kernel().refuses_images = false;
    host.diary();
    host.owner.wake_in_time();
    assert_eq!(host.diary(), [""; 0]);
    host.owner.tried -= std::time::Duration::from_secs(5);
    host.owner.wake_in_time();
    assert_eq!(host.diary(), ["publish 1: 2=0"]);
}

/// The kernel does not take the rules before again: that is told, and they are in force once it does.
#[test]
fn rules_that_cannot_be_put_back_are_put_back_later() {
    let disk = Simulated::new(1);
    let mut host = host_on(&disk);
    disk.plan(Some(Plan { fault: Fault::Eio, at: 1, times: 1 }));
    host.kernel().takes_images = Some(1);
    let error = host.apply(&with_port(2)).unwrap_err().to_string();
    assert!(error.contains("the new rules are in force until"), "{error}");
    host.owner.wake();
    assert!(!host.rests());
    host.diary();
    host.kernel().refuses_images = false;
    host.owner.wake();
    assert_eq!(host.diary(), ["publish 1: 2=0"]);
    assert!(host.rests());
    assert_eq!(after_a_restart(&disk), [1; 2]);
}

#[test]
fn an_unconfirmed_change_carries_its_fallback_and_attaches_for_both() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    let applied = host.apply_until(&rules(&["tap1"]), 60).unwrap();
    assert!(applied.confirm_until.is_some());
    // tap0 stays attached: the data path may fall back without an agent.
    assert_eq!(host.diary(), ["attach 3 Auto", "publish 2: 3=1 until 2200 1: 2=0"]);
    assert_eq!(host.owner.status().interfaces.len(), 1);
    let refused = host.apply(&rules(&["tap0", "tap1"])).unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    host.owner.follow(view([interface(2, "tap0"), interface(3, "tap1"), interface(4, "eth0")]));
    assert_eq!(host.diary(), [""; 0]);
    let confirmed = host.owner.confirm(Instant::now()).unwrap();
    assert_eq!((confirmed.revision, confirmed.confirm_until), (2, None));
    assert_eq!(host.diary(), ["publish 2: 3=1", "detach 2", "release 0"]);
    assert!(matches!(host.owner.confirm(Instant::now()), Err(Error::Conflict(_))));
}

#[test]
fn interfaces_that_come_while_a_change_waits_are_in_both_images() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.apply_until(&rules(&["tap*", "eth*"]), 60).unwrap();
    host.diary();
    host.owner.follow(view([interface(2, "tap0"), interface(3, "tap1"), interface(4, "eth0")]));
    let published = "publish 2: 2=0 3=1 4=2 until 2200 1: 2=0 3=1";
    assert_eq!(host.diary(), [published, "attach 3 Auto", "attach 4 Auto"]);
}

#[test]
fn at_the_deadline_the_previous_rules_are_a_fact() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.apply_until(&rules(&["tap1"]), 60).unwrap();
    host.diary();
    host.kernel().now = 2199;
    host.owner.expire();
    assert_eq!(host.diary(), [""; 0]);
    assert!(!host.rests());
    host.kernel().now = 2200;
    host.owner.expire();
    assert_eq!(host.diary(), ["publish 1: 2=0", "detach 3", "release 1"]);
    assert_eq!(host.stored(), (1, 2));
    assert!(host.rests());
    let states: Vec<_> = host.owner.history().into_iter().map(|entry| entry.state).collect();
    assert_eq!(states, ["current", "rolled_back"]);
    assert!(matches!(host.owner.confirm(Instant::now()), Err(Error::Conflict(_))));
    assert_eq!(host.apply(&rules(&["tap1"])).unwrap().revision, 3);
}

#[test]
fn a_rollback_is_a_revision_of_its_own() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    assert!(matches!(
        host.owner.roll_back(None, &Guard::default(), Instant::now()),
        Err(Error::Conflict(_))
    ));
    host.apply(&rules(&["tap0"])).unwrap();
    host.apply(&rules(&["tap1"])).unwrap();
    host.diary();
    let applied = host.owner.roll_back(None, &Guard::default(), Instant::now()).unwrap();
    assert_eq!((applied.revision, applied.changed), (3, true));
    assert_eq!(host.diary(), ["attach 2 Auto", "publish 3: 2=0", "detach 3", "release 1"]);
    assert_eq!(host.owner.history()[2].origin, "rollback to 1");
    let missing = host.owner.roll_back(Some(9), &Guard::default(), Instant::now()).unwrap_err();
    assert_eq!(missing.to_string(), "there is no revision 9");
}

#[test]
fn a_rollback_of_what_waits_takes_it_back() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply_until(&rules(&["tap0"]), 60).unwrap();
    host.diary();
    let elsewhere = host.owner.roll_back(Some(7), &Guard::default(), Instant::now()).unwrap_err();
    assert!(matches!(elsewhere, Error::Conflict(_)));
    let applied = host.owner.roll_back(None, &Guard::default(), Instant::now()).unwrap();
    assert_eq!((applied.revision, applied.confirm_until), (0, None));
    assert_eq!(host.diary(), ["publish 0:", "detach 2", "release 0"]);
    assert_eq!(host.stored(), (0, 1));
}

#[test]
fn a_restart_keeps_slots_and_publishes_before_it_attaches() {
    let interfaces = view([interface(2, "tap0"), interface(3, "tap1")]);
    let mut host = Fixture::new(interfaces.clone());
    host.apply(&rules(&["tap*"])).unwrap();
    host.apply_until(&rules(&["tap1"]), 60).unwrap();
    host.diary();
    host.kernel().now = 1500;
    // Slots as an earlier agent gave them, and an interface that is gone.
    host.kernel().inherit(2, &[(5, 3, 1600), (4, 2, 0), (9, 77, 0)]);
    host.restart(interfaces.clone());
    let published = "publish 2: 3=5 until 2200 1: 2=4 3=5";
    assert_eq!(
        host.diary(),
        [published, "attach 2 Auto", "attach 3 Auto", "detach 77", "release 9"]
    );
    assert_eq!(host.kernel().published[0].pickup, [(3, 1600)]);
    // Past the deadline the same state directory means the rules before.
    host.kernel().now = 2300;
    host.restart(interfaces);
    assert_eq!(host.diary()[0], "publish 1: 2=4 3=5");
    assert_eq!(host.stored(), (1, 2));
}

/// Died between the note of an interface's new slot and the release of the one it had before it was gone.
#[test]
fn of_two_slots_for_one_interface_the_later_is_kept() {
    let interfaces = view([interface(2, "tap0")]);
    let mut host = Fixture::new(interfaces.clone());
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    host.kernel().inherit(1, &[(0, 2, 0), (3, 2, 0)]);
    host.restart(interfaces);
    assert_eq!(host.diary(), ["release 0", "publish 1: 2=3", "attach 2 Auto"]);
}

/// An unconfirmed change to 60 s, then a boot `seconds` after it by the wall clock.
fn reboot_after(seconds: i64) -> Fixture {
    let interfaces = view([interface(2, "tap0"), interface(3, "tap1")]);
    let mut host = Fixture::new(interfaces.clone());
    host.apply(&rules(&["tap0"])).unwrap();
    host.apply_until(&rules(&["tap1"]), 60).unwrap();
    host.diary();
    host.boot_id = "another".to_owned();
    host.wall_clock = host.wall_clock.checked_add_signed(seconds).unwrap();
    host.kernel().attached.clear();
    // Ticks of another boot mean nothing: these are far past the deadline of the one before.
    host.kernel().now = 3_000_000;
    host.restart(interfaces);
    host
}

#[test]
fn a_reboot_keeps_the_deadline_by_the_wall_clock() {
    let mut host = reboot_after(20);
    let until = 3_000_000 + 40 * 20;
    let diary = host.diary();
    // The clock may have gone on by a second meanwhile.
    let published = diary[0].split(" until ").nth(1).unwrap();
    let tick: u32 = published.split(' ').next().unwrap().parse().unwrap();
    assert!((until - 40..=until).contains(&tick), "{diary:?}");
    // Another agent in that boot goes by its ticks, whatever the wall clock says.
    host.wall_clock += 1_000_000;
    host.restart(view([interface(2, "tap0"), interface(3, "tap1")]));
    assert!(host.owner.status().confirm_until.is_some());
    host.owner.seconds_pass(41);
    host.owner.wake();
    assert_eq!(host.stored(), (1, 2));
}

#[test]
fn a_reboot_past_the_deadline_brings_the_rules_before() {
    let mut host = reboot_after(60);
    assert_eq!(host.diary(), ["publish 1: 2=0", "attach 2 Auto"]);
    assert_eq!(host.stored(), (1, 2));
}

#[test]
fn a_wall_clock_from_before_the_change_extends_nothing() {
    let mut host = reboot_after(-3600);
    assert_eq!(host.diary(), ["publish 1: 2=0", "attach 2 Auto"]);
}

#[test]
fn a_failed_attachment_is_shown_and_tried_again() {
    let mut host = Fixture::new(View::new());
    host.apply(&rules(&["tap*"])).unwrap();
    host.kernel().broken.insert(2);
    host.owner.follow(view([interface(2, "tap0")]));
    let status = host.owner.status();
    assert_eq!(status.interfaces[0].datapath, "none");
    assert_eq!(status.interfaces[0].datapath_reason, "NOT filtered: no");
    assert!(!host.rests());
    host.diary();
    // It was a problem before: new rules need not wait for it.
    host.apply(&with_cut(&rules(&["tap*"]))).unwrap();
    host.kernel().broken.clear();
    host.diary();
    host.owner.wake();
    assert_eq!(host.diary(), ["attach 2 Auto"]);
    assert_eq!(host.owner.status().interfaces[0].datapath, "tcx");
    assert!(host.rests());
}

#[test]
fn an_interface_that_the_kernel_does_not_confirm_is_a_fault_and_is_attached_anew() {
    use crate::api::FilterState::{Fault, Filtered};
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.diary();
    let states = |host: &mut Fixture| -> Vec<_> {
        let interfaces = host.owner.status().interfaces;
        interfaces.into_iter().map(|interface| (interface.state, interface.fault)).collect()
    };
    host.kernel().lost.insert(3);
    // A question asks the kernel, but not more than once a second.
    assert_eq!(states(&mut host), [(Filtered, None), (Filtered, None)]);
    host.age_verification(2);
    assert_eq!(states(&mut host), [(Filtered, None), (Fault, Some("lost".to_owned()))]);
    assert!(!host.rests());
    host.owner.wake();
    assert_eq!(host.diary(), ["attach 3 Auto"]);
    assert_eq!(states(&mut host), [(Filtered, None), (Filtered, None)]);
    // Without a question after 10 s; one that is gone is not attached.
    host.kernel().lost.extend([2, 3]);
    host.kernel().gone.insert(2);
    host.owner.wake();
    assert_eq!(host.diary(), [""; 0]);
    host.owner.attach_limiter = AttachLimiter::new();
    host.age_verification(10);
    host.owner.wake();
    assert_eq!(host.diary(), ["attach 3 Auto"]);
    assert_eq!(host.owner.figures().verification.faults.get(), 2);
    // Nothing that others can replace is trusted, and attaching it anew would not help.
    host.kernel().lost.clear();
    host.kernel().distrust = Some("not ours".to_owned());
    host.age_verification(10);
    host.owner.wake();
    assert_eq!(host.diary(), [""; 0]);
    let fault = || (Fault, Some("not ours".to_owned()));
    assert_eq!(states(&mut host), [fault(), fault()]);
    host.kernel().distrust = None;
    host.age_verification(10);
    assert_eq!(states(&mut host), [(Filtered, None), (Filtered, None)]);
}

#[test]
fn a_device_whose_hooks_see_nothing_is_refused_by_name_and_a_fault_by_pattern() {
    let mut vrf = interface(2, "vrf0");
    vrf.1.device.kind = DeviceKind::Vrf;
    let mut host = Fixture::new(view([vrf, interface(3, "tap0")]));
    let error = host.apply(&rules(&["vrf0"])).unwrap_err().to_string();
    assert!(error.starts_with("cannot filter vrf0: packets of a VRF"), "{error}");
    assert_eq!(host.diary(), ["detach 2"]);
    let applied = host.apply(&rules(&["*"])).unwrap();
    assert_eq!(applied.interfaces, 1);
    let [warning] = &applied.warnings[..] else { panic!("{:?}", applied.warnings) };
    assert!(warning.starts_with("vrf0 is NOT filtered: packets of a VRF"), "{warning}");
    let shown = &host.owner.status().interfaces[1];
    assert_eq!((&*shown.name, shown.state), ("vrf0", api::FilterState::Fault));
}

#[test]
fn an_interface_that_the_rules_call_by_another_name_is_shown_as_unfiltered() {
    let mut eth0 = interface(2, "eth0");
    eth0.1.device.altnames = vec!["uplink".into()];
    let mut host = Fixture::new(view([eth0, interface(3, "tap0")]));
    let hint = "the rules call it \"uplink\"";
    let applied = host.apply(&rules(&["uplink", "tap0"])).unwrap();
    assert!(applied.warnings[0].starts_with(&format!("eth0: {hint}")), "{:?}", applied.warnings);
    let shown = &host.owner.status().interfaces[0];
    assert_eq!((&*shown.name, shown.state), ("eth0", api::FilterState::Unfiltered));
    assert!(shown.fault.as_ref().is_some_and(|fault| fault.starts_with(hint)));
    // One that has the name itself is meant.
    host.owner.follow(view([interface(2, "eth0"), interface(3, "tap0"), interface(4, "uplink")]));
    let applied = host.apply(&rules(&["uplink"])).unwrap();
    assert_eq!((applied.interfaces, applied.warnings.len()), (1, 0));
}

#[test]
fn an_inherited_interface_that_nothing_of_ours_is_on_is_a_new_one() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.kernel().inherit(1, &[(0, 2, 0), (1, 3, 0)]);
    host.kernel().attached.remove(&3);
    host.diary();
    host.restart(view([interface(2, "tap0"), interface(3, "tap1")]));
    let diary = host.diary();
    assert_eq!(diary[0], "publish 1: 2=0 3=2");
    assert!(diary.contains(&"release 1".to_owned()), "{diary:?}");
}

#[test]
fn of_a_crowd_most_are_attached_for_now_and_better_when_it_is_over() {
    let mut host = Fixture::new(View::new());
    host.apply(&rules(&["tap*"])).unwrap();
    host.diary();
    let crowd = (2..8).map(|ifindex| interface(ifindex, &format!("tap{ifindex}")));
    host.owner.follow(crowd.collect());
    let attached =
        ["2 Auto", "3 Auto", "4 Auto", "5 Auto for now", "6 Auto for now", "7 Auto for now"];
    assert_eq!(host.diary()[1..], attached.map(|which| format!("attach {which}")));
    assert_eq!(host.owner.status().interfaces[3].datapath, "tc");
    host.owner.wake();
    assert_eq!(host.diary(), [""; 0]);
    assert!(!host.rests());
    for ifindex in [5, 6] {
        host.owner.attach_limiter = AttachLimiter::new();
        host.owner.wake();
        assert_eq!(host.diary(), [format!("attach {ifindex} Auto")]);
    }
    assert_eq!(host.owner.status().interfaces[3].datapath, "tcx");
    // An interface that gets no better hook keeps the one it has; if that fails, `status` says so.
    host.kernel().broken.insert(7);
    host.owner.attach_limiter = AttachLimiter::new();
    host.owner.wake();
    assert_eq!(host.diary()[..2], ["attach 7 Auto", "attach 7 Auto for now"]);
    assert_eq!(host.owner.status().interfaces[5].datapath_reason, "NOT filtered: no");
    host.kernel().broken.clear();
    host.owner.attach_limiter = AttachLimiter::new();
    host.owner.wake();
    assert_eq!(host.owner.status().interfaces[5].datapath, "tcx");
    assert!(host.rests());
}

#[test]
fn slots_are_released_together_and_before_anybody_has_them() {
    let mut host =
        Fixture::new(view([interface(2, "tap2"), interface(3, "tap3"), interface(4, "tap4")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.owner.follow(view([interface(3, "tap3"), interface(4, "tap4")]));
    host.diary();
    // The next ones shortly after it wait.
    host.owner.follow(view([interface(4, "tap4")]));
    assert_eq!(host.diary(), ["publish 1: 4=2", "detach 3"]);
    assert!(!host.rests());
    let crowd = [interface(4, "tap4"), interface(7, "tap7"), interface(8, "tap8")];
    host.owner.follow(view(crowd.clone()));
    assert_eq!(host.diary()[0], "publish 1: 4=2 7=0 8=3");
    // An interface of the number that one of them is kept for.
    let again = Interface { generation: 99, ..interface(3, "tap3").1 };
    host.owner.follow(crowd.into_iter().chain([(3, again)]).collect());
    assert_eq!(host.diary()[..2], ["release 1", "publish 1: 3=1 4=2 7=0 8=3"]);
    // No slot but theirs.
    host.owner.options.max_interfaces = 4;
    host.owner.follow(view([interface(4, "tap4"), interface(9, "tap9")]));
    let diary = host.diary();
    assert_eq!(diary[diary.len() - 3..], ["release 0", "release 1", "release 3"]);
}

/// [`rules`] for tap0, and a port that is open.
fn with_port(port: u16) -> String {
    let rule =
        format!("ingress = [{{ protocol = \"tcp\", ports = {port}, cidrs = [\"10.0.0.0/8\"] }}]");
    rules(&["tap0"]).replace("name = \"web\"\n", &format!("name = \"web\"\n{rule}\n"))
}

/// Revision, whether it is a new one, and the one that was put in force instead; or what was said.
fn answers(answers: Vec<Result<api::Applied, Error>>) -> Vec<String> {
    let answer = |answer: Result<_, Error>| match answer {
        Ok(api::Applied { revision, changed: false, .. }) => format!("{revision} as it was"),
        Ok(api::Applied { revision, superseded_by: Some(newer), .. }) => {
            format!("{revision} by {newer}")
        }
        Ok(api::Applied { revision, .. }) => revision.to_string(),
        Err(error) => error.to_string(),
    };
    answers.into_iter().map(answer).collect()
}

#[test]
fn of_commands_in_a_batch_all_are_recorded_and_the_last_is_in_force() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&with_port(1)).unwrap();
    host.diary();
    let files = [2, 3, 4, 5].map(with_port);
    let done = host.apply_all(&files.each_ref().map(|text| (text.as_str(), None)));
    assert_eq!(answers(done), ["2 by 5", "3 by 5", "4 by 5", "5"]);
    assert_eq!(host.diary(), ["publish 5: 2=0"]);
    assert_eq!(host.stored(), (5, 5));
    assert_eq!(host.owner.history().len(), 5);
    for revision in 2..=5 {
        assert_eq!(host.owner.store.text(revision).unwrap(), files[revision as usize - 2]);
    }
    assert_eq!(
        host.owner.roll_back(Some(3), &Guard::default(), Instant::now()).unwrap().revision,
        6
    );
}

#[test]
fn in_a_batch_each_command_hears_what_becomes_of_its_own() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&with_port(1)).unwrap();
    host.diary();
    let [two, three] = [2, 3].map(with_port);
    let broken = rules(&[TOO_LARGE]);
    // The same again, and one that is refused.
    let said =
        answers(host.apply_all(&[(&two, None), (&two, None), (&broken, None), (&three, None)]));
    assert_eq!(said[..2], ["2", "2 as it was"]);
    assert!(said[2].ends_with("nothing was changed"), "{}", said[2]);
    assert_eq!(said[3], "3");
    assert_eq!(host.diary(), ["publish 2: 2=0", "publish 3: 2=0"]);
    // The last one is refused: the one before it is in force.
    let said = answers(host.apply_all(&[(&two, None), (&broken, None)]));
    assert_eq!((said[0].as_str(), host.stored().0), ("4", 4));
    host.diary();
    // A change that cuts, attaches or waits for its confirmation comes into force, if only for a
    // moment.
    let (cut, other) = (with_cut(&three), rules(&["tap1"]));
    let done = host.apply_all(&[(&cut, None), (&other, None), (&two, Some(60)), (&three, None)]);
    let said = answers(done);
    assert_eq!(said[..3], ["5", "6", "7"]);
    assert!(said[3].contains("waits to be confirmed"), "{}", said[3]);
    let published = host.diary();
    let published = published.iter().filter(|what| what.starts_with("publish")).count();
    assert_eq!(published, 3);
}

#[test]
fn interfaces_beyond_the_limit_are_said_or_refused() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.owner.options.max_interfaces = 1;
    let error = host.apply(&rules(&["tap*"])).unwrap_err();
    assert!(error.to_string().starts_with("no more than 1 interface can"), "{error}");
    host.apply(&rules(&["tap0", "tap9"])).unwrap();
    host.owner.follow(view([interface(2, "tap0"), interface(9, "tap9")]));
    let shown: Vec<_> =
        host.owner.status().interfaces.into_iter().map(|it| (it.name, it.datapath)).collect();
    assert_eq!(shown, [("tap0".into(), "tcx".into()), ("tap9".into(), "none".into())]);
    host.owner.follow(view([interface(9, "tap9")]));
    host.owner.wake();
    assert_eq!(host.owner.status().interfaces[0].datapath, "tcx");
}

#[test]
fn pickup_ends_with_the_next_change_and_a_flush_opens_it_anew() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap*"])).unwrap();
    // 30 s at 20 ticks a second.
    assert_eq!(host.kernel().last().pickup, [(2, 1600)]);
    host.owner.follow(view([interface(2, "tap0"), interface(3, "tap1")]));
    assert_eq!(host.kernel().last().pickup, [(2, 1600), (3, 1600)]);
    host.kernel().now = 1100;
    host.apply(&rules(&["tap*", "eth0"])).unwrap();
    assert_eq!(host.kernel().last().pickup, [(2, 0), (3, 0)]);
    host.owner.flush(&FlushRequest::default(), &[]).unwrap();
    assert_eq!(host.kernel().last().pickup, [(2, 1700), (3, 1700)]);
    assert_eq!(host.diary().pop().as_deref(), Some("flush"));
    let only = FlushRequest { interface: Some("tap0".into()), ..FlushRequest::default() };
    host.owner.flush(&only, &[]).unwrap();
    assert_eq!(host.diary(), ["flush"]);
}

#[test]
fn flows_are_rechecked_after_a_cut_and_never_with_keep() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap0"])).unwrap();
    assert_eq!(host.kernel().last().cut_since, [(2, None)]);
    host.apply_until(&with_cut(&rules(&["tap0"])), 60).unwrap();
    assert_eq!(host.kernel().last().cut_since, [(2, Some(1001))]);
    assert_eq!(host.kernel().last().fallback_cut_since, [(2, None)]);
    host.owner.confirm(Instant::now()).unwrap();
    host.kernel().now = 1200;
    host.apply_until(&rules(&["tap0", "tap1"]), 60).unwrap();
    assert_eq!(host.kernel().last().cut_since, [(2, None)]);
    assert_eq!(host.kernel().last().fallback_cut_since, [(2, Some(2400))]);
}

/// Flows that opened by the old rules, until the very flip, are judged by the new ones.
#[test]
fn flows_are_rechecked_from_the_flip_on_however_long_the_change_takes() {
    let mut host = Fixture::new(view([interface(2, "tap0"), interface(3, "tap1")]));
    host.apply(&with_cut(&rules(&["tap0"]))).unwrap();
    host.kernel().attaching_takes = 500;
    host.apply(&with_cut(&rules(&["tap0", "tap1"]))).unwrap();
    assert_eq!(host.kernel().last().cut_since, [(2, Some(1501)), (3, Some(1501))]);
}

fn flow(dport: u16, seen: u32) -> FlowEntry {
    FlowEntry {
        slot: 0,
        protocol: sg_common::flow::TCP,
        direction: Direction::Ingress,
        src: "192.0.2.1".parse().unwrap(),
        dst: "10.0.0.1".parse().unwrap(),
        sport: 40000,
        dport,
        state: "established",
        timeout: Timeout::TcpOpening,
        seen,
        packets: 1,
        bytes: 60,
    }
}

/// At tick 3000: live; live; idled out after 60 s; of a slot that is nobody's.
fn flows() -> Vec<FlowEntry> {
    let of_nobody = FlowEntry { slot: 9, ..flow(22, 2999) };
    vec![flow(443, 2999), flow(22, 2999), flow(22, 1000), of_nobody]
}

#[test]
fn denied_flows_are_cut_where_they_match() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.kernel().now = 3000;
    host.kernel().flows = flows();
    host.diary();
    let denied = FlushRequest { denied: true, ..FlushRequest::default() };
    assert_eq!(host.owner.flush(&denied, &[]).unwrap().flows, 3);
    let narrow = FlushRequest { interface: Some("tap0".into()), ..denied };
    assert_eq!(host.owner.flush(&narrow, &[]).unwrap().flows, 2);
    // The rules are the same: nothing is published.
    assert_eq!(host.diary(), [""; 0]);
    let wrong = FlushRequest { src: Some("nowhere".into()), ..FlushRequest::default() };
    assert!(matches!(host.owner.flush(&wrong, &[]), Err(Error::Request(_))));
}

#[test]
fn flows_are_shown_until_they_have_idled_out() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap0"])).unwrap();
    host.kernel().now = 3000;
    host.kernel().flows = flows();
    assert_eq!(host.owner.status().interfaces[0].flows.used, 2);
    let shown = host.owner.flows(Some("tap0"), crate::datapath::FlowCursor::START).unwrap().flows;
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].dport, shown[0].idle_s, shown[0].expires_s), (443, 0, 59));
}

#[test]
fn an_interface_that_cannot_be_compiled_for_is_shown() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.kernel().refuses_images = true;
    host.owner.follow(view([interface(2, "tap0"), interface(3, "tap1")]));
    let status = host.owner.status();
    let shown = status.interfaces.iter().find(|shown| shown.name == "tap1").unwrap();
    assert!(shown.datapath_reason.contains("NOT filtered: publishing"), "{shown:?}");
}

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().unwrap()
}

/// `eth0` with an address; the kernel has a socket that connected out and one that was accepted.
fn busy_host() -> Fixture {
    let mut eth0 = interface(2, "eth0");
    eth0.1.addresses.insert("10.0.0.1".parse().unwrap());
    let host = Fixture::new(view([eth0, interface(3, "tap0")]));
    let socket = |local, remote| Socket {
        protocol: sg_common::flow::TCP,
        local: address(local),
        remote: address(remote),
        phase: Phase::Established,
        interface: 0,
    };
    let connected = vec![
        socket("10.0.0.1:40000", "192.0.2.1:443"),
        socket("10.0.0.1:22", "192.0.2.2:50000"),
        // A service address of no filtered interface, the host to itself, and loopback.
        socket("10.7.7.7:40001", "192.0.2.3:443"),
        socket("10.0.0.1:40002", "10.0.0.1:443"),
        socket("127.0.0.1:40003", "192.0.2.3:443"),
    ];
    let listening = [(sg_common::flow::TCP, address("[::]:22"))];
    host.kernel().sockets = Sockets::of(connected, &listening);
    host
}

/// Slot, direction, local and remote end.
fn seeded(host: &Fixture) -> Vec<String> {
    let kernel = host.kernel();
    let text = |seed: &crate::datapath::AdoptedConnection| {
        let crate::datapath::Opening { slot, direction, local, remote, .. } = seed.opening;
        format!("{slot} {direction:?} {local} {remote}")
    };
    kernel.adopted.iter().map(text).collect()
}

#[test]
fn a_first_filter_takes_the_host_s_own_connections_in() {
    let mut host = busy_host();
    host.apply(&rules(&["eth0"])).unwrap();
    let expected = [
        "0 Egress 10.0.0.1:40000 192.0.2.1:443",
        "0 Ingress 10.0.0.1:22 192.0.2.2:50000",
        "0 Egress 10.7.7.7:40001 192.0.2.3:443",
    ];
    assert_eq!(seeded(&host), expected);
    // Only the first time.
    host.kernel().adopted.clear();
    host.apply(&with_cut(&rules(&["eth0"]))).unwrap();
    assert_eq!(seeded(&host), [""; 0]);
    // A connection whose address is on a filtered interface is no other interface's.
    host.apply(&with_cut(&rules(&["eth0", "tap0"]))).unwrap();
    assert_eq!(seeded(&host), ["1 Egress 10.7.7.7:40001 192.0.2.3:443"]);
}

#[test]
fn a_failed_change_leaves_no_seeds() {
    let mut host = busy_host();
    host.kernel().refuses_images = true;
    host.diary();
    host.apply(&rules(&["eth0"])).unwrap_err();
    assert_eq!(host.diary(), ["attach 2 Auto", "publish 1: 2=0", "release 0", "detach 2"]);
}

/// Ends of the opener's packets, and of the answers, each before any NAT.
fn tracked(original: [&str; 2], reply: [&str; 2]) -> Tracked {
    Tracked {
        protocol: sg_common::flow::TCP,
        original: (address(original[0]), address(original[1])),
        reply: (address(reply[0]), address(reply[1])),
        phase: Phase::Established,
        is_whole: true,
    }
}

#[test]
fn a_first_filter_takes_what_a_host_forwards_from_conntrack() {
    let mut host = busy_host();
    host.kernel().sockets = Sockets::default();
    host.kernel().tracked = vec![
        // A container behind masquerade, and a port that is published for one.
        tracked(["10.88.0.5:41000", "192.0.2.1:443"], ["192.0.2.1:443", "10.0.0.1:7000"]),
        tracked(["192.0.2.2:50000", "10.0.0.1:8080"], ["10.88.0.5:80", "192.0.2.2:50000"]),
    ];
    host.apply(&rules(&["eth0"])).unwrap();
    let seeded = seeded(&host);
    for expected in
        ["0 Egress 10.0.0.1:7000 192.0.2.1:443", "0 Ingress 10.0.0.1:8080 192.0.2.2:50000"]
    {
        assert!(seeded.iter().any(|seed| seed == expected), "{seeded:?}");
    }
}

/// The surest witness of who opened a connection counts: whoever listens, then conntrack, then the ports.
#[test]
fn who_opened_a_connection_is_told_by_the_surest_witness() {
    let socket = |local, remote| Socket {
        protocol: sg_common::flow::TCP,
        local: address(local),
        remote: address(remote),
        phase: Phase::Established,
        interface: 0,
    };
    let from_the_middle = |original, reply| Tracked { is_whole: false, ..tracked(original, reply) };
    let listens = [(sg_common::flow::TCP, address("0.0.0.0:22"))];
    let accepted = socket("10.0.0.1:22", "192.0.2.2:50000");
    let orphan = socket("10.0.0.1:2200", "192.0.2.2:50001");
    let low = socket("10.0.0.1:700", "192.0.2.2:2049");
    let both = |ends: &str| vec![format!("0 Ingress {ends}"), format!("0 Egress {ends}")];
    let one = |text: &str| vec![text.to_owned()];
    for (connected, listening, tracked, expected) in [
        // Conntrack was loaded when the server had just spoken: it has the ends the wrong way round.
        (
            vec![accepted],
            &listens[..],
            vec![from_the_middle(
                ["10.0.0.1:22", "192.0.2.2:50000"],
                ["192.0.2.2:50000", "10.0.0.1:22"],
            )],
            one("0 Ingress 10.0.0.1:22 192.0.2.2:50000"),
        ),
        // Its server has ended.
        (vec![orphan], &[], vec![], one("0 Ingress 10.0.0.1:2200 192.0.2.2:50001")),
        (vec![low], &[], vec![], both("10.0.0.1:700 192.0.2.2:2049")),
        (
            vec![low],
            &[],
            vec![tracked(["10.0.0.1:700", "192.0.2.2:2049"], ["192.0.2.2:2049", "10.0.0.1:700"])],
            one("0 Egress 10.0.0.1:700 192.0.2.2:2049"),
        ),
        // A redirection: the wire has another port than the socket.
        (
            vec![accepted],
            &listens[..],
            vec![tracked(["192.0.2.2:50000", "10.0.0.1:2222"], ["10.0.0.1:22", "192.0.2.2:50000"])],
            one("0 Ingress 10.0.0.1:2222 192.0.2.2:50000"),
        ),
    ] {
        let mut host = busy_host();
        host.kernel().sockets = Sockets::of(connected, listening);
        host.kernel().tracked = tracked;
        host.apply(&rules(&["eth0"])).unwrap();
        assert_eq!(seeded(&host), expected);
    }
}

#[test]
fn a_first_filter_takes_a_port_s_connections_from_conntrack() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    host.kernel().tracked = vec![
        // Masqueraded on its way out; forwarded in to another port; somebody else's.
        tracked(["10.0.0.5:1000", "192.0.2.1:443"], ["192.0.2.1:443", "203.0.113.1:7"]),
        tracked(["192.0.2.2:5", "203.0.113.1:8080"], ["10.0.0.5:80", "192.0.2.2:5"]),
        tracked(["10.0.0.6:1", "192.0.2.1:443"], ["192.0.2.1:443", "10.0.0.6:1"]),
    ];
    let port = "[[security_group]]\nname = \"web\"\n[[interface]]\nname = \"tap0\"\n\
                role = \"port\"\naddresses = [\"10.0.0.5\"]\ngroups = [\"web\"]\n";
    host.apply(port).unwrap();
    let expected = ["0 Egress 10.0.0.5:1000 192.0.2.1:443", "0 Ingress 10.0.0.5:80 192.0.2.2:5"];
    assert_eq!(seeded(&host), expected);
}

#[test]
fn what_leaves_no_interface_filtered_is_refused() {
    let mut host = Fixture::new(view([interface(2, "eth0"), interface(3, "tap0")]));
    let guard = Guard { keeps_filtering: true, ..Guard::default() };
    let refused = |host: &mut Fixture, text: &str| refused(host, text, &guard);
    // Nothing is filtered yet.
    assert_eq!(refused(&mut host, ""), "");
    host.apply(&rules(&["eth0", "tap0"])).unwrap();
    let all = "the new rules would leave no interface filtered; filtered now: eth0, tap0; nothing was \
               changed. `--confirm SECONDS` goes back by itself, `--force` does it all the same";
    // An empty file, and an entry for an interface that is not there.
    for text in ["", &rules(&["eth7"])] {
        assert_eq!(refused(&mut host, text), all);
    }
    // One stays, or the same one under other rules.
    for text in [rules(&["tap0"]), with_port(1)] {
        assert_eq!(refused(&mut host, &text), "");
    }
    host.apply("").unwrap();
    host.apply(&rules(&["tap0"])).unwrap();
    let back = said(host.owner.roll_back(Some(2), &guard, Instant::now()));
    let expected = "the rules of revision 2 would leave no interface filtered; filtered now: tap0; \
                    nothing was changed. `--force` does it all the same";
    assert_eq!(back, expected);
    assert_eq!(host.stored(), (3, 3));
    assert_eq!(said(host.owner.roll_back(Some(1), &guard, Instant::now())), "");

    let mut host = Fixture::new(view([interface(2, "eth0")]));
    host.apply_until(&rules(&["eth0"]), 60).unwrap();
    // An unconfirmed change goes back by itself: nobody asks.
    assert_eq!(said(host.owner.roll_back(None, &guard, Instant::now())), "");
    assert_eq!(refused(&mut host, ""), "");
}

#[test]
fn many_interfaces_are_counted_in_a_refusal() {
    let names: Vec<String> = (0..7).map(|number| format!("tap{number}")).collect();
    let links = (2..).zip(&names).map(|(ifindex, name)| interface(ifindex, name));
    let mut host = Fixture::new(links.collect());
    host.apply(&rules(&["tap*"])).unwrap();
    let guard = Guard { keeps_filtering: true, ..Guard::default() };
    let refused = refused(&mut host, "", &guard);
    assert!(
        refused.contains("filtered now: tap0, tap1, tap2, tap3, tap4 and 2 more;"),
        "{refused}"
    );
}

fn session(port: u16) -> Located {
    let client = address("192.0.2.9:50000");
    let server = std::net::SocketAddr::new("10.0.0.1".parse().unwrap(), port);
    let carrier = Carrier {
        protocol: sg_common::flow::TCP,
        source: client,
        destination: server,
        comes: true,
        tunnel: None,
        interfaces: vec![2],
    };
    Located { session: Session { client, server }, carriers: vec![carrier], unknown: None }
}

/// The refusal for the one who guards this, if these rules came next; "" if there is none.
#[track_caller]
fn refused(host: &mut Fixture, text: &str, guard: &Guard) -> String {
    let state = sg_policy::parse("rules.toml", text.as_bytes()).unwrap();
    if sg_policy::plan::is_same(host.owner.rules(), &state) {
        return String::new();
    }
    let number = host.owner.store.next_revision();
    let active = Revision { number, state: state.into(), file: None };
    let next = host.owner.prepare(Target { active, pending: None }, Cause::Apply).unwrap();
    said(host.owner.refuse_unasked(&next, Origin::Command, guard))
}

#[track_caller]
fn harm_to(host: &mut Fixture, text: &str, located: &Located) -> String {
    refused(host, text, &Guard { sessions: vec![located.clone()], ..Guard::default() })
}

/// The harm to a session on this port if these rules came next; "" if none.
#[track_caller]
fn harm(host: &mut Fixture, text: &str, port: u16) -> String {
    harm_to(host, text, &session(port))
}

#[track_caller]
fn said<T>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(_) => String::new(),
        Err(Error::Conflict(text)) => text,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_session_s_tunnel_has_to_get_through() {
    let mut host = Fixture::new(view([interface(2, "eth0"), interface(3, "vx7")]));
    let inner = session(443);
    let outer = |port, comes| {
        let (far, near) = (address("192.0.2.9:49152"), address("10.0.0.1:49152"));
        let at = |mut end: std::net::SocketAddr, port| {
            end.set_port(port);
            end
        };
        let (source, destination) =
            if comes { (far, at(near, port)) } else { (near, at(far, port)) };
        Carrier {
            protocol: sg_common::flow::UDP,
            source,
            destination,
            comes,
            tunnel: Some("vx7".to_owned()),
            interfaces: vec![2],
        }
    };
    let through = |carrier| Located { carriers: vec![carrier], ..inner.clone() };
    let all = rules(&["eth0"]);
    let refused = harm_to(&mut host, &all, &through(outer(4789, true)));
    assert!(
        refused.contains("(192.0.2.9:50000), which comes through vx7: none allows UDP port 4789 from 192.0.2.9 on eth0"),
        "{refused}"
    );
    let refused = harm_to(&mut host, &all, &through(outer(4789, false)));
    assert!(refused.contains("none allows UDP port 4789 to 192.0.2.9 on eth0"), "{refused}");
    for comes in [true, false] {
        assert_eq!(harm_to(&mut host, &all, &through(outer(443, comes))), "");
    }
    // Where the rules in force deny it, too, it lives without their help.
    host.apply(&all).unwrap();
    let other = rules(&["eth0", "vx7"]);
    assert_eq!(harm_to(&mut host, &other, &through(outer(4789, true))), "");
    // A flow tells where it comes, whatever the routes say.
    let elsewhere = Carrier { interfaces: vec![3], ..session(22).carriers[0].clone() };
    let located = Located { carriers: vec![elsewhere], ..session(22) };
    assert_eq!(harm_to(&mut host, &with_cut(&all), &located), "");
    host.kernel().flows = vec![flow_of(&session(22))];
    assert!(harm_to(&mut host, &with_cut(&all), &located).contains("port 22 on eth0"));
}

#[test]
fn what_cannot_be_known_of_a_session_is_said() {
    let mut host = Fixture::new(view([interface(2, "eth0"), interface(3, "vpn0")]));
    let unknown = Unknown { why: "it comes through vpn0".into(), interface: Some("vpn0".into()) };
    let located = Located { carriers: Vec::new(), unknown: Some(unknown), ..session(443) };
    let refused = harm_to(&mut host, &rules(&["eth0"]), &located);
    let expected = "whether the new rules would cut this SSH session (192.0.2.9:50000) cannot be known: \
                    it comes through vpn0; nothing was changed. `--confirm SECONDS` goes back by \
                    itself, `--force` does it all the same";
    assert_eq!(refused, expected);
    // The agent knows all of the tunnel itself. A change that reaches no other interface does not matter either.
    assert_eq!(harm_to(&mut host, &rules(&["vpn0"]), &located), "");
    host.apply(&rules(&["eth0"])).unwrap();
    assert_eq!(harm_to(&mut host, &rules(&["eth0", "vpn0"]), &located), "");
    assert_eq!(harm_to(&mut host, &with_cut(&rules(&["eth0"])), &located), expected);
    let more = format!("{}[[security_group]]\nname = \"unused\"\n", rules(&["eth0"]));
    assert_eq!(harm_to(&mut host, &more, &located), "");
    host.apply("").unwrap();
    assert_eq!(harm_to(&mut host, &rules(&["eth7"]), &located), "");
}

/// Its flow at the first interface.
fn flow_of(session: &Located) -> FlowEntry {
    let Session { client, server } = session.session;
    let ends = flow(server.port(), 1000);
    let timeout = Timeout::TcpEstablished;
    FlowEntry { src: client.ip(), sport: client.port(), dst: server.ip(), timeout, ..ends }
}

#[test]
fn a_change_says_what_it_would_do_to_a_session() {
    let mut host = Fixture::new(view([interface(2, "eth0"), interface(3, "tap0")]));
    let all = rules(&["eth0"]);
    // An interface that is filtered for the first time.
    assert!(harm(&mut host, &all, 22).contains("would cut this SSH session (192.0.2.9:50000)"));
    assert!(harm(&mut host, &all, 22).contains("none allows 192.0.2.9 TCP port 22 on eth0"));
    assert_eq!(harm(&mut host, &all, 443), "");
    assert_eq!(harm(&mut host, &rules(&["tap0"]), 22), "");

    host.apply(&all).unwrap();
    let other = rules(&["eth0", "tap0"]);
    assert_eq!(harm(&mut host, &all, 22), "", "it changes nothing");
    assert_eq!(harm(&mut host, &other, 80), "");
    host.kernel().open_to_all = Some(1);
    assert!(harm(&mut host, &other, 443).contains("its connections have no flows"));
    assert!(harm(&mut host, &other, 443).contains("--confirm"));
    // By rules that track it, it would have a flow if it went on.
    host.kernel().open_to_all = None;
    assert_eq!(harm(&mut host, &other, 443), "");
    assert!(harm(&mut host, &other, 22).contains("would cut"));
    let flow = |port| flow_of(&session(port));
    host.kernel().flows = vec![flow(22), flow(443)];
    host.kernel().open_to_all = Some(1);
    assert_eq!(harm(&mut host, &other, 443), "");
    assert!(harm(&mut host, &other, 22).contains("would go on"));
    assert!(harm(&mut host, &with_cut(&other), 22).contains("would cut"));
    host.kernel().open_to_all = None;
    let cut = |port| FlowEntry { state: "cut", ..flow(port) };
    host.kernel().flows = vec![cut(22), cut(443)];
    assert!(harm(&mut host, &other, 22).contains("would cut"));
    // The way back in.
    assert_eq!(harm(&mut host, &other, 443), "");
    // The agent's own interfaces are as they were.
    assert_eq!(host.stored(), (1, 1));
}

#[test]
fn a_rollback_says_what_it_would_do_to_a_session() {
    let mut host = Fixture::new(view([interface(2, "eth0"), interface(3, "tap0")]));
    host.apply(&rules(&["eth0"])).unwrap();
    host.apply(&rules(&["tap0"])).unwrap();
    let rollback = |host: &mut Fixture, revision, port| {
        let guard = Guard { sessions: vec![session(port)], ..Guard::default() };
        said(host.owner.roll_back(revision, &guard, Instant::now()))
    };
    let refused = rollback(&mut host, None, 22);
    assert!(refused.starts_with("the rules of revision 1 would cut this SSH session"), "{refused}");
    // It cannot be confirmed.
    assert!(refused.ends_with("nothing was changed. `--force` does it all the same"), "{refused}");
    assert_eq!(rollback(&mut host, Some(1), 22), refused);
    assert_eq!(host.stored(), (2, 2));
    assert_eq!(rollback(&mut host, None, 443), "");
    assert_eq!(host.stored(), (3, 3));

    // Revision 4 waits to be confirmed, and left eth0 unfiltered: connections since have no flows.
    host.apply_until(&rules(&["tap0"]), 60).unwrap();
    assert!(rollback(&mut host, None, 443).contains("its connections have no flows"));
    assert!(rollback(&mut host, Some(3), 22).contains("the rules of revision 3 would cut"));
    assert_eq!(host.stored(), (4, 4));
    // Nobody is asked at the deadline.
    host.owner.seconds_pass(60);
    host.owner.wake();
    assert_eq!(host.stored(), (3, 4));
}

#[test]
fn a_flush_says_what_it_would_do_to_a_session() {
    let mut host = Fixture::new(view([interface(2, "eth0")]));
    host.apply(&rules(&["eth0"])).unwrap();
    host.kernel().flows = vec![flow_of(&session(22)), flow_of(&session(443))];
    let flush = |host: &mut Fixture, request: &FlushRequest, port| {
        let said = said(host.owner.flush(request, &[session(port)]));
        assert!(!said.contains("--confirm"), "{said}");
        said.contains("would cut this SSH session (192.0.2.9:50000), whose flow on eth0")
    };
    let denied = FlushRequest { denied: true, ..FlushRequest::default() };
    assert!(flush(&mut host, &denied, 22));
    assert!(!flush(&mut host, &denied, 443));
    // The client's other session; another interface's flow; another flow.
    assert!(!flush(&mut host, &denied, 23));
    let other = FlushRequest { dport: Some(23), ..denied.clone() };
    assert!(!flush(&mut host, &other, 22));
    host.kernel().flows[0].slot = 1;
    assert!(!flush(&mut host, &denied, 22));
    host.kernel().flows[0].slot = 0;

    // A forgotten flow goes on where pickup allows it: by all rules until 1600, later only if all
    // is flushed.
    let some = FlushRequest { protocol: Some("tcp".into()), ..FlushRequest::default() };
    assert!(flush(&mut host, &some, 22));
    assert!(!flush(&mut host, &some, 443));
    host.kernel().now = 1600;
    assert!(flush(&mut host, &some, 443));
    assert!(flush(&mut host, &FlushRequest::default(), 22));
    assert!(!flush(&mut host, &FlushRequest::default(), 443));
}

#[test]
fn a_port_s_session_is_one_that_its_instance_opens() {
    let mut host = Fixture::new(view([interface(2, "tap0")]));
    let port = |address: &str| {
        format!(
            "[[security_group]]\nname = \"web\"\n[[interface]]\nname = \"tap0\"\n\
             role = \"port\"\naddresses = [\"{address}\"]\ngroups = [\"web\"]\n"
        )
    };
    assert_eq!(harm(&mut host, &port("192.0.2.9"), 443), "");
    assert!(harm(&mut host, &port("192.0.2.9"), 22).contains("would cut"));
    // The source check drops what comes from an address that is not the instance's.
    assert!(harm(&mut host, &port("192.0.2.8"), 443).contains("would cut"));
}

#[test]
fn a_scrape_asks_the_kernel_for_what_it_shows() {
    let mut host =
        Fixture::new(view([interface(2, "tap0"), interface(3, "tap1"), interface(4, "eth0")]));
    host.apply(&rules(&["tap*"])).unwrap();
    host.kernel().asked.take();
    let figures = host.owner.figures();
    assert_eq!(figures.status.interfaces.len(), 2);
    let asked = [("capacity", 2), ("counters", 2), ("for_each_flow", 1)];
    assert_eq!(host.kernel().asked.take(), asked.into());
    // They are for `status` to show.
    host.owner.status();
    assert_eq!(host.kernel().asked.take()["foreign_programs"], 1);
}

/// The image that the lock-out check asks is the one that comes into force.
#[test]
fn a_change_is_compiled_once() {
    let mut host = Fixture::new(view([interface(2, "eth0")]));
    host.apply(&with_port(443)).unwrap();
    fake::compiled();
    let mut command = fake::command(&with_port(444).replace("tap0", "eth0"), None);
    command.actor.guard.sessions = vec![session(443)];
    host.owner.execute(command, Instant::now()).unwrap();
    assert_eq!(fake::compiled(), 1);
    // A session that has no flow, by rules that are to track it: the image in force says that it needs none.
    host.kernel().open_to_all = Some(2);
    let mut command = fake::command(&with_port(445).replace("tap0", "eth0"), None);
    command.actor.guard.sessions = vec![session(443)];
    let refused = said(host.owner.execute(command, Instant::now()));
    assert!(refused.contains("its connections have no flows"), "{refused}");
    assert_eq!(fake::compiled(), 1);
    // And what a flush would end.
    host.kernel().flows = vec![flow_of(&session(22))];
    let denied = FlushRequest { denied: true, ..FlushRequest::default() };
    assert!(!said(host.owner.flush(&denied, &[session(22)])).is_empty());
    host.owner.flush(&denied, &[]).unwrap();
    assert_eq!(fake::compiled(), 0);
    // Three commands that wait together are compiled once each.
    let files = [1, 2, 3].map(with_port);
    host.apply_all(&files.each_ref().map(|text| (text.as_str(), None)));
    assert_eq!(fake::compiled(), 3);
}

fn edits(edits: Vec<Edit>, expected_revision: Option<u64>) -> Command {
    let actor = Actor { name: "test".to_owned(), guard: Guard::default() };
    Command { actor, change: Change::Edit(edits), confirm: None, expected_revision }
}

#[test]
fn edits_are_a_revision_that_a_restart_reads() {
    let interfaces = view([interface(2, "tap0"), interface(3, "tap1")]);
    let mut host = Fixture::new(interfaces.clone());
    host.apply(&rules(&["tap0"])).unwrap();
    host.diary();
    let entry =
        model::Interface { name: "tap1".to_owned(), ..host.owner.rules().interfaces[0].clone() };
    let command = edits(vec![Edit::PutInterface(entry)], Some(1));
    assert_eq!(command, command.clone());
    assert!(format!("{command:?}").contains("tap1"));
    assert_eq!(host.owner.execute(command.clone(), Instant::now()).unwrap().revision, 2);
    assert_eq!(host.diary(), ["attach 3 Auto", "publish 2: 2=0 3=1"]);
    // It was made for a state that is not there any more.
    let stale = said(host.owner.execute(command, Instant::now()));
    assert_eq!(stale, "revision 2 is in force, not 1");
    let wrong = edits(vec![Edit::RemoveInterface { name: "tap9".to_owned() }], None);
    assert_eq!(said(host.owner.execute(wrong, Instant::now())), "there is no interface \"tap9\"");
    let before = host.owner.present().state.clone();
    assert_eq!(host.stored(), (2, 2));
    host.restart(interfaces);
    assert_eq!(host.owner.present().state, before);
    assert_eq!(host.owner.history()[1].origin, "test");
    // A file comes after it as after any other.
    assert_eq!(host.apply(&rules(&["tap1"])).unwrap().revision, 3);
    assert_eq!(host.owner.roll_back(None, &Guard::default(), Instant::now()).unwrap().revision, 4);
    assert_eq!(host.owner.present().state, before);
}

/// Ids, account and VPC of a group come from the control plane's store, and two accounts have a group of
/// one name.
#[test]
fn a_state_that_no_file_can_say_is_read_by_a_restart() {
    let interfaces = view([interface(2, "tap0")]);
    let mut host = Fixture::new(interfaces.clone());
    host.apply(&rules(&["tap0"])).unwrap();
    let group = |account, id| {
        let peer = Peer::Group(GroupId(7));
        let services = Services::Tcp(PortRange { from: 22, to: 22 });
        SecurityGroup {
            id: GroupId(id),
            scope: Scope { account: AccountId(account), vpc: VpcId(0x1b) },
            ingress: vec![Rule { id: RuleId(id), services, peer, description: String::new() }],
            ..SecurityGroup::named("default")
        }
    };
    let command = edits(
        vec![
            Edit::AddGroup(group(111_122_223_333, 7)),
            Edit::AddGroup(group(444_455_556_666, 8)),
            Edit::SetGroups { interface: "tap0".to_owned(), groups: vec![GroupId(8)] },
        ],
        None,
    );
    assert_eq!(host.owner.execute(command, Instant::now()).unwrap().revision, 2);
    let before = host.owner.present().state.clone();
    assert_eq!(before.groups.len(), 3);
    host.diary();
    host.restart(interfaces.clone());
    assert_eq!(host.owner.present().state, before);
    assert_eq!(host.diary(), ["publish 2: 2=0", "attach 2 Auto"]);
    // As a whole, too, and with a deadline.
    let replacement = Replacement::state(
        before.edited(&[Edit::RemoveGroup(GroupId::of_name("web"))]).unwrap().into(),
    );
    let change = Change::Replace(replacement);
    let command = Command { change, confirm: Some(60), ..edits(Vec::new(), Some(2)) };
    assert_eq!(host.owner.execute(command, Instant::now()).unwrap().revision, 3);
    host.restart(interfaces);
    assert_eq!(host.owner.present().state.groups.len(), 2);
    host.owner.seconds_pass(60);
    host.owner.wake();
    assert_eq!((host.owner.present().number, &host.owner.present().state), (2, &before));
}
