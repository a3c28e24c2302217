//! Randomness that is somebody's choice: a fuzzer's bytes.

use std::convert::Infallible;

use rand::rand_core::TryRng;

/// Makes every choice by the next two bytes, the first choice when there are none left. A change to
/// a byte then changes one choice, and an input stays short.
#[derive(Clone, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// `count` bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        self.0.split_off(..count.min(self.0.len())).unwrap_or_default()
    }

    fn choice(&mut self) -> u64 {
        let pair = u64::from(u16::from_le_bytes([self.byte(), self.byte()]));
        // A generator that asks for fewer than 64 bits takes the upper ones, so repeat the pair.
        pair * 0x0001_0001_0001_0001
    }
}

impl TryRng for Bytes<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.choice() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.choice())
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        target.fill_with(|| self.byte());
        Ok(())
    }
}
