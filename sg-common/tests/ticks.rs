//! Time in ticks, which come round.

use sg_common::flow::is_over;

#[test]
fn a_flow_is_over_after_its_timeout_for_years() {
    const TIMEOUT: u32 = 10_800_000;
    for since in [0, 1, u32::MAX - 100] {
        let over = |idle: u32| is_over(since.wrapping_add(idle), since, TIMEOUT);
        assert!(!over(0) && !over(1) && !over(TIMEOUT));
        assert!(over(TIMEOUT + 1));
        // Half a round later, and nearly a whole one.
        assert!(over(1 << 31) && over(u32::MAX - 100));
        // A stamp of another CPU.
        assert!(!over(1u32.wrapping_neg()));
    }
    assert!(is_over(1, 0, 0) && !is_over(0, 0, 0));
}
