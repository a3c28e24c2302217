//! The real `sg-server`, and a client that signs.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    net::{IpAddr, TcpStream},
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ipnet::IpNet;
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
};
use sg_api::admin::Issued;
use sg_iam::{
    Timestamp,
    sigv4::{self, SecretKey, Signer},
};

use crate::{NetNs, Ran, agent::public_binary, probe::PATIENCE, sandbox};

/// `nobody`: the server refuses to serve as root.
const NOBODY: u32 = 65_534;
/// The default of sg-server.
const ADDRESS: &str = "127.0.0.1:8773";
const EC2: &str = "2016-11-15";

/// A server in a namespace, with directories of its own. It dies with the test.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    program: PathBuf,
    namespace: File,
    /// The root key of the first account.
    pub key: Issued,
    child: Option<Child>,
}

impl Server {
    /// A new store whose default VPC has these prefixes, and a server that serves it.
    #[track_caller]
    pub fn start(namespace: &NetNs, vpc: &str) -> Self {
        let directory = sandbox::directory("server");
        let run = directory.join("run");
        fs::create_dir(&run).expect("a folder");
        for path in [&directory, &run] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let namespace = namespace.fd().try_clone_to_owned().expect("a descriptor").into();
        let program = public_binary("sg-server");
        let empty = String::new;
        let key = Issued {
            account: empty(),
            name: None,
            access_key_id: empty(),
            secret_access_key: empty(),
            region: empty(),
        };
        let mut server = Self { directory, program, namespace, key, child: None };
        server.init(vpc);
        server.restart();
        server
    }

    /// A store in the place of the one before, if there was one. The server must not run.
    #[track_caller]
    pub fn init(&mut self, vpc: &str) {
        assert!(self.child.is_none(), "it is running");
        let state = self.directory.join("state");
        if state.exists() {
            fs::remove_dir_all(&state).expect("the store before is gone");
        }
        let made = Ran::of(&mut self.command(&["init", "--json", "--vpc-cidr", vpc])).expect(0);
        self.key = serde_json::from_str(&made.stdout).expect("the key as JSON");
    }

    /// The flag by which an agent follows it.
    pub fn control(&self) -> String {
        format!("unix:{}", self.directory.join("run/feed.sock").display())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(verb);
        for (flag, name) in
            [("--config", "server.toml"), ("--state-dir", "state"), ("--runtime-dir", "run")]
        {
            command.arg(flag).arg(self.directory.join(name));
        }
        let namespace = self.namespace.try_clone().expect("a descriptor");
        let enter = move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            nix::unistd::setgroups(&[])?;
            nix::unistd::setgid(NOBODY.into())?;
            nix::unistd::setuid(NOBODY.into())?;
            // The change of user takes it away.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        };
        // SAFETY: system calls and no allocation between fork and exec.
        unsafe { command.pre_exec(enter) };
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let log = self.directory.join("log");
        let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let child = self.command(&[]).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("sg-server starts"));
        let deadline = Instant::now() + PATIENCE;
        while self.connect().is_none() {
            let ended = self.child.as_mut().expect("just started").try_wait().expect("our child");
            assert!(ended.is_none(), "the server ended at once\n{}", self.log());
            assert!(Instant::now() < deadline, "the server does not answer\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, as a crash would end it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        child.kill().expect("SIGKILL");
        child.wait().expect("our child");
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    fn connect(&self) -> Option<TcpStream> {
        let namespace = &self.namespace;
        let connect = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("into the namespace");
            TcpStream::connect(ADDRESS).ok()
        };
        thread::scope(|scope| scope.spawn(connect).join()).expect("no panic")
    }

    /// A call of EC2 by the root key. `None`: the connection broke, and the outcome is unknown.
    pub fn try_call(&self, action: &str, parameters: &[(&str, &str)]) -> Option<Answer> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(signed(&self.key, &form(action, parameters)).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The same; panics unless it is done.
    #[track_caller]
    pub fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let answer = self.try_call(action, parameters);
        let answer = answer.unwrap_or_else(|| panic!("{action}: no answer\n{}", self.log()));
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer
    }

    /// A group without ingress rules, in the default VPC.
    #[track_caller]
    pub fn group(&self, name: &str) -> String {
        let parameters = [("GroupName", name), ("GroupDescription", "for a test")];
        self.call("CreateSecurityGroup", &parameters).element("groupId").to_owned()
    }

    /// A network interface with an address, groups, and tags `KEY=VALUE`.
    #[track_caller]
    pub fn interface(&self, address: &str, groups: &[&str], tags: &[&str]) -> String {
        let mut parameters = vec![
            ("SubnetId".to_owned(), self.subnet_of(address)),
            ("PrivateIpAddress".to_owned(), address.to_owned()),
        ];
        for (at, group) in groups.iter().enumerate() {
            parameters.push((format!("SecurityGroupId.{}", at + 1), (*group).to_owned()));
        }
        for (at, tag) in tags.iter().enumerate() {
            let (key, value) = tag.split_once('=').expect("KEY=VALUE");
            let tag = format!("TagSpecification.1.Tag.{}", at + 1);
            parameters.push((format!("{tag}.Key"), key.to_owned()));
            parameters.push((format!("{tag}.Value"), value.to_owned()));
        }
        if !tags.is_empty() {
            let kind = "TagSpecification.1.ResourceType".to_owned();
            parameters.push((kind, "network-interface".to_owned()));
        }
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.call("CreateNetworkInterface", &parameters).element("networkInterfaceId").to_owned()
    }

    /// The subnet that an address lies in.
    #[track_caller]
    fn subnet_of(&self, address: &str) -> String {
        let address: IpAddr = address.parse().expect("an address");
        let shown = self.call("DescribeSubnets", &[]);
        let element = |item: &str, name: &str| {
            let rest = item.split_once(&format!("<{name}>"))?.1;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let holds = |item: &&str| {
            let block = element(item, "cidrBlock").and_then(|block| block.parse::<IpNet>().ok());
            block.is_some_and(|block| block.contains(&address))
        };
        let found = shown.body.split("</item>").find(|item| holds(item));
        found
            .and_then(|item| element(item, "subnetId"))
            .unwrap_or_else(|| panic!("no subnet of {address} in {}", shown.body))
    }

    /// Allows or revokes a TCP port for a peer: a prefix or a group.
    #[track_caller]
    pub fn ingress(&self, verb: Verb, group: &str, port: &str, peer: &str) -> Answer {
        self.call(verb.action(), &permission(group, port, peer))
    }

    /// The same where the server may be killed meanwhile.
    pub fn try_ingress(&self, verb: Verb, group: &str, port: &str, peer: &str) -> Option<Answer> {
        self.try_call(verb.action(), &permission(group, port, peer))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Authorize,
    Revoke,
}

impl Verb {
    fn action(self) -> &'static str {
        match self {
            Self::Authorize => "AuthorizeSecurityGroupIngress",
            Self::Revoke => "RevokeSecurityGroupIngress",
        }
    }
}

fn permission<'p>(group: &'p str, port: &'p str, peer: &'p str) -> [(&'p str, &'p str); 5] {
    let peer_name = match peer.starts_with("sg-") {
        true => "IpPermissions.1.Groups.1.GroupId",
        false => "IpPermissions.1.IpRanges.1.CidrIp",
    };
    [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", port),
        ("IpPermissions.1.ToPort", port),
        (peer_name, peer),
    ]
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The text of the first element of a name.
    #[track_caller]
    pub fn element(&self, name: &str) -> &str {
        let rest = self.body.split_once(&format!("<{name}>"));
        let found = rest.and_then(|(_, rest)| rest.split_once('<'));
        found.unwrap_or_else(|| panic!("no <{name}> in {}", self.body)).0
    }

    #[track_caller]
    pub fn revision(&self) -> u64 {
        self.header("x-sg-revision").expect("a revision").parse().expect("a number")
    }

    /// Panics unless every host enforces the change.
    #[track_caller]
    pub fn enforced(self) -> Self {
        assert_eq!(self.header("x-sg-enforced"), Some("true"), "{self:#?}");
        self
    }
}

fn form(action: &str, parameters: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let mut form = format!("Action={action}&Version={EC2}");
    for (name, value) in parameters {
        form += &format!("&{}={}", escaped(name), escaped(value));
    }
    form
}

fn signed(key: &Issued, body: &str) -> String {
    let secret = SecretKey::new(&key.secret_access_key);
    let signer = Signer {
        access_key_id: &key.access_key_id,
        secret: &secret,
        session_token: None,
        region: &key.region,
        service: "ec2",
    };
    let headers = [
        ("host", ADDRESS.as_bytes()),
        ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
    ];
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = Timestamp(i64::try_from(since.as_secs()).expect("a time"));
    let body_bytes = body.as_bytes();
    let request = sigv4::Request {
        method: "POST",
        path: "/",
        query: "",
        headers: &headers,
        body: body_bytes,
    };
    let mut text = "POST / HTTP/1.1\r\n".to_owned();
    for (name, value) in headers {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    for (name, value) in sigv4::sign(&request, &signer, now) {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
