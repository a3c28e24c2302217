//! Rules files as a source: read, compared, made a command. Reading takes long where much has changed, so
//! it keeps neither the owner nor other requests waiting.

use std::{sync::Arc, time::Instant};

use sg_policy::{
    describe::plain,
    plan::{self, Change},
    rules::parsed::ParsedRules,
};

use crate::{
    api::{Applied, ApplyRequest, MAX_FILE, RulesFile},
    observe::ssh_sessions,
    owner::{
        self,
        command::{self, Actor, Command, Replacement},
        mailbox::{Ending, Mailbox, Request},
        revision::Revision,
        unfiltered::Guard,
    },
    system::allocator,
};

/// Why a file is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is longer than the {} MiB that are taken", plain(file), MAX_FILE >> 20)]
    TooLong { file: String },
    /// As people are to read them.
    #[error("{0}")]
    Faults(String),
    #[error(transparent)]
    Ending(#[from] Ending),
    #[error(transparent)]
    Owner(#[from] owner::error::Error),
    #[error("the request failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// The changes that a file would make, and the interfaces that they would reach.
#[derive(Debug)]
pub struct Planned {
    pub changes: Vec<Change>,
    pub interfaces: Vec<String>,
    pub warnings: Vec<String>,
}

/// # Errors
/// Also all faults of the file.
pub async fn plan(agent: &Mailbox, file: RulesFile) -> Result<Planned, Error> {
    let present = agent.ask(Request::Present).await?;
    tokio::task::spawn_blocking(move || {
        let (_, next) = read(&present, file)?;
        let changes = plan::diff(&present.state, next.state());
        let interfaces = plan::reached(&present.state, next.state(), &changes);
        let warnings = sg_policy::warnings(next.state());
        Ok(Planned { changes, interfaces, warnings })
    })
    .await?
}

/// Has a file put in force, to be confirmed within so many seconds if it is said how many. Without that, and
/// unless it is forced, some interface has to stay filtered.
///
/// # Errors
/// Also where that would lock one of the sessions out.
pub async fn apply(agent: &Mailbox, request: ApplyRequest) -> Result<Applied, Error> {
    let since = Instant::now();
    let ApplyRequest { rules, confirm, force, sessions } = request;
    let present = agent.ask(Request::Present).await?;
    let read = tokio::task::spawn_blocking(move || {
        let (name, next) = read(&present, rules)?;
        Ok::<_, Error>((name, Replacement::file(Arc::new(next))))
    });
    let (name, next) = read.await??;
    // They keep nobody waiting who applies.
    let state = Arc::clone(&next.state);
    let warnings = tokio::task::spawn_blocking(move || sg_policy::warnings(&state));
    let sessions = ssh_sessions::locate(sessions).await;
    let guard = Guard { sessions, keeps_filtering: !force && confirm.is_none() };
    let actor = Actor { name, guard };
    let change = command::Change::Replace(next);
    let command = Command { actor, change, confirm, expected_revision: None };
    let mut applied = agent.command(command, since).await??;
    applied.warnings.extend(warnings.await?);
    allocator::give_back_soon();
    Ok(applied)
}

/// Reads a file that most likely is much like the one in force; with its name.
fn read(present: &Revision, file: RulesFile) -> Result<(String, ParsedRules), Error> {
    let RulesFile { file, text } = file;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::TooLong { file });
    }
    let read = match &present.file {
        Some(present) => present.read_next(&file, text),
        None => ParsedRules::read(&file, text),
    };
    let source = read.map_err(|faults| Error::Faults(faults.render(false)))?;
    Ok((file, source))
}
