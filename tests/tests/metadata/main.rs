//! Guests and containers that ask the kernel, beside a packet's bytes, to change it. The expected
//! outcome is written by hand: a verdict, and the packets that arrive. Only `random` asks the
//! reference evaluator.
//!
//! ```text
//! tap:   remote [up0] == [up1] router [port0] -- a test's descriptor
//! veth:  as in every other test, and a packet socket at the far end
//! ```

mod attacks;
mod frames;
mod protocol;
mod random;
mod rows;
mod served;
mod shared;
mod site;
mod tunnel;
