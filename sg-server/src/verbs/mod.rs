//! The verbs, a file each.

pub mod account;
pub mod check;
pub mod init;

use sg_api::admin::Issued;

/// Prints a root access key. Nobody can print it again.
fn print_key(issued: &Issued, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(issued)?);
        return Ok(());
    }
    let name = issued.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    println!("account            {}{name}", issued.account);
    println!("access key id      {}", issued.access_key_id);
    println!("secret access key  {}", issued.secret_access_key);
    println!("region             {}", issued.region);
    println!("Keep the secret: it is not shown again.");
    Ok(())
}
