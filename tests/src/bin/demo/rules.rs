//! examples/three-tier.toml, and the rule that the demo adds to it.

use std::{fs, path::Path};

use toml::{Table, Value};

/// Port of the rule that comes and goes.
pub(crate) const EXTRA: u16 = 8080;

/// Path and text of the example.
pub(crate) fn example() -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/three-tier.toml");
    let path = path.canonicalize().expect("examples/three-tier.toml");
    let text = fs::read_to_string(&path).expect("the example");
    (path.display().to_string(), text)
}

/// The same with one more rule: the client may reach the web server on [`EXTRA`].
pub(crate) fn with_extra_rule(text: &str) -> String {
    let mut file: Table = text.parse().expect("the example is TOML");
    let rule: Table = format!(
        "protocol = \"tcp\"\nports = {EXTRA}\ncidrs = [\"10.0.3.0/24\", \"fd00:3::/64\"]\n\
         description = \"added by the demo\"\n"
    )
    .parse()
    .expect("a rule");
    let groups = file.get_mut("security_group").and_then(Value::as_array_mut);
    let web = groups
        .expect("groups")
        .iter_mut()
        .find(|group| group.get("name").and_then(Value::as_str) == Some("web"));
    let ingress = web.and_then(|web| web.get_mut("ingress")).and_then(Value::as_array_mut);
    ingress.expect("ingress rules of the group web").push(Value::Table(rule));
    toml::to_string(&file).expect("TOML")
}
