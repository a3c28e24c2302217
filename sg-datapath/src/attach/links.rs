//! BpfLinks: which hook an interface gets, and the pins that outlive the agent.
//!
//! | pin under `links/` | what |
//! |---|---|
//! | `<ifindex>_xdp` | XDP link: what the interface receives |
//! | `<ifindex>_in` | TCX ingress link: the same, or behind XDP what that cannot see |
//! | `<ifindex>_out` | TCX egress link: what it sends |
//! | `<ifindex>_tc` | a program: stands for clsact filters, which are no links |
//!
//! An interface should have TCX, because no other tool can take such a link away. But the kernel
//! holds RTNL for a grace period whenever a TCX link comes or goes (tcx_entry_sync,
//! include/net/tcx.h). Each direction takes 15 ms, and meanwhile no interface can come or go.
//! clsact filters take 0.3 ms, so newcomers in a crowd get these first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::{
    clsact, device, evidence,
    hook::{AttachMode, Attachment, Hook, HookChoice},
    inventory,
};
use crate::{
    bpf::{
        programs::{ProgramGetter, Programs, TC_IN, TC_META, TC_OUT},
        syscall::{self, AttachType},
    },
    error::Error,
};

pub(super) const XDP: &str = "xdp";
const IN: &str = "in";
const OUT: &str = "out";
const CLSACT: &str = "tc";

/// Pin, hook, and the program that belongs there.
pub(super) type TcxHook = (&'static str, AttachType, ProgramGetter);

const RECEIVES: TcxHook = (IN, AttachType::TcxIngress, Programs::tc_in);
/// Behind XDP, where senders choose what only TC sees.
const LOOKS_BEHIND: TcxHook = (IN, AttachType::TcxIngress, Programs::tc_meta);
const SENDS: TcxHook = (OUT, AttachType::TcxEgress, Programs::tc_out);

/// Both ways by TC; and beside XDP, with and without a look at what that does not see.
const BY_TC: &[TcxHook] = &[RECEIVES, SENDS];
const BESIDE_XDP: &[TcxHook] = &[SENDS];
const BEHIND_XDP: &[TcxHook] = &[LOOKS_BEHIND, SENDS];

/// The hooks that an interface was attached to, and has to be found on.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) is_xdp: bool,
    /// Whether TC's are clsact filters instead of TCX links.
    pub(super) is_clsact: bool,
    pub(super) tc: &'static [TcxHook],
}

/// A program that leaves the verdict to the next one: TCX_NEXT, include/uapi/linux/bpf.h.
const PASS_ON: [u64; 2] = [0xb7 | 0xffff_ffff << 32, 0x95];

#[derive(Debug)]
pub struct BpfLinks {
    dir: PathBuf,
    /// Interfaces whose clsact qdisc is our doing.
    qdiscs: BTreeSet<u32>,
    /// By ifindex.
    pub(super) held: BTreeMap<u32, Held>,
}

impl BpfLinks {
    pub fn open(dir: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&dir)
            .map_err(|error| Error::kernel(format!("creating {}", dir.display()), error))?;
        Ok(Self { dir, qdiscs: BTreeSet::new(), held: BTreeMap::new() })
    }

    pub(super) fn pin(&self, ifindex: u32, kind: &str) -> PathBuf {
        self.dir.join(format!("{ifindex}_{kind}"))
    }

    /// The interfaces that have pins.
    pub fn attached(&self) -> BTreeSet<u32> {
        pins(&self.dir).into_iter().filter_map(|(ifindex, _)| ifindex.parse().ok()).collect()
    }

    /// Attaches both directions, or replaces attached programs by `programs`. An interface that has
    /// TCX keeps it, in either mode.
    pub fn attach(
        &mut self,
        programs: &Programs,
        ifindex: u32,
        name: &str,
        choice: HookChoice,
        mode: AttachMode,
    ) -> Result<Attachment, Error> {
        let (want_xdp, mut reason) = device::wants_xdp(ifindex, choice);
        if !programs.show_metadata() {
            reason.push_str("; the kernel does not show what a packet's sender asks of it");
        }
        if want_xdp {
            match self.attach_xdp(programs, ifindex) {
                Ok(()) => {
                    let looks_behind = device::needs_look_behind_xdp(ifindex);
                    let hooks = if looks_behind { BEHIND_XDP } else { BESIDE_XDP };
                    let (beside, is_provisional) =
                        self.attach_beside_xdp(programs, ifindex, hooks, mode)?;
                    let mut kept = vec![XDP];
                    kept.extend(beside);
                    self.drop_others(ifindex, &kept)?;
                    if looks_behind {
                        reason.push_str(", and TC for what XDP does not see");
                    } else if kept.contains(&CLSACT) {
                        clsact::remove_filter(ifindex, clsact::Side::Receives)
                            .map_err(|error| Error::kernel("removing a clsact filter", error))?;
                    }
                    let is_clsact = kept.contains(&CLSACT);
                    self.held.insert(ifindex, Held { is_xdp: true, is_clsact, tc: hooks });
                    return Ok(Attachment { hook: Hook::Xdp, reason, is_provisional });
                }
                Err(error) => reason = device::why_not_xdp(&error),
            }
        }
        // TC sees everything before XDP is taken away.
        let is_fast = mode == AttachMode::Fast && !self.has(ifindex, &[IN, OUT]);
        // A kernel may have TCX and not these.
        if is_fast && self.attach_clsact(programs, ifindex).is_ok() {
            self.drop_others(ifindex, &[CLSACT])?;
            self.held.insert(ifindex, Held { is_xdp: false, is_clsact: true, tc: BY_TC });
            let reason = format!("{reason}; many came at once, TCX follows");
            return Ok(Attachment { hook: Hook::Tc, reason, is_provisional: true });
        }
        match self.attach_tcx(programs, ifindex, BY_TC) {
            Ok(()) => {
                self.drop_others(ifindex, &[IN, OUT])?;
                self.held.insert(ifindex, Held { is_xdp: false, is_clsact: false, tc: BY_TC });
                Ok(Attachment { hook: Hook::Tcx, reason, is_provisional: false })
            }
            Err(error) if is_unsupported(&error) => {
                self.attach_clsact(programs, ifindex)?;
                self.drop_others(ifindex, &[CLSACT])?;
                self.held.insert(ifindex, Held { is_xdp: false, is_clsact: true, tc: BY_TC });
                let reason = format!("{reason}; kernel without TCX");
                Ok(Attachment { hook: Hook::Tc, reason, is_provisional: false })
            }
            Err(error) => Err(Error::kernel(format!("attaching TCX to {name}"), error)),
        }
    }

    fn has(&self, ifindex: u32, kinds: &[&str]) -> bool {
        kinds.iter().all(|kind| self.pin(ifindex, kind).exists())
    }

    fn attach_xdp(&self, programs: &Programs, ifindex: u32) -> io::Result<()> {
        self.ensure(ifindex, XDP, AttachType::Xdp, programs.xdp()?)
    }

    /// Attaches by TCX. The kernel takes its time for new links. While clsact filters of ours
    /// judge, the new links hold a program that passes everything on. They get the real one just
    /// before the filters go, so a packet is judged twice only in the moment between.
    fn attach_tcx(&self, programs: &Programs, ifindex: u32, hooks: &[TcxHook]) -> io::Result<()> {
        if self.has(ifindex, &[CLSACT]) {
            let idle = syscall::load_program(syscall::PROG_TYPE_SCHED_CLS, &PASS_ON)?;
            for (kind, attach, _) in hooks.iter().filter(|hook| !self.has(ifindex, &[hook.0])) {
                self.ensure(ifindex, kind, *attach, idle.as_fd())?;
            }
        }
        hooks.iter().try_for_each(|(kind, attach, program)| {
            self.ensure(ifindex, kind, *attach, program(programs)?)
        })
    }

    /// TC beside XDP, which only sees received packets. Returns the pins, and whether they are
    /// provisional.
    fn attach_beside_xdp(
        &mut self,
        programs: &Programs,
        ifindex: u32,
        hooks: &[TcxHook],
        mode: AttachMode,
    ) -> Result<(Vec<&'static str>, bool), Error> {
        let pins: Vec<_> = hooks.iter().map(|hook| hook.0).collect();
        let is_fast = mode == AttachMode::Fast && !self.has(ifindex, &pins);
        if is_fast && self.attach_clsact_to(programs, ifindex, hooks).is_ok() {
            return Ok((vec![CLSACT], true));
        }
        match self.attach_tcx(programs, ifindex, hooks) {
            Ok(()) => Ok((pins, false)),
            Err(error) if is_unsupported(&error) => {
                self.attach_clsact_to(programs, ifindex, hooks)?;
                Ok((vec![CLSACT], false))
            }
            Err(error) => {
                Err(Error::kernel(format!("attaching TCX beside XDP to {ifindex}"), error))
            }
        }
    }

    fn attach_clsact(&mut self, programs: &Programs, ifindex: u32) -> Result<(), Error> {
        self.attach_clsact_to(programs, ifindex, BY_TC)
    }

    fn attach_clsact_to(
        &mut self,
        programs: &Programs,
        ifindex: u32,
        hooks: &[TcxHook],
    ) -> Result<(), Error> {
        let mut attach = || {
            for (kind, attach, _) in [RECEIVES, SENDS] {
                if !self.has(ifindex, &[kind]) {
                    refuse_beside_another_agent(ifindex, attach)?;
                }
            }
            // First: filters without it would be nobody's.
            let marker = self.pin(ifindex, CLSACT);
            if !marker.exists() {
                syscall::pin(programs.tc_out()?, &marker)?;
            }
            if clsact::ensure_qdisc(ifindex)? {
                self.qdiscs.insert(ifindex);
            }
            for (_, attach, program) in hooks {
                clsact::replace_filter(ifindex, side_of(*attach), program(programs)?)?;
            }
            Ok(())
        };
        attach().map_err(|error: io::Error| {
            Error::kernel(format!("attaching clsact filters to interface {ifindex}"), error)
        })
    }

    /// Changes all attached interfaces to `programs`, when they are loaded.
    pub fn update_all(&mut self, programs: &Programs) -> Result<(), Error> {
        programs.settle().map_err(|error| Error::kernel("loading the BPF programs", error))?;
        self.attached().into_iter().try_for_each(|ifindex| self.update(programs, ifindex))
    }

    /// Changes an attached interface to `programs`, hook by hook.
    pub fn update(&mut self, programs: &Programs, ifindex: u32) -> Result<(), Error> {
        let failed = |error| Error::kernel(format!("updating interface {ifindex}"), error);
        // Behind XDP, TC only looks at what that does not see.
        let behind_xdp = self.pin(ifindex, XDP).exists();
        let receives = if behind_xdp { LOOKS_BEHIND } else { RECEIVES };
        let kinds: [(_, ProgramGetter); 3] =
            [(XDP, Programs::xdp), (IN, receives.2), (OUT, Programs::tc_out)];
        for (kind, program) in kinds {
            match syscall::get_pinned(&self.pin(ifindex, kind)) {
                Ok(link) if syscall::link_info(link.as_fd()).map_err(failed)?.ifindex.is_some() => {
                    program(programs)
                        .and_then(|program| syscall::update_link(link.as_fd(), program))
                        .map_err(failed)?;
                }
                _ => {}
            }
        }
        if self.pin(ifindex, CLSACT).exists() {
            // A filter behind XDP is there or not, as the device needs it.
            let looks_behind = behind_xdp && device::needs_look_behind_xdp(ifindex);
            let hooks: &[TcxHook] = match (behind_xdp, looks_behind) {
                (true, false) => &[SENDS],
                _ => &[SENDS, receives],
            };
            self.attach_clsact_to(programs, ifindex, hooks)?;
        }
        Ok(())
    }

    /// A link of this kind that runs `program`, pinned.
    fn ensure(
        &self,
        ifindex: u32,
        kind: &str,
        attach: AttachType,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let pin = self.pin(ifindex, kind);
        match syscall::get_pinned(&pin) {
            Ok(link) if evidence::is_here(link.as_fd(), ifindex, attach) => {
                return syscall::update_link(link.as_fd(), program);
            }
            // The interface it was for is gone, and the number was given to another.
            Ok(link) => {
                // It fails where the link's device is gone.
                let _ = syscall::detach_link(link.as_fd());
                fs::remove_file(&pin)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if attach != AttachType::Xdp {
            refuse_beside_another_agent(ifindex, attach)?;
        }
        let link: OwnedFd = syscall::create_link(program, ifindex, attach)?;
        // Not pinned, the link ends here with its descriptor.
        syscall::pin(link.as_fd(), &pin)
    }

    /// Takes everything but `kept` off an interface.
    fn drop_others(&mut self, ifindex: u32, kept: &[&str]) -> Result<(), Error> {
        for kind in [XDP, IN, OUT, CLSACT] {
            if !kept.contains(&kind) {
                remove(&self.dir, ifindex, kind)?;
            }
        }
        // Where a clsact qdisc is, others cannot add an "ingress" one. A clsact qdisc with filters
        // of others stays.
        if !kept.contains(&CLSACT)
            && self.qdiscs.remove(&ifindex)
            && !inventory::has_filters(ifindex)
        {
            clsact::remove_qdisc(ifindex)
                .map_err(|error| Error::kernel("removing a clsact qdisc", error))?;
        }
        Ok(())
    }

    pub fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.held.remove(&ifindex);
        self.drop_others(ifindex, &[])
    }

    /// Whether something of ours is on the device that has this number here, so that it is the one that was
    /// filtered before.
    pub fn is_here(&self, ifindex: u32) -> bool {
        [(OUT, AttachType::TcxEgress), (IN, AttachType::TcxIngress), (XDP, AttachType::Xdp)]
            .into_iter()
            .any(|(kind, attach)| evidence::pin_is_here(&self.pin(ifindex, kind), ifindex, attach))
            || self.has(ifindex, &[CLSACT]) && evidence::has_our_filter(ifindex)
    }

    /// Removes links whose interface is gone from here, also into another network namespace.
    pub fn drop_dead(&self) -> Result<(), Error> {
        for (number, kind) in pins(&self.dir) {
            let Ok(ifindex) = number.parse() else { continue };
            let is_here = match attach_type(&kind) {
                Some(attach) => evidence::pin_is_here(&self.pin(ifindex, &kind), ifindex, attach),
                None => evidence::has_our_filter(ifindex),
            };
            if !is_here {
                remove(&self.dir, ifindex, &kind)?;
            }
        }
        Ok(())
    }
}

/// Links in a folder of pins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    /// On a device, in whichever network namespace.
    pub alive: usize,
    /// Live links on a device of this network namespace.
    pub here: usize,
}

/// Looks at the links that are pinned in `dir`.
pub fn survey(dir: &Path) -> Survey {
    let mut survey = Survey::default();
    for (ifindex, kind) in pins(dir) {
        let pin = dir.join(format!("{ifindex}_{kind}"));
        let (Ok(ifindex), Some(attach)) = (ifindex.parse(), attach_type(&kind)) else { continue };
        let Ok(link) = syscall::get_pinned(&pin) else { continue };
        if syscall::link_info(link.as_fd()).is_ok_and(|link| link.ifindex.is_some()) {
            survey.alive += 1;
            survey.here += usize::from(evidence::is_here(link.as_fd(), ifindex, attach));
        }
    }
    survey
}

/// Where the link of a pin of this kind is; `None`: it stands for clsact filters.
fn attach_type(kind: &str) -> Option<AttachType> {
    match kind {
        XDP => Some(AttachType::Xdp),
        IN => Some(AttachType::TcxIngress),
        OUT => Some(AttachType::TcxEgress),
        _ => None,
    }
}

pub(super) fn side_of(attach: AttachType) -> clsact::Side {
    match attach {
        AttachType::TcxEgress => clsact::Side::Sends,
        AttachType::Xdp | AttachType::TcxIngress => clsact::Side::Receives,
    }
}

/// Two agents on one interface would have to allow each packet both. Another one's program is known by
/// its name; without the right to look at it, nothing is known.
fn refuse_beside_another_agent(ifindex: u32, attach: AttachType) -> io::Result<()> {
    let ours: &[&str] = match attach {
        AttachType::TcxIngress => &[TC_IN, TC_META],
        _ => &[TC_OUT],
    };
    for found in syscall::tcx_programs(ifindex, attach).unwrap_or_default() {
        let id = found.program;
        if let Ok(name) = syscall::program_name(id)
            && ours.contains(&name.as_str())
        {
            return Err(io::Error::other(format!(
                "another sg-agent, with a bpffs of its own, filters the interface (program {name}, \
                 id {id}): end it by `sg-agent detach` on its directories, or take the interface out \
                 of one's rules"
            )));
        }
    }
    Ok(())
}

/// Whether the kernel does not know TCX (before 6.6).
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// Names of the pins in a folder: interface and kind.
fn pins(dir: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (ifindex, kind) = name.split_once('_')?;
            Some((ifindex.to_owned(), kind.to_owned()))
        })
        .collect()
}

fn remove(dir: &Path, ifindex: u32, kind: &str) -> Result<(), Error> {
    let pin = dir.join(format!("{ifindex}_{kind}"));
    if !pin.exists() {
        return Ok(());
    }
    let failed = |error| Error::kernel(format!("removing {}", pin.display()), error);
    if kind == CLSACT {
        for side in [clsact::Side::Receives, clsact::Side::Sends] {
            clsact::remove_filter(ifindex, side).map_err(failed)?;
        }
    } else if let Ok(link) = syscall::get_pinned(&pin) {
        // It fails where the interface is gone, and the link with it.
        let _ = syscall::detach_link(link.as_fd());
    }
    fs::remove_file(&pin).map_err(failed)
}

/// Takes everything that is pinned in `dir` off its interfaces.
pub fn remove_all(dir: &Path) -> Result<(), Error> {
    for (ifindex, kind) in pins(dir) {
        if let Ok(ifindex) = ifindex.parse() {
            remove(dir, ifindex, &kind)?;
        }
    }
    Ok(())
}
