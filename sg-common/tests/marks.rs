//! Marks of lanes: none that is looked for is missed.

use sg_common::flow::{first_marked, marked};

#[test]
fn every_lane_with_the_mark_is_found() {
    for mark in [0u8, 1, 0x7f, 0x80, 0xff] {
        for lanes in 0..=u8::MAX {
            // Next to it, the mark that a borrow could be taken for.
            let other = [mark ^ 1, mark.wrapping_add(1)];
            let byte = |lane: usize| {
                if lanes >> lane & 1 != 0 { mark } else { other[lane % 2] }
            };
            let marks = u64::from_le_bytes(std::array::from_fn(byte));
            let mut found = marked(marks, mark);
            let mut seen = 0;
            while found != 0 {
                seen |= 1 << first_marked(found);
                found &= found - 1;
            }
            assert_eq!(seen & lanes, lanes, "mark {mark:x}, lanes {lanes:b}");
            assert!(lanes != 0 || seen == 0, "mark {mark:x}: {seen:b} without any");
        }
    }
}
