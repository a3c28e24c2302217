//! `sg-server check`: settings, store and key, without serving.

use anyhow::Context as _;
use sg_store::{
    Snapshot,
    key::ROOT,
    store::{epoch, list_all},
};

use crate::{
    backend::{self, Opened},
    owner,
    seal::SealingKey,
    secrets,
    serve::tls::Tls,
    settings::Settings,
};

/// # Errors
/// The first fault that is found, with its place.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    owner::become_owner(&settings.state_dir)?;
    if let Some((certificate, key)) = &settings.tls {
        Tls::load(certificate, key)?;
    }
    let key = SealingKey::read(&settings.sealing_key)?;
    let store = match backend::open(settings)? {
        Opened::Store(store) => store,
        Opened::InUse => {
            println!("fine; a server has the store open, so its objects were not looked at");
            return Ok(());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(async {
        epoch(&*store).await?;
        let (entries, at) = list_all(&*store, ROOT, None).await?;
        anyhow::Ok(Snapshot::of(entries, at))
    });
    let snapshot = snapshot.context("the store")?;
    if let Some(unusable) = snapshot.unusable().next() {
        anyhow::bail!("the store has a document that this version cannot use: {unusable}");
    }
    secrets::check(&snapshot, &key)?;
    println!("fine; {} objects at revision {}", snapshot.len(), snapshot.revision());
    Ok(())
}
