//! A server with directories of its own, and a client that signs.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::chown, net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sg_api::admin::Issued;
use sg_iam::{
    Timestamp,
    sigv4::{self, SecretKey, Signer},
};
use tempfile::TempDir;

/// `nobody`: the server refuses to serve as root.
const NOBODY: u32 = 65_534;
/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const EC2: &str = "2016-11-15";

#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    pub address: SocketAddr,
    pub key: Issued,
    config: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A new store with a server that serves it.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with further flags.
    pub fn with(flags: &[&str]) -> Self {
        let mut server = Self::stopped(flags);
        server.restart();
        server
    }

    /// A new store, and no server yet.
    pub fn stopped(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run");
        fs::create_dir(&run).expect("a folder");
        if is_root() {
            for path in [folder.path(), &run] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
            }
        }
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let config = folder.path().join("none.toml");
        let (address, key) = (free_address(), no_key());
        let mut server = Self { folder, address, key, config, flags, child: None };
        let made = server.run(&["init", "--json"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        server.key = serde_json::from_slice(&made.stdout).expect("the key as JSON");
        server
    }

    /// Takes settings from a file.
    pub fn configure(&mut self, file: &Path) {
        self.config = file.to_owned();
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `sg-server VERB` with the directories of this server, as `nobody`.
    pub fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sg-server"));
        command.args(verb).args(&self.flags);
        for (flag, path) in [
            ("--config", self.config.clone()),
            ("--state-dir", self.state_dir()),
            ("--runtime-dir", self.folder.path().join("run")),
        ] {
            command.arg(flag).arg(path);
        }
        command.arg("--listen").arg(self.address.to_string());
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, verb: &[&str]) -> Output {
        self.command(verb).output().expect("sg-server runs")
    }

    /// Starts the server and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let log = self.folder.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let child = self.command(&[]).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("sg-server starts"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let child = self.child.as_mut().expect("just started");
            let ended = child.try_wait().expect("our child");
            assert!(ended.is_none(), "the server ended at once\n{}", self.log());
            assert!(Instant::now() < deadline, "the server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, as a crash would end it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        child.kill().expect("SIGKILL");
        child.wait().expect("our child");
    }

    /// A call by the root key, in a form.
    pub fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call_as(&self.key, action, parameters)
    }

    pub fn call_as(&self, key: &Issued, action: &str, parameters: &[(&str, &str)]) -> Answer {
        let body = form(action, EC2, parameters);
        send(self.address, &signed(key, self.address, "POST", "/", &body, "ec2", now()))
            .expect("an answer")
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

pub fn is_root() -> bool {
    // The owner of this process's folder in /proc is its effective user.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn no_key() -> Issued {
    let empty = String::new;
    Issued {
        account: empty(),
        name: None,
        access_key_id: empty(),
        secret_access_key: empty(),
        region: empty(),
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

/// A form with an action. Values are escaped.
pub fn form(action: &str, version: &str, parameters: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let mut form = format!("Action={action}&Version={version}");
    for (name, value) in parameters {
        form += &format!("&{}={}", escaped(name), escaped(value));
    }
    form
}

/// A signed request. For GET, `parameters` stand in the query.
pub fn signed(
    key: &Issued,
    address: SocketAddr,
    method: &str,
    path: &str,
    parameters: &str,
    service: &str,
    at: i64,
) -> String {
    let secret = SecretKey::new(&key.secret_access_key);
    let signer = Signer {
        access_key_id: &key.access_key_id,
        secret: &secret,
        session_token: None,
        region: &key.region,
        service,
    };
    let host = address.to_string();
    let (query, body) = if method == "GET" { (parameters, "") } else { ("", parameters) };
    let headers = [
        ("host", host.as_bytes()),
        ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
    ];
    let request = sigv4::Request { method, path, query, headers: &headers, body: body.as_bytes() };
    let added = sigv4::sign(&request, &signer, Timestamp(at));
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    for (name, value) in added {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
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

    /// The code of an error.
    pub fn code(&self) -> &str {
        self.element("Code")
    }

    #[track_caller]
    pub fn revision(&self) -> u64 {
        self.header("x-sg-revision").expect("a revision").parse().expect("a number")
    }

    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }
}

/// Sends a request as it stands. `None` where the connection ended without an answer.
pub fn send(address: SocketAddr, request: &str) -> Option<Answer> {
    send_bytes(address, request.as_bytes())
}

pub fn send_bytes(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // A server that has read enough may answer before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A connection to one of the local sockets.
pub fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}
