//! Client tokens: a request that comes again makes nothing new.

use std::{fmt::Debug, str::FromStr};

use sg_store::{Index, Key, objects::IndexEntry};
use sha2::{Digest as _, Sha256};

use crate::{call::Context, error::Error};

const MAX_CHARS: usize = 64;

/// A client token: the request that it came with first, as a digest.
pub(super) struct Token {
    token: String,
    digest: String,
}

impl Token {
    /// `request` holds every parameter of the call.
    pub(super) fn read(token: Option<&str>, request: &impl Debug) -> Result<Option<Self>, Error> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() > MAX_CHARS || !is_plain {
            let message = format!("ClientToken has at most {MAX_CHARS} characters of ASCII");
            return Err(Error::invalid(message));
        }
        let digest = Sha256::digest(format!("{request:?}"));
        let digest = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Self { token: token.to_owned(), digest }))
    }

    fn index(&self, context: &Context<'_>) -> Index {
        Index::ClientToken(context.caller.account, context.region.clone(), self.token.clone())
    }

    pub(super) fn entry(&self, context: &Context<'_>, made: &dyn ToString) -> IndexEntry {
        let holder = format!("{} {}", made.to_string(), self.digest);
        IndexEntry::held(self.index(context), &holder)
    }

    /// The id of the resource that the first request with the token made.
    pub(super) fn made<I: FromStr>(&self, context: &Context<'_>) -> Result<Option<I>, Error> {
        let Some(entry) = context.snapshot.get::<IndexEntry>(&Key::Index(self.index(context)))
        else {
            return Ok(None);
        };
        match entry.holder.split_once(' ') {
            Some((id, digest)) if digest == self.digest => Ok(id.parse().ok()),
            _ => {
                let message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
                Err(Error::new("IdempotentParameterMismatch", message))
            }
        }
    }
}

/// Client tokens that made a resource: they go with it, or they would be kept for ever.
pub(super) fn tokens_of<'a>(
    context: &Context<'a>,
    made: &dyn ToString,
) -> impl Iterator<Item = Key> + use<'a> {
    let first = Index::ClientToken(context.caller.account, context.region.clone(), String::new());
    let prefix = format!("{} ", made.to_string());
    let entries = context.snapshot.range::<IndexEntry>(Key::Index(first)..);
    let tokens = entries.take_while(|entry| matches!(entry.index, Index::ClientToken(..)));
    tokens
        .filter(move |entry| entry.holder.starts_with(&prefix))
        .map(|entry| Key::Index(entry.index.clone()))
}
