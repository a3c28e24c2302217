//! The kernel side: maps, programs, attachments. The only module that knows aya and bpf(2).
