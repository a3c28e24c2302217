//! `cargo xtask demo`: security groups at work between network namespaces, shown by real
//! connections. Exits non-zero if anything was not as it should be. Everything it makes lives in a
//! sandbox and goes with the process, also on Ctrl-C.

mod api;
mod network;
mod rules;
mod transcript;

use std::{io, process::ExitCode, time::Duration};

use sg_api::{Explanation, Status};
use sg_tests::{
    Agent, Ctl, Ran,
    ctl::file,
    probe::{Outcome, PATIENCE, SILENCE, icmp, tcp},
};

use crate::{
    network::{Family, Instance, Network},
    rules::EXTRA,
    transcript::Transcript,
};

fn main() -> ExitCode {
    let pause = std::env::args().any(|arg| arg == "--pause");
    if std::env::args().any(|arg| arg == "--api") {
        return api::run();
    }
    let mut demo = Demo::new();
    let _servers = demo.serve();
    demo.without_filter();
    demo.three_tiers();
    demo.explained();
    demo.rule_comes_and_goes();
    demo.agent_dies();
    demo.status();
    if pause {
        demo.wait();
    }
    demo.transcript.close()
}

struct Demo {
    transcript: Transcript,
    agent: Agent,
    network: Network,
}

impl Demo {
    fn new() -> Self {
        let transcript = Transcript::default();
        transcript.scene("A router with three instances behind it, each a network namespace");
        let network = Network::new();
        transcript.note(format_args!("router  {}: sg-agent", network.router.name()));
        for instance in network.instances() {
            let [four, six] = Family::BOTH.map(|family| instance.address(family));
            let Instance { name, namespace, .. } = instance;
            transcript.note(format_args!("{name:<7} {}: {four}, {six}", namespace.name()));
        }
        let agent = Agent::start(&network.router, &[]);
        Self { transcript, agent, network }
    }

    fn ctl(&self) -> Ctl {
        self.agent.ctl()
    }

    /// The web server on 80 and the demo's port, the database on 5432.
    fn serve(&self) -> Vec<tcp::Server> {
        let Network { web, db, .. } = &self.network;
        let listening = [(web, 80), (web, EXTRA), (db, 5432)];
        let serve = |(instance, port): (&Instance, u16)| {
            Family::BOTH.map(|family| tcp::serve(&instance.namespace, instance.port(family, port)))
        };
        listening.into_iter().flat_map(serve).collect()
    }

    fn without_filter(&mut self) {
        self.transcript.scene("Before any rule: everything passes");
        let Network { db, client, .. } = &self.network;
        for family in Family::BOTH {
            connects(&mut self.transcript, client, db, 5432, family, Outcome::Passed);
        }
    }

    fn three_tiers(&mut self) {
        self.transcript.scene("sgctl apply examples/three-tier.toml");
        let (path, _) = rules::example();
        self.apply(&path);
        let Network { web, db, client, .. } = &self.network;
        let transcript = &mut self.transcript;
        for family in Family::BOTH {
            connects(transcript, client, web, 80, family, Outcome::Passed);
            connects(transcript, web, db, 5432, family, Outcome::Passed);
            connects(transcript, client, db, 5432, family, Outcome::Silent);
            connects(transcript, client, web, EXTRA, family, Outcome::Silent);
            pings(transcript, client, web, family, Outcome::Passed);
            pings(transcript, client, db, family, Outcome::Silent);
        }
    }

    fn explained(&mut self) {
        self.transcript.scene("Why does the client not reach the database?");
        let Network { db, client, .. } = &self.network;
        let (from, to) = (client.port(Family::V4, 40000), db.port(Family::V4, 5432));
        let ends = format!("--src {from} --dst {to}");
        let question = "explain --interface db0 --direction ingress --protocol tcp";
        self.transcript.note(format_args!("$ sgctl {question} {ends}"));
        let words: Vec<&str> = question.split(' ').chain(ends.split(' ')).collect();
        let Ran { stdout, stderr, .. } = self.ctl().run(&words);
        self.transcript.quote(&format!("{stdout}{stderr}"));
        let denied: Explanation = self.ctl().explain("db0", "ingress", "tcp", &ends);
        let answer = (denied.verdict.as_str(), denied.reason.as_str(), denied.rules.len());
        let what = "explain: denied, no rule allows it";
        self.transcript.check(answer == ("deny", "no_rule", 0), what, format_args!("{denied:?}"));
        let from = self.network.web.port(Family::V4, 40000);
        let allowed =
            self.ctl().explain("db0", "ingress", "tcp", &format!("--src {from} --dst {to}"));
        let named = allowed.rules.iter().any(|rule| rule.peer == "web");
        let what = "explain: from the web server it is allowed, by the rule that names its group";
        let holds = allowed.verdict == "allow" && named;
        self.transcript.check(holds, what, format_args!("{allowed:?}"));
    }

    fn rule_comes_and_goes(&mut self) {
        let (path, text) = rules::example();
        let title = format!("A rule is added while traffic flows: client to web, tcp/{EXTRA}");
        self.transcript.scene(&title);
        self.apply(&file(rules::with_extra_rule(&text).as_bytes()));
        let mut open = Vec::new();
        for family in Family::BOTH {
            let Network { web, client, .. } = &self.network;
            connects(&mut self.transcript, client, web, EXTRA, family, Outcome::Passed);
            let from = client.address(family);
            open.push((family, tcp::open(&client.namespace, from, web.port(family, EXTRA))));
        }
        self.transcript.scene("The rule is taken away again");
        self.apply(&path);
        for (family, connection) in &mut open {
            let Network { web, client, .. } = &self.network;
            let outcome = connection.echo(PATIENCE);
            let what = format!("the open connection goes on, as in EC2 ({})", family.name());
            self.transcript.check(outcome == Outcome::Passed, &what, said(outcome));
            connects(&mut self.transcript, client, web, EXTRA, *family, Outcome::Silent);
        }
    }

    fn agent_dies(&mut self) {
        let Network { web, db, client, .. } = &self.network;
        let mut open = Family::BOTH
            .map(|family| tcp::open(&web.namespace, web.address(family), db.port(family, 5432)));
        let before = self.ctl().status();
        self.transcript.scene("kill -9 of the agent: the filter stands");
        self.agent.kill();
        for (family, connection) in Family::BOTH.into_iter().zip(&mut open) {
            let transcript = &mut self.transcript;
            let outcome = connection.echo(PATIENCE);
            let what = format!("web to db, the open connection, goes on ({})", family.name());
            transcript.check(outcome == Outcome::Passed, &what, said(outcome));
            connects(transcript, client, web, 80, family, Outcome::Passed);
            connects(transcript, client, db, 5432, family, Outcome::Silent);
        }
        let ran = self.ctl().run(&["status"]);
        let what = "sgctl status says that the agent is gone";
        self.transcript.check(ran.status == Some(1), what, format_args!("{ran:?}"));

        self.transcript.scene("The agent is started again: everything is as it was");
        self.agent.restart();
        let after = self.ctl().status();
        let same = after.revision == before.revision && names(&after) == names(&before);
        let what = format!("revision {} on {}", after.revision, names(&after).join(", "));
        self.transcript.check(same, &what, format_args!("before {before:?}"));
        for (family, connection) in Family::BOTH.into_iter().zip(&mut open) {
            let outcome = connection.echo(PATIENCE);
            let what = format!("web to db, the open connection, goes on ({})", family.name());
            self.transcript.check(outcome == Outcome::Passed, &what, said(outcome));
            let (db, client) = (&self.network.db, &self.network.client);
            connects(&mut self.transcript, client, db, 5432, family, Outcome::Silent);
        }
    }

    fn status(&mut self) {
        self.transcript.scene("sgctl status");
        let ran = self.ctl().run(&["status"]);
        self.transcript.quote(&format!("{}{}", ran.stdout, ran.stderr));
        let status = self.ctl().status();
        let db0 = status.interfaces.iter().find(|entry| entry.name == "db0");
        let dropped = db0.and_then(|entry| entry.ingress.dropped.get("no_rule"));
        let what = "it counts what was dropped towards the database";
        let holds = dropped.is_some_and(|count| count.packets > 0);
        self.transcript.check(holds, what, format_args!("{dropped:?}"));
    }

    /// Applies a file; says revision and time.
    fn apply(&mut self, path: &str) {
        let ran = self.ctl().run(&["apply", path]);
        self.transcript.quote(&format!("{}{}", ran.stdout, ran.stderr));
        let what = "applied to web0, db0 and client0";
        let status = self.ctl().status();
        let mut filtered = names(&status);
        filtered.sort_unstable();
        let holds = ran.status == Some(0) && filtered == ["client0", "db0", "web0"];
        self.transcript.check(holds, what, format_args!("{filtered:?}"));
    }

    /// Leaves all as it is until Enter.
    fn wait(&self) {
        let pid = std::process::id();
        let sandbox = format!("nsenter --target {pid} --mount");
        let socket = self.agent.socket();
        self.transcript.scene("Look around from another shell; Enter ends it all");
        self.transcript.note(format_args!("{sandbox} ip netns list"));
        self.transcript.note(format_args!(
            "{sandbox} {} --socket {} status",
            sg_tests::agent::binary("sgctl").display(),
            socket.display()
        ));
        // End of input, or none at all, is as good as Enter.
        let _ = io::stdin().read_line(&mut String::new());
    }
}

fn names(status: &Status) -> Vec<&str> {
    status.interfaces.iter().map(|entry| entry.name.as_str()).collect()
}

/// One new TCP connection.
fn connects(
    transcript: &mut Transcript,
    from: &Instance,
    to: &Instance,
    port: u16,
    family: Family,
    expected: Outcome,
) {
    let source = from.address(family);
    let outcome = tcp::attempt(&from.namespace, source, to.port(family, port), patience(expected));
    let (from, to, family) = (from.name, to.name, family.name());
    let what = format!("{from} to {to}, tcp/{port}, {} ({family})", said(expected));
    transcript.check(outcome == expected, &what, said(outcome));
}

/// One echo request.
fn pings(
    transcript: &mut Transcript,
    from: &Instance,
    to: &Instance,
    family: Family,
    expected: Outcome,
) {
    let (source, target) = (from.address(family), to.address(family));
    let outcome = icmp::ping(&from.namespace, source, target, 1, patience(expected));
    let (from, to, family) = (from.name, to.name, family.name());
    let what = format!("{from} to {to}, ping, {} ({family})", said(expected));
    transcript.check(outcome == expected, &what, said(outcome));
}

fn patience(expected: Outcome) -> Duration {
    if expected == Outcome::Silent { SILENCE } else { PATIENCE }
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passes",
        Outcome::Silent => "is dropped",
        Outcome::Refused => "is refused",
    }
}
