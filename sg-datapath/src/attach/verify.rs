//! Asks the kernel whether our programs see the packets that an interface receives and sends.

use std::{collections::BTreeMap, io, os::fd::AsFd as _};

use super::{
    clsact,
    evidence::{self, Found, XdpPrograms},
    inventory::{xdp_programs, xdp_programs_of},
    links::{BpfLinks, Held, TcxHook, XDP, side_of},
};
use crate::bpf::{
    programs::{ProgramGetter, Programs},
    syscall::{self, AttachType},
};

impl BpfLinks {
    /// The interfaces that are not filtered although they were attached, and why. Asks the kernel for each link
    /// and filter: its number, its program, and the device that it is on.
    pub fn verify(&self, programs: &Programs) -> BTreeMap<u32, String> {
        let has_xdp = self.held.values().any(|held| held.is_xdp);
        let xdp = if has_xdp { xdp_programs() } else { Vec::new() };
        let faults = self.held.iter().filter_map(|(&ifindex, held)| {
            Some((ifindex, self.confirm(programs, ifindex, held, &xdp).err()?))
        });
        faults.collect()
    }

    /// The same for one interface.
    pub fn verify_one(&self, programs: &Programs, ifindex: u32) -> Result<(), String> {
        let Some(held) = self.held.get(&ifindex) else { return Err("it is not attached".into()) };
        let xdp = if held.is_xdp {
            xdp_programs_of(ifindex).map_err(|error| unknown(&error))?
        } else {
            Vec::new()
        };
        self.confirm(programs, ifindex, held, &xdp)
    }

    fn confirm(
        &self,
        programs: &Programs,
        ifindex: u32,
        held: &Held,
        xdp: &XdpPrograms,
    ) -> Result<(), String> {
        if held.is_xdp {
            let ours = number(programs, Programs::xdp)?;
            self.confirm_link(ifindex, XDP, AttachType::Xdp, ours, xdp)?;
        }
        held.tc.iter().try_for_each(|&(kind, attach, program): &TcxHook| {
            let ours = number(programs, program)?;
            if held.is_clsact {
                confirm_filter(ifindex, attach, ours)
            } else {
                self.confirm_link(ifindex, kind, attach, ours, xdp)
            }
        })
    }

    fn confirm_link(
        &self,
        ifindex: u32,
        kind: &str,
        attach: AttachType,
        ours: u32,
        xdp: &XdpPrograms,
    ) -> Result<(), String> {
        let hook = name(attach);
        let link = syscall::get_pinned(&self.pin(ifindex, kind))
            .map_err(|error| format!("the pin of its {hook} link cannot be opened: {error}"))?;
        let link = syscall::link_info(link.as_fd()).map_err(|error| unknown(&error))?;
        let found = match attach {
            // All of them were read at once.
            AttachType::Xdp if link.ifindex == Some(ifindex) => {
                match evidence::runs_xdp(xdp, ifindex, link.program) {
                    true => Found::Here,
                    false => Found::Elsewhere,
                }
            }
            _ => evidence::find(link, ifindex, attach).map_err(|error| unknown(&error))?,
        };
        let id = link.id;
        match found {
            Found::Detached => {
                Err(format!("its {hook} link (id {id}) was taken off the interface"))
            }
            Found::On(other) => {
                Err(format!("its {hook} link (id {id}) is on the interface with number {other}"))
            }
            Found::Elsewhere => Err(format!(
                "its {hook} link (id {id}) is on a device of another network namespace"
            )),
            Found::Here if link.program != ours => Err(format!(
                "its {hook} link (id {id}) runs program {}, and the agent's is {ours}",
                link.program
            )),
            Found::Here => Ok(()),
        }
    }
}

fn confirm_filter(ifindex: u32, attach: AttachType, ours: u32) -> Result<(), String> {
    let hook = name(attach);
    match clsact::program_of_filter(ifindex, side_of(attach)).map_err(|error| unknown(&error))? {
        Some(program) if program == ours => Ok(()),
        Some(program) => Err(format!(
            "its clsact filter on {hook} runs program {program}, and the agent's is {ours}"
        )),
        None => Err(format!("its clsact filter on {hook} is gone")),
    }
}

fn number(programs: &Programs, program: ProgramGetter) -> Result<u32, String> {
    program(programs).and_then(syscall::program_id).map_err(|error| unknown(&error))
}

fn unknown(error: &io::Error) -> String {
    format!("the kernel does not say whether it is filtered: {error}")
}

fn name(attach: AttachType) -> &'static str {
    match attach {
        AttachType::Xdp => "XDP",
        AttachType::TcxIngress => "ingress",
        AttachType::TcxEgress => "egress",
    }
}
