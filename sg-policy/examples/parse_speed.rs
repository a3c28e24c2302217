//! Times the front end: `cargo run --release -p sg-policy --example parse_speed [RULES]...`

use std::time::Instant;

use sg_policy::{export::to_toml, parse, plan::diff};

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![10, 10_000, 60_000] } else { given };
    for rules in sizes {
        let text = rules_file(rules);
        let best = |work: &dyn Fn()| {
            let time = || {
                let start = Instant::now();
                work();
                start.elapsed()
            };
            (0..10).map(|_| time()).min().unwrap_or_default()
        };
        let state = match parse("generated", text.as_bytes()) {
            Ok(state) => state,
            Err(faults) => return eprintln!("{faults}"),
        };
        let parsed = best(&|| drop(parse("generated", text.as_bytes())));
        let exported = best(&|| drop(to_toml(&state)));
        let planned = best(&|| drop(diff(&state, &state)));
        println!(
            "{rules} rules, {} KiB: parse {parsed:.1?}, export {exported:.1?}, plan {planned:.1?}",
            text.len() >> 10
        );
    }
}

/// Groups of 50 rules, a group reference in every tenth.
fn rules_file(rules: usize) -> String {
    let mut text = String::new();
    for index in 0..rules {
        let group = index / 50;
        if index % 50 == 0 {
            let end = if index > 0 { "]\n\n" } else { "" };
            text += &format!("{end}[[security_group]]\nname = \"group-{group}\"\ningress = [\n");
        }
        let peer = if index % 10 == 9 {
            format!("groups = [\"group-{}\"]", group * 7 % rules.div_ceil(50))
        } else {
            format!("cidrs = [\"10.{}.{}.0/24\"]", index >> 8 & 255, index & 255)
        };
        let port = 1024 + index % 60_000;
        text += &format!(
            "  {{ protocol = \"tcp\", ports = {port}, {peer}, description = \"rule {index}\" }},\n"
        );
    }
    text + "]\n"
}
