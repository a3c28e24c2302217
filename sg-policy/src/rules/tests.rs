//! Faults as they are shown, and what valid files read as.

use super::*;

#[test]
fn smoke() {
    for name in ["minimal", "host", "three-tier", "hypervisor"] {
        let path = format!("{}/../examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(path).expect("an example");
        let state = parse(name, &text).unwrap_or_else(|faults| panic!("{faults}"));
        let again = crate::export::to_toml(&state);
        assert_eq!(
            parse("exported", again.as_bytes()).unwrap_or_else(|faults| panic!("{faults}")),
            state,
            "{again}"
        );
    }
}
