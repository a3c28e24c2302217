//! Whose an access key is, and its secret.

use anyhow::bail;
use sg_iam::sigv4::SecretKey;
use sg_policy::id::AccountId;
use sg_store::{
    Index, Key, Snapshot,
    objects::{Account, IndexEntry, RootKey},
};

use crate::seal::SealingKey;

/// The account of an access key, with the key.
pub fn find<'s>(snapshot: &'s Snapshot, access_key_id: &str) -> Option<(AccountId, &'s RootKey)> {
    let index = Key::Index(Index::AccessKey(access_key_id.to_owned()));
    let account: AccountId = snapshot.get::<IndexEntry>(&index)?.object.holder.parse().ok()?;
    let account = snapshot.get::<Account>(&Key::Account(account))?.object;
    // The account's own record decides, so that an index that was left behind opens nothing.
    let key = account.root_key.as_ref().filter(|key| key.access_key_id == access_key_id)?;
    Some((account.id, key))
}

/// Opens the secret of an access key.
pub fn open(key: &SealingKey, sealed: &RootKey) -> Option<SecretKey> {
    let secret = key.open(&sealed.access_key_id, &sealed.sealed).ok()?;
    Some(SecretKey::new(std::str::from_utf8(&secret).ok()?))
}

/// Whether the sealing key opens every secret in the store.
///
/// # Errors
/// It does not; the text names the key's file and an account.
pub fn check(snapshot: &Snapshot, key: &SealingKey) -> anyhow::Result<()> {
    for account in snapshot.all::<Account>() {
        if let Some(sealed) = &account.root_key
            && open(key, sealed).is_none()
        {
            bail!(
                "the sealing key {} is not the one of this store: it does not open the root key of \
                 account {}",
                key.file().display(),
                account.id
            );
        }
    }
    Ok(())
}
