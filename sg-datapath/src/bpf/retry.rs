//! Loading programs while signals come.

use std::io;

use aya::programs::ProgramError;

/// As often as libbpf tries (sys_bpf_prog_load, tools/lib/bpf/bpf.c).
const ATTEMPTS: u32 = 5;

/// Tries again where the verifier was interrupted: with a signal pending, BPF_PROG_LOAD fails with EAGAIN
/// (do_check, kernel/bpf/verifier.c), though nothing is wrong with the program.
pub(super) fn load<T, E: Interrupted>(mut load: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if error.is_interrupted() => {}
            done => return done,
        }
    }
    load()
}

pub(super) trait Interrupted {
    fn is_interrupted(&self) -> bool;
}

impl Interrupted for io::Error {
    fn is_interrupted(&self) -> bool {
        self.raw_os_error() == Some(libc::EAGAIN)
    }
}

impl Interrupted for ProgramError {
    fn is_interrupted(&self) -> bool {
        matches!(self, Self::LoadError { io_error, .. } if io_error.is_interrupted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a load is tried that fails with these errors, and what comes of it.
    fn tried(errors: &[i32]) -> (usize, Option<i32>) {
        let mut tries = 0;
        let done = load(|| {
            let error = errors.get(tries).map(|error| io::Error::from_raw_os_error(*error));
            tries += 1;
            error.map_or(Ok(()), Err)
        });
        (tries, done.err().and_then(|error| error.raw_os_error()))
    }

    #[test]
    fn an_interrupted_load_is_tried_five_times() {
        const AGAIN: i32 = libc::EAGAIN;
        assert_eq!(tried(&[]), (1, None));
        assert_eq!(tried(&[AGAIN]), (2, None));
        assert_eq!(tried(&[AGAIN; 4]), (5, None));
        assert_eq!(tried(&[AGAIN; 5]), (5, Some(AGAIN)));
        assert_eq!(tried(&[libc::EPERM, AGAIN]), (1, Some(libc::EPERM)));
        assert_eq!(tried(&[AGAIN, libc::EINVAL]), (2, Some(libc::EINVAL)));
    }
}
