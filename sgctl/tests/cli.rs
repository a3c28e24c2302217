//! `sgctl` without an agent: what it prints for `check`, help and wrong usage. After a wanted
//! change: `TRYCMD=overwrite cargo test -p sgctl --test cli`, and read the difference.

#[test]
fn without_an_agent() {
    trycmd::TestCases::new().case("tests/cmd/*.md");
}
