//! Changes that must be confirmed, and the way back.

use std::{
    thread,
    time::{Duration, Instant},
};

use sg_api::{Applied, Revision};
use sg_tests::{V4, World, matrix, probe::tcp};

/// The remote network on this TCP port.
fn web(port: u16) -> String {
    format!(
        r#"
        [[security_group]]
        name = "web"
        ingress = [{{ protocol = "tcp", ports = {port}, cidrs = ["10.9.0.0/24"] }}]
        "#
    )
}

/// Asserts which of the two ports is open.
#[track_caller]
fn only(world: &World, port: u16) {
    for each in [80, 81] {
        if each == port {
            tcp::passes(&world.remote, V4.remote, V4.instance_port(each));
        } else {
            tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(each));
        }
    }
}

/// Port 80 for good, then 81 for `seconds`; when the change was made.
fn change_for(world: &World, seconds: &str) -> Instant {
    world.apply(&["web"], &web(80));
    let started = Instant::now();
    let applied = world.ctl().apply(&world.rules(&["web"], &web(81)), &["--confirm", seconds]);
    assert!(applied.confirm_until.is_some(), "{applied:?}");
    started
}

fn sleep_until(started: Instant, after: Duration) {
    thread::sleep((started + after).saturating_duration_since(Instant::now()));
}

/// The agent and all that is pinned are gone, and the kernel is another one's.
fn reboot(world: &mut World) {
    world.agent.kill();
    world.agent.reboot();
}

matrix! {
    /// Without `sgctl confirm` the old rules are back in time, for good.
    fn unconfirmed_goes_back(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "4");
        only(world, 81);
        sleep_until(started, Duration::from_millis(5500));
        only(world, 80);
        assert_eq!(world.ctl().status().confirm_until, None);
        let history: Vec<Revision> = world.ctl().json(&["history"]);
        assert!(history.iter().any(|entry| entry.state == "rolled_back"), "{history:#?}");
        world.agent.kill();
        world.agent.restart();
        only(world, 80);
    }

    /// The data path goes back by itself: the agent may be dead by then and stay so.
    fn unconfirmed_goes_back_without_the_agent(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "4");
        world.agent.kill();
        only(world, 81);
        sleep_until(started, Duration::from_millis(5500));
        only(world, 80);
        world.agent.restart();
        only(world, 80);
        let exported = world.ctl().run(&["export"]).expect(0).stdout;
        assert!(exported.contains("80") && !exported.contains("81"), "{exported}");
        assert_eq!(world.ctl().status().confirm_until, None);
    }

    /// An agent that dies and is back in time still knows the deadline.
    fn restart_keeps_the_deadline(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "5");
        world.agent.kill();
        world.agent.restart();
        assert!(world.ctl().status().confirm_until.is_some());
        only(world, 81);
        sleep_until(started, Duration::from_millis(6500));
        only(world, 80);
    }

    /// Another boot: nothing is pinned, and the deadline holds by the wall clock.
    fn reboot_keeps_the_deadline(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "8");
        reboot(world);
        world.agent.restart();
        only(world, 81);
        assert!(world.ctl().status().confirm_until.is_some());
        sleep_until(started, Duration::from_millis(10_500));
        only(world, 80);
    }

    /// The deadline passes while the machine is down: it comes up with the rules before.
    fn reboot_past_the_deadline(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "2");
        reboot(world);
        sleep_until(started, Duration::from_millis(3500));
        world.agent.restart();
        only(world, 80);
        assert_eq!(world.ctl().status().confirm_until, None);
    }

    /// A confirmed change stays.
    fn confirmed_stays(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let started = change_for(world, "3");
        let confirmed = world.ctl().run(&["confirm"]).expect(0).stdout;
        assert_eq!(confirmed, "confirmed: revision 2 is in force on 1 interface\n");
        assert_eq!(world.ctl().status().confirm_until, None);
        sleep_until(started, Duration::from_millis(4500));
        only(world, 81);
        world.ctl().run(&["confirm"]).expect(1);
    }

    /// `rollback` puts an earlier revision in force, and is itself a revision.
    fn rollback(world) {
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        let first = world.apply(&["web"], &web(80));
        let second = world.apply(&["web"], &web(81));
        let back: Applied = world.ctl().json(&["rollback"]);
        assert!(back.changed && back.revision > second.revision, "{back:?}");
        only(world, 80);
        let number = second.revision.to_string();
        world.ctl().json::<Applied>(&["rollback", &number]);
        only(world, 81);
        world.ctl().run(&["rollback", "999999"]).expect(1);
        only(world, 81);
        let history: Vec<Revision> = world.ctl().json(&["history"]);
        let current: Vec<_> = history.iter().filter(|entry| entry.state == "current").collect();
        assert_eq!(current.len(), 1, "{history:#?}");
        assert!(history.iter().any(|entry| entry.revision == first.revision), "{history:#?}");
    }
}
