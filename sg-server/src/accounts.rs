//! Accounts: made and changed by root through `admin.sock`.

use anyhow::{Context as _, bail, ensure};
use ipnet::IpNet;
use sg_api::admin::{Issued, Listed};
use sg_policy::id::AccountId;
use sg_store::{
    Index, Key, Revision, Snapshot, Txn, TxnError,
    objects::{Account, IndexEntry},
    store::epoch,
};

use crate::{
    clock::unix_now,
    founding::{self, AccessKey, Region},
    state::Server,
};

/// Longest name of an account.
const MAX_NAME: usize = 64;

/// Makes an account with a default VPC in every region.
pub async fn create(server: &Server, name: &str, allow: &[IpNet]) -> anyhow::Result<Issued> {
    check_name(name)?;
    ensure!(!allow.is_empty(), "--allow names no prefix");
    founding::check_prefixes(allow)?;
    let taken = server
        .replica
        .read()
        .get::<IndexEntry>(&Key::Index(Index::AccountName(name.into())))
        .is_some();
    ensure!(!taken, "there is an account {name} already");
    let key = AccessKey::draw()?;
    let account = Account {
        id: founding::draw_account()?,
        name: name.to_owned(),
        allow: Some(allow.to_vec()),
        is_first: false,
        root_key: Some(key.seal(&server.key, unix_now())?),
        sessions_revoked_at: 0,
        created_at: unix_now(),
        tags: Default::default(),
    };
    let mut txn = Txn::new();
    founding::add_account(&mut txn, &account);
    match commit(server, txn).await {
        Err(error) if is_conflict(&error) => bail!("there is an account {name} already"),
        done => done?,
    };
    add_missing_regions(server).await?;
    Ok(issued(server, &account, key))
}

/// Draws a new root key for an account. The old one is void when this returns.
pub async fn reset_root_key(server: &Server, id: AccountId) -> anyhow::Result<Issued> {
    let (mut account, at) = find(&server.replica.read(), id)?;
    let key = AccessKey::draw()?;
    let mut txn = Txn::new();
    if let Some(old) = &account.root_key {
        txn.delete(&Key::Index(Index::AccessKey(old.access_key_id.clone())));
    }
    account.root_key = Some(key.seal(&server.key, unix_now())?);
    txn.replace(&account, at);
    txn.create(&IndexEntry::held(Index::AccessKey(key.id.clone()), &id));
    commit(server, txn).await?;
    Ok(issued(server, &account, key))
}

/// Voids every session of an account that was issued until now.
pub async fn revoke_sessions(server: &Server, id: AccountId) -> anyhow::Result<()> {
    let (mut account, at) = find(&server.replica.read(), id)?;
    account.sessions_revoked_at = unix_now();
    let mut txn = Txn::new();
    txn.replace(&account, at);
    commit(server, txn).await?;
    Ok(())
}

pub fn list(server: &Server) -> Vec<Listed> {
    let snapshot = server.replica.read();
    let accounts = snapshot.all::<Account>();
    accounts
        .map(|account| Listed { account: account.id.to_string(), name: account.name.clone() })
        .collect()
}

/// Makes the regions that the settings name and an account lacks. A server does it when it starts, because
/// a region may be new in its settings, or the last one may have died in between.
pub async fn add_missing_regions(server: &Server) -> anyhow::Result<()> {
    let (record, _) = epoch(&*server.store).await?;
    let missing: Vec<(Account, _)> = {
        let snapshot = server.replica.read();
        let accounts: Vec<Account> =
            snapshot.all::<Account>().map(|account| account.object.clone()).collect();
        let regions = &server.settings.regions;
        accounts
            .into_iter()
            .flat_map(|account| regions.iter().map(move |region| (account.clone(), region)))
            .filter(|(account, region)| founding::lacks_region(&snapshot, account.id, region))
            .collect()
    };
    for (account, region) in missing {
        let cidrs = founding::cidrs_for(&server.replica.read(), &account);
        let mut txn = Txn::new();
        let founded = Region { account: account.id, region, epoch: record.epoch, cidrs: &cidrs };
        founding::add_region(&mut txn, &founded)?;
        match commit(server, txn).await {
            // Another server made it.
            Err(error) if is_conflict(&error) => {}
            done => {
                done.with_context(|| format!("region {region} of account {}", account.id))?;
            }
        }
    }
    Ok(())
}

async fn commit(server: &Server, txn: Txn) -> anyhow::Result<Revision> {
    let revision = server.store.commit(txn).await?;
    server.replica.reach(revision).await;
    Ok(revision)
}

fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(TxnError::Conflict { .. }))
}

fn find(snapshot: &Snapshot, id: AccountId) -> anyhow::Result<(Account, Revision)> {
    let account = snapshot.get::<Account>(&Key::Account(id));
    let account = account.with_context(|| format!("there is no account {id}"))?;
    Ok((account.object.clone(), account.mod_revision))
}

fn issued(server: &Server, account: &Account, key: AccessKey) -> Issued {
    Issued {
        account: account.id.to_string(),
        name: Some(account.name.clone()),
        access_key_id: key.id,
        secret_access_key: key.secret,
        region: server.settings.regions[0].to_string(),
    }
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure!(
        !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_letter),
        "an account's name has 1 to {MAX_NAME} letters, digits, '-', '_' and '.'"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_confuse_a_path_or_a_terminal_are_refused() {
        for name in ["", "a/b", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("team-a.prod_1").is_ok());
    }
}
