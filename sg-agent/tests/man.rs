//! `sg-agent man`: the page that the package has.

use std::process::Command;

#[test]
fn the_man_page_has_every_setting() {
    let output = Command::new(env!("CARGO_BIN_EXE_sg-agent")).arg("man").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(page.contains(".TH sg-agent 8"), "{page}");
    for setting in ["config", "state-dir", "runtime-dir", "bpffs", "metrics", "max-flows"] {
        assert!(page.contains(&setting.replace('-', "\\-")), "no {setting} in\n{page}");
    }
    assert!(!page.contains("sg\\-agent\\-man"), "a command for packagers is listed:\n{page}");
}
