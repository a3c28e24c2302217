//! The real `sgctl`.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::de::DeserializeOwned;
use sg_api::{Applied, ApplyRequest, Explanation, Flow, RulesFile, Status};

use crate::{agent::binary, sandbox};

/// Runs `sgctl` on one agent's socket.
#[derive(Clone, Debug)]
pub struct Ctl {
    socket: PathBuf,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// `None`: ended by a signal.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs the command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics unless the exit status is this one, and an error was said if it is not 0.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "exit status; {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        if status == 1 || status == 2 {
            assert!(!self.stderr.trim().is_empty(), "failed without a word; {self:#?}");
        }
        self
    }

    /// Panics unless stderr holds every one of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr lacks {part:?}; {self:#?}");
        }
        self
    }
}

impl Ctl {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// A command to add arguments to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("sgctl"));
        command.env_remove("SGCTL_SOCKET").arg("--socket").arg(&self.socket);
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        Ran::of(self.command().args(args))
    }

    /// Runs with `--json`; panics unless it is done and the answer is a `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self, args: &[&str]) -> T {
        let ran = Ran::of(self.command().args(args).arg("--json")).expect(0);
        serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}; {ran:#?}"))
    }

    #[track_caller]
    pub fn status(&self) -> Status {
        self.json(&["status"])
    }

    #[track_caller]
    pub fn flows(&self) -> Vec<Flow> {
        self.json(&["flows"])
    }

    /// Applies a file of this text; panics unless it is done.
    #[track_caller]
    pub fn apply(&self, text: &str, flags: &[&str]) -> Applied {
        let file = file(text.as_bytes());
        let mut args = vec!["apply", &file];
        args.extend(flags);
        self.json(&args)
    }

    /// Applies rules without a process of its own, for many changes in a row; panics unless done.
    #[track_caller]
    pub fn post_rules(&self, text: &str) -> Applied {
        let rules = RulesFile { file: "rules.toml".into(), text: text.into() };
        let request = ApplyRequest { rules, confirm: None, force: false, sessions: Vec::new() };
        let body = serde_json::to_string(&request).expect("JSON");
        let mut stream = UnixStream::connect(&self.socket).expect("an agent");
        write!(
            stream,
            "POST /v1/apply HTTP/1.1\r\nHost: sg-agent\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}; {answer}"))
    }

    /// Applies a file of these bytes, whatever comes of it.
    pub fn try_apply(&self, text: impl AsRef<[u8]>) -> Ran {
        self.run(&["apply", &file(text.as_ref())])
    }

    /// Asks about a packet. `ends` is `--src … --dst …` and so on, split at spaces.
    #[track_caller]
    pub fn explain(
        &self,
        interface: &str,
        direction: &str,
        protocol: &str,
        ends: &str,
    ) -> Explanation {
        let mut args = vec!["explain", "--interface", interface, "--direction", direction];
        args.extend(["--protocol", protocol]);
        args.extend(ends.split_whitespace());
        self.json(&args)
    }
}

/// A rules file of these bytes in the sandbox.
pub fn file(text: &[u8]) -> String {
    let path = sandbox::directory("rules").join("rules.toml");
    fs::write(&path, text).expect("a rules file");
    path.to_str().expect("ASCII").to_owned()
}
