//! Time in ticks, which come round.

use sg_common::flow::{is_before_change, is_over};

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

/// The longest idle timeout, in ticks of 40 ms, on both sides of a change.
#[test]
fn a_flow_is_held_against_a_change_only_if_it_was_not_seen_since() {
    const MAX: u32 = 10_800_000;
    for change in [0, 7, 1 << 31, u32::MAX] {
        let before = |ago: u32| is_before_change(change.wrapping_sub(ago), change);
        let after = |later: u32| is_before_change(change.wrapping_add(later), change);
        assert!(before(0) && before(1) && before(MAX));
        assert!(!after(1) && !after(MAX));
        // Half a round later, and 5.4 years later.
        assert!(!after(1 << 31) && !after((1 << 31) + 1) && !after(4_000_000_000));
    }
}
