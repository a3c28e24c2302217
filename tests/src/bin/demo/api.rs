//! `cargo xtask demo --api`: the three tiers by the AWS CLI alone, with packets after each call.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use sg_tests::{
    Agent, Ran, Server,
    probe::{Outcome, PATIENCE, tcp},
};

use crate::{
    connects,
    network::{Family, Instance, Network},
    rules::EXTRA,
    said,
    transcript::Transcript,
};

/// Name of the router for the control plane.
const HOST: &str = "router";
const VPC: &str = "10.0.0.0/16";
/// As the README has it.
const ENDPOINT: &str = "http://127.0.0.1:8773";

pub(crate) fn run() -> ExitCode {
    let mut demo = Demo::new();
    let Network { web, db, .. } = &demo.network;
    let serve = |instance: &Instance, port| {
        tcp::serve(&instance.namespace, instance.port(Family::V4, port))
    };
    let _servers = [serve(web, 80), serve(web, EXTRA), serve(db, 5432)];
    demo.groups();
    demo.interfaces();
    demo.rule_comes_and_goes();
    demo.binding_ends();
    demo.server_dies();
    demo.transcript.close()
}

struct Demo {
    transcript: Transcript,
    agent: Agent,
    server: Server,
    network: Network,
    aws: Aws,
    /// Ids by the names that the demo has for them.
    ids: BTreeMap<String, String>,
}

/// The AWS CLI with the root key.
struct Aws {
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Demo {
    fn new() -> Self {
        let transcript = Transcript::default();
        transcript.scene("A router with three instances behind it, each a network namespace");
        let network = Network::new();
        let server = Server::start(&network.router, VPC);
        let agent =
            Agent::start(&network.router, &["--control", &server.control(), "--host", HOST]);
        transcript
            .note(format_args!("router  sg-server, and sg-agent --control {}", server.control()));
        for instance in network.instances() {
            transcript.note(format_args!("{:<7} {}", instance.name, instance.address(Family::V4)));
        }
        let aws = Aws::new(&server);
        Self { transcript, agent, server, network, aws, ids: BTreeMap::new() }
    }

    /// Runs `aws ec2 …`, with ids in the place of `{name}`. The answer is one text.
    fn ec2(&mut self, line: &str) -> String {
        self.transcript.note(format_args!("$ aws ec2 {line}"));
        let mut line = line.to_owned();
        for (name, id) in &self.ids {
            line = line.replace(&format!("{{{name}}}"), id);
        }
        let words = line.split_whitespace().chain(["--output", "text"]);
        let program = &self.aws.program;
        let variables = self.aws.variables.clone();
        let ran = self.network.router.run(move || {
            let mut command = Command::new(program);
            command.arg("ec2").args(["--endpoint-url", ENDPOINT]).args(words).envs(variables);
            Ran::of(&mut command)
        });
        let done = ran.status == Some(0);
        self.transcript.check(done, "done", format_args!("{}{}", ran.stdout, ran.stderr));
        ran.stdout.trim().to_owned()
    }

    /// The same for a call whose answer is an id.
    fn make(&mut self, name: &str, line: &str) {
        let id = self.ec2(line);
        self.transcript.quote(&id);
        self.ids.insert(name.to_owned(), id);
    }

    fn connects(&mut self, from: &str, to: &str, port: u16, expected: Outcome) {
        let find = |name: &str| {
            let found = self.network.instances().into_iter().find(|instance| instance.name == name);
            found.expect("an instance")
        };
        connects(&mut self.transcript, find(from), find(to), port, Family::V4, expected);
    }

    fn groups(&mut self) {
        self.transcript.scene("Groups and rules; no interface has them yet, so everything passes");
        for name in ["web", "db", "client"] {
            let line = format!(
                "create-security-group --group-name {name} --description tier --query GroupId"
            );
            self.make(name, &line);
        }
        let authorize = "authorize-security-group-ingress --protocol tcp";
        self.ec2(&format!("{authorize} --group-id {{web}} --port 80 --cidr 0.0.0.0/0"));
        self.ec2(&format!("{authorize} --group-id {{db}} --port 5432 --source-group {{web}}"));
        self.connects("client", "db", 5432, Outcome::Passed);
    }

    fn interfaces(&mut self) {
        self.transcript
            .scene("Network interfaces, bound by the tag sg:bind: each is filtered at once");
        let subnets = "describe-subnets --query Subnets[?CidrBlock==`10.0.0.0/20`].SubnetId";
        self.make("subnet", subnets);
        for (name, address) in [("db", "10.0.2.2"), ("web", "10.0.1.2"), ("client", "10.0.3.2")] {
            let line = format!(
                "create-network-interface --subnet-id {{subnet}} --groups {{{name}}} \
                 --private-ip-address {address} --tag-specifications \
                 ResourceType=network-interface,Tags=[{{Key=sg:bind,Value={HOST}/{name}0}}] \
                 --query NetworkInterface.NetworkInterfaceId"
            );
            self.make(&format!("eni-{name}"), &line);
            self.connects("client", "db", 5432, Outcome::Silent);
        }
        self.connects("client", "web", 80, Outcome::Passed);
        self.connects("web", "db", 5432, Outcome::Passed);
        self.connects("client", "web", EXTRA, Outcome::Silent);
    }

    fn rule_comes_and_goes(&mut self) {
        self.transcript.scene("A rule comes, and the next packet passes");
        let rule =
            format!("--group-id {{web}} --protocol tcp --port {EXTRA} --source-group {{client}}");
        self.ec2(&format!("authorize-security-group-ingress {rule}"));
        self.connects("client", "web", EXTRA, Outcome::Passed);
        let Network { web, client, .. } = &self.network;
        let from = client.address(Family::V4);
        let mut open = tcp::open(&client.namespace, from, web.port(Family::V4, EXTRA));
        self.ec2(&format!("revoke-security-group-ingress {rule}"));
        let outcome = open.echo(PATIENCE);
        let what = "the open connection goes on, as in EC2";
        self.transcript.check(outcome == Outcome::Passed, what, said(outcome));
        self.connects("client", "web", EXTRA, Outcome::Silent);
    }

    fn binding_ends(&mut self) {
        self.transcript.scene("The end of a binding opens nothing: the interface is isolated");
        let tag = format!("Key=sg:bind,Value={HOST}/db0");
        self.ec2(&format!("delete-tags --resources {{eni-db}} --tags {tag}"));
        self.connects("web", "db", 5432, Outcome::Silent);
        self.ec2(&format!("create-tags --resources {{eni-db}} --tags {tag}"));
        self.connects("web", "db", 5432, Outcome::Passed);
    }

    fn server_dies(&mut self) {
        self.transcript.scene("kill -9 of the server and of the agent: the filter stands");
        self.server.kill();
        self.agent.kill();
        self.connects("web", "db", 5432, Outcome::Passed);
        self.connects("client", "db", 5432, Outcome::Silent);
        self.agent.restart();
        self.connects("web", "db", 5432, Outcome::Passed);
        self.connects("client", "db", 5432, Outcome::Silent);
        self.server.restart();
        let shown = "describe-network-interfaces --filters Name=tag-key,Values=sg:bind \
                     --query NetworkInterfaces[].[PrivateIpAddress,Status]";
        let shown = self.ec2(shown);
        self.transcript.quote(&shown);
        let bound = shown.lines().filter(|line| line.ends_with("in-use")).count();
        self.transcript.check(bound == 3, "three are in use", &shown);
        let ran = self.agent.ctl().run(&["status"]);
        self.transcript.quote(&ran.stdout);
        let named = ran.stdout.contains("control plane unix:");
        self.transcript.check(named, "sgctl status names the control plane", &ran.stderr);
    }
}

impl Aws {
    /// The CLI that `cargo xtask setup` installs, or the one of the PATH.
    fn new(server: &Server) -> Self {
        let tools = env::var_os("SG_TOOLS_DIR").unwrap_or_default();
        let installed = Path::new(&tools).join("aws/bin/aws");
        let program = if installed.is_file() { installed } else { "aws".into() };
        let variables = vec![
            ("AWS_ACCESS_KEY_ID", server.key.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", server.key.secret_access_key.clone()),
            ("AWS_DEFAULT_REGION", server.key.region.clone()),
            ("AWS_PAGER", String::new()),
            ("AWS_CONFIG_FILE", "/nonexistent".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        Self { program, variables }
    }
}
