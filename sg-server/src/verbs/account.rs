//! `sg-server account …`: asks the running server over `admin.sock`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use sg_api::admin::{Answer, MAX_LINE, Request, SOCKET};

use super::print_key;
use crate::{cli::Account, settings::Settings};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// # Errors
/// No server runs, the caller is not root, or the server could not do it.
pub fn run(settings: &Settings, verb: &Account) -> anyhow::Result<()> {
    let (request, json) = match verb {
        Account::Create { name, allow, json } => {
            let request = Request::CreateAccount { name: name.clone(), allow: allow.clone() };
            (request, *json)
        }
        Account::List { json } => (Request::ListAccounts, *json),
        Account::ResetRootKey { id, json } => {
            (Request::ResetRootKey { account: id.to_string() }, *json)
        }
        Account::RevokeSessions { id } => {
            (Request::RevokeSessions { account: id.to_string() }, false)
        }
    };
    match ask(&settings.runtime_dir, &request)? {
        Answer::Issued(issued) => print_key(&issued, json)?,
        Answer::Accounts(accounts) if json => println!("{}", serde_json::to_string(&accounts)?),
        Answer::Accounts(accounts) => {
            println!("ACCOUNT       NAME");
            for account in accounts {
                println!("{}  {}", account.account, account.name);
            }
        }
        Answer::Done => {}
        Answer::Failed(reason) => bail!(reason),
    }
    Ok(())
}

fn ask(runtime_dir: &Path, request: &Request) -> anyhow::Result<Answer> {
    let path = runtime_dir.join(SOCKET);
    let place = || format!("no answer from sg-server at {}", path.display());
    let mut stream = UnixStream::connect(&path).with_context(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).with_context(place)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE as u64))
        .read_until(b'\n', &mut answer)
        .with_context(place)?;
    if answer.is_empty() {
        bail!("sg-server at {} serves root only", path.display());
    }
    serde_json::from_slice(&answer).with_context(place)
}
