//! bpf(2), the kernel's types, and our programs. The only modules that know aya.

pub mod btf;
pub mod programs;
mod retry;
pub mod syscall;
