//! `admin.sock`: the verbs of root. Each is recorded in the audit log. See [`sg_api::admin`].

use std::time::Duration;

use anyhow::Context as _;
use sg_api::{
    admin::{Answer, MAX_LINE, Request},
    lines::{Reader, write},
};
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::peer::accept_root;
use crate::{accounts, audit::Verb, state::Server};

/// From a connection to its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves root until the process ends.
pub async fn serve(listener: UnixListener, server: Server) {
    loop {
        let stream = accept_root(&listener).await;
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_one(stream, &server).await {
                tracing::debug!("admin.sock: {error:#}");
            }
        });
    }
}

async fn serve_one(stream: UnixStream, server: &Server) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = Reader::new(reader, MAX_LINE);
    let request = timeout(PATIENCE, reader.next()).await.context("no request")??;
    let Some(request) = request else { return Ok(()) };
    let answer = answer(server, &request).await;
    write(&mut writer, &answer).await?;
    Ok(())
}

async fn answer(server: &Server, request: &Request) -> Answer {
    let verb = match request {
        Request::CreateAccount { name, .. } => Verb { name: "CreateAccount", subject: name },
        Request::ListAccounts => Verb { name: "ListAccounts", subject: "" },
        Request::ResetRootKey { account } => Verb { name: "ResetRootKey", subject: account },
        Request::RevokeSessions { account } => Verb { name: "RevokeSessions", subject: account },
    };
    let done = async {
        Ok::<_, anyhow::Error>(match request {
            Request::CreateAccount { name, allow } => {
                Answer::Issued(accounts::create(server, name, allow).await?)
            }
            Request::ListAccounts => Answer::Accounts(accounts::list(server)),
            Request::ResetRootKey { account } => {
                Answer::Issued(accounts::reset_root_key(server, account.parse()?).await?)
            }
            Request::RevokeSessions { account } => {
                accounts::revoke_sessions(server, account.parse()?).await?;
                Answer::Done
            }
        })
    };
    let done = done.await;
    server.audit.verb(&verb, done.as_ref().err()).await;
    done.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
}
