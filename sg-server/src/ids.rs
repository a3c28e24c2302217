//! Ids: of requests and of events, and random numbers for those of objects.

use std::cell::Cell;

use crate::seal::random;

/// A random UUID (RFC 9562, version 4).
pub fn new_id() -> String {
    let number = u128::from_le_bytes(random().unwrap_or([0; 16]));
    let number = number & !(0xf << 76) | 4 << 76;
    let number = number & !(3 << 62) | 2 << 62;
    let digits = format!("{number:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// The kernel gives no random numbers, so nothing may be made of those that were drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random numbers")]
pub struct NotDrawn;

/// Calls `decide` with a source of random numbers. An error of the source takes the place of the result.
pub fn with_draws<T>(decide: impl FnOnce(&dyn Fn() -> u128) -> T) -> Result<T, NotDrawn> {
    let has_failed = Cell::new(false);
    let decided = decide(&|| match random() {
        Ok(bytes) => u128::from_le_bytes(bytes),
        Err(_) => {
            has_failed.set(true);
            0
        }
    });
    if has_failed.get() { Err(NotDrawn) } else { Ok(decided) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_random_uuid() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert!("89ab".contains(&one[19..20]), "{one}");
    }
}
