//! `sg-server init`: the store, the first account and its root access key.

use anyhow::Context as _;
use sg_api::admin::Issued;
use sg_store::{
    EpochId, Txn,
    objects::{Account, EpochRecord},
};

use super::print_key;
use crate::{
    backend,
    cli::Init,
    clock::unix_now,
    founding::{self, AccessKey, Region},
    owner,
    seal::{SealingKey, random},
    settings::Settings,
};

/// EC2's default VPC.
const DEFAULT_CIDR: &str = "172.31.0.0/16";
/// Name of the first account.
const NAME: &str = "first";

/// # Errors
/// There is a store already, a prefix is none that a VPC can have, or a file cannot be made.
pub fn run(settings: &Settings, verb: &Init) -> anyhow::Result<()> {
    let mut cidrs = verb.vpc_cidr.clone();
    if cidrs.is_empty() {
        cidrs.push(DEFAULT_CIDR.parse()?);
    }
    founding::check_prefixes(&cidrs)?;
    owner::make_state_dir(&settings.state_dir)?;
    owner::become_owner(&settings.state_dir)?;
    backend::refuse_existing(settings)?;
    let key = match settings.sealing_key.try_exists() {
        Ok(false) => SealingKey::create(&settings.sealing_key)?,
        _ => SealingKey::read(&settings.sealing_key)?,
    };
    let access = AccessKey::draw()?;
    let account = Account {
        id: verb.account.map_or_else(founding::draw_account, Ok)?,
        name: NAME.to_owned(),
        allow: None,
        is_first: true,
        root_key: Some(access.seal(&key, unix_now())?),
        sessions_revoked_at: 0,
        created_at: unix_now(),
        tags: Default::default(),
    };
    let epoch = EpochId(u128::from_le_bytes(random()?));
    let mut txn = Txn::new();
    txn.create(&EpochRecord::new(epoch));
    founding::add_account(&mut txn, &account);
    // Other regions are made when the server starts: one transaction has no room for many.
    let region = &settings.regions[0];
    let founded = Region { account: account.id, region, epoch, cidrs: &cidrs };
    founding::add_region(&mut txn, &founded)?;
    backend::create(settings, &txn).context("cannot make the store")?;
    let issued = Issued {
        account: account.id.to_string(),
        name: None,
        access_key_id: access.id,
        secret_access_key: access.secret,
        region: region.to_string(),
    };
    print_key(&issued, verb.json)
}
