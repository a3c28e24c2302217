//! One table for each field of a packet: matches, near misses, the wrong protocol, each edge. Every
//! row runs on every hook that can see it, and all counters and flows are asserted. The expected
//! outcome is written by hand from semantics.md.

mod exempt;
mod extensions;
mod fragments;
mod groups;
mod icmp;
mod ipv4;
mod ipv6;
mod lengths;
mod link;
mod peers;
mod ports;
mod protocols;
mod row;
mod source;
mod table;
mod tcp;
mod udp;
mod way;
