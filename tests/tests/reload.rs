//! SIGHUP: logs are opened anew, and agent.toml is read again.

use std::{fs, net::TcpStream};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sg_tests::{Agent, NetNs, eventually};

const METRICS: &str = "127.0.0.1:9790";

fn hangup(agent: &Agent) {
    kill(Pid::from_raw(agent.pid().cast_signed()), Signal::SIGHUP).expect("a process");
}

#[test]
fn a_hangup_reads_the_settings_and_opens_the_logs_again() {
    let host = NetNs::new("host");
    let agent = Agent::start(&host, &[]);
    let pid = agent.pid();
    let directory = agent.state_dir().parent().expect("a directory").to_owned();
    let (settings, flows) = (directory.join("agent.toml"), directory.join("flows.log"));
    let serves_metrics = || host.run(|| TcpStream::connect(METRICS).is_ok());
    assert!(!serves_metrics());

    let text = format!("metrics = \"{METRICS}\"\nmax-flows = 1024\n[flow-log]\nto = [{flows:?}]\n");
    fs::write(&settings, text).expect("written");
    hangup(&agent);
    eventually("metrics are served", serves_metrics);
    eventually("flows are logged to the file", || flows.exists());
    eventually("a setting that needs a restart is named", || {
        agent.log().contains("max-flows has changed, which takes effect when the agent is started")
    });

    // A file that cannot be read changes nothing, and logs are opened anew all the same.
    fs::write(&settings, "= 1").expect("written");
    fs::rename(&flows, directory.join("flows.log-20261201")).expect("moved");
    hangup(&agent);
    eventually("the file is there again", || flows.exists());
    assert!(agent.log().contains("the settings stay as they are"), "{}", agent.log());
    assert!(serves_metrics());

    fs::write(&settings, "").expect("written");
    hangup(&agent);
    eventually("metrics are not served any more", || !serves_metrics());
    assert_eq!((agent.pid(), agent.ctl().status().interfaces.len()), (pid, 0));
}
