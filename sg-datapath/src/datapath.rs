//! The data path of a network namespace: opened, attached, asked and removed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use sg_common::{
    ABI, Direction, ImageView, Reason,
    flow::{Addresses4, Addresses6, LANES, Tick, buckets_in},
    probe::{Answer, MAGIC, MIN_FRAME, Question},
};

use crate::{
    attach::{
        foreign,
        hook::{AttachMode, Attachment, HookChoice},
        links::{self, BpfLinks},
    },
    bpf::{
        programs::{LoadCost, Loader, Programs},
        syscall,
    },
    bpffs,
    clock::Clock,
    error::Error,
    flow_log_reader::FlowLogReader,
    flows::{
        adopt::{self, Adopted, AdoptedConnection},
        census::Census,
        entry::{FlowEntry, Opening},
        judge::{self, Opens},
        lane::LaneNumber,
        revoke,
        table::Present,
        usage::UsageRows,
        visit::{self, FlowCursor, Keep},
    },
    maps::{
        arena::{self, Arena},
        handover::{self, Inherited},
        layout::Maps,
    },
    namespace,
    options::Options,
};

#[derive(Clone, Debug)]
pub struct ProbeAnswer {
    /// `None`: the interface is not filtered.
    pub reason: Option<Reason>,
    pub flow: Option<FlowEntry>,
}

/// The data path of one network namespace.
#[derive(Debug)]
pub struct Datapath {
    pub(crate) maps: Maps,
    pub(crate) arena: Arena,
    pub(crate) programs: Programs,
    pub(crate) links: BpfLinks,
    pub(crate) clock: Clock,
    pub(crate) inherited: Option<Inherited>,
    /// `<bpffs>/v<ABI>/maps`.
    pub(crate) maps_dir: PathBuf,
    /// The folders that pins lie in.
    folders: Vec<PathBuf>,
    /// See [`Options::loaded`].
    pub(crate) loaded: fn(),
}

impl Datapath {
    /// Loads the programs. Creates maps and pins, or takes over an earlier agent's.
    pub fn open(options: &Options, loader: Loader) -> Result<Self, Error> {
        let base = options.bpffs.join(version_dir(options.abi.number));
        Self::mount(&options.bpffs)?;
        let found = versions(&options.bpffs);
        bpffs::claim(&options.bpffs, &found)?;
        let namespace = namespace::cookie();
        for dir in namespace::abandoned(&found, namespace)? {
            tracing::warn!(pins = %dir.display(), "the network namespace that they were for is gone");
            remove_dir(&dir)?;
        }
        let maps_dir = base.join("maps");
        fs::create_dir_all(&maps_dir)
            .map_err(|error| Error::kernel(format!("creating {}", maps_dir.display()), error))?;
        let clock = Clock::new().map_err(|error| Error::kernel("loading a BPF program", error))?;
        let mut others = versions(&options.bpffs);
        others.retain(|dir| *dir != base);
        let from = handover::predecessor(&others, options.abi.tables);
        let mut maps = Maps::open(&maps_dir, from.as_deref(), options)?;
        maps.handover.set_namespace(namespace)?;
        let arena = Arena::open(&maps.arena, &maps.handover)?;
        let programs = Programs::load(loader, &maps, clock.shift, options.first, options.loaded)?;
        let mut links = BpfLinks::open(base.join("links"))?;
        for other in &others {
            adopt(other, &base, from.is_some())?;
        }
        links.drop_dead()?;
        let old = std::mem::take(&mut maps.old_tables);
        if !old.is_empty() {
            links.update_all(&programs)?;
            old.bring_after(&maps.flows4, &maps.flows6, arena.hash_key())?;
        }
        let inherited = maps.handover.inherited()?;
        let loaded = options.loaded;
        let folders =
            vec![options.bpffs.clone(), base.clone(), maps_dir.clone(), base.join("links")];
        Ok(Self { maps, arena, programs, links, clock, inherited, maps_dir, folders, loaded })
    }

    /// Mounts a bpffs where there is none.
    pub fn mount(bpffs: &Path) -> Result<(), Error> {
        bpffs::mount(bpffs)
    }

    /// For the flow log.
    pub fn flow_log_reader(&self) -> Result<FlowLogReader, Error> {
        FlowLogReader::open(&self.maps)
    }

    /// For the thread that takes the census of the flow tables.
    ///
    /// # Errors
    /// No more descriptors to be had.
    pub fn census(&self) -> io::Result<Census> {
        Census::open(&self.maps, &self.maps_dir, &self.clock)
    }

    /// The cost of loading each program.
    ///
    /// # Errors
    /// One cannot be loaded.
    pub fn load_costs(&self) -> io::Result<[LoadCost; 5]> {
        self.programs.costs()
    }

    /// The data path's clock now.
    pub fn now(&self) -> Tick {
        let offset = self.arena.clock_offset().load(Ordering::Relaxed);
        self.clock.now().wrapping_add(offset)
    }

    pub fn ticks_per_1000s(&self) -> u32 {
        self.clock.ticks_per_1000s()
    }

    pub fn inherited(&self) -> Option<&Inherited> {
        self.inherited.as_ref()
    }

    /// Attaches both directions. Idempotent: an interface that is attached already (also by an
    /// earlier agent) keeps its links and gets the present programs.
    ///
    /// # Errors
    /// Also where the kernel does not confirm that the programs are there.
    pub fn attach(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: HookChoice,
        mode: AttachMode,
    ) -> Result<Attachment, Error> {
        let attachment = self.links.attach(&self.programs, ifindex, name, choice, mode)?;
        self.links.verify_one(&self.programs, ifindex).map_err(Error::Other)?;
        Ok(attachment)
    }

    /// Whether something of ours is on the device that has this number here. A new device with an old one's
    /// number has nothing, and neither has one that another agent or namespace left behind.
    pub fn is_here(&self, ifindex: u32) -> bool {
        self.links.is_here(ifindex)
    }

    /// The interfaces that were attached and are not filtered, with the reason. Asks the kernel for every link,
    /// its program and its device.
    ///
    /// # Errors
    /// The folders of the pins are not ours alone, so that none can be trusted.
    pub fn verify(&self) -> Result<BTreeMap<u32, String>, Error> {
        self.folders.iter().try_for_each(|folder| bpffs::check(folder))?;
        Ok(self.links.verify(&self.programs))
    }

    /// Takes programs off an interface; also right for one that is gone. No error if not attached.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.links.detach(ifindex)
    }

    /// ifindexes with links, own or of an earlier agent.
    pub fn attached(&self) -> Vec<u32> {
        self.links.attached().into_iter().collect()
    }

    /// XDP and TC users besides us on attached interfaces, in words, by ifindex.
    pub fn foreign_programs(&self) -> BTreeMap<u32, Vec<String>> {
        foreign::on(&self.attached(), &self.programs)
    }

    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&FlowEntry) -> Keep) -> Result<u64, Error> {
        visit::visit(&self.maps, visit)
    }

    /// Calls `each` with every entry, expired ones included (compare `seen` with the timeouts).
    pub fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry)) {
        let result = self.visit(&mut |flow| {
            each(flow);
            Keep::Yes
        });
        if let Err(error) = result {
            tracing::warn!(%error, "the flow table could not be read");
        }
    }

    /// Calls `each` with some of the entries, from where the last call ended; see [`visit::some`].
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn for_some_flows(
        &self,
        from: FlowCursor,
        each: &mut dyn FnMut(&FlowEntry),
    ) -> Result<Option<FlowCursor>, Error> {
        visit::some(&self.maps, from, each)
    }

    /// Forgets the flows that `which` says; returns how many.
    pub fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        let result = self.visit(&mut |flow| if which(flow) { Keep::No } else { Keep::Yes });
        result.unwrap_or_else(|error| {
            tracing::warn!(%error, "the flow table could not be flushed");
            0
        })
    }

    /// Cuts the flows that the rules in `image` would not allow to be opened and that `which` says;
    /// returns how many.
    pub fn cut_denied(
        &self,
        image: &[u32],
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, Error> {
        revoke::cut_denied(&self.maps, image, self.now(), which)
    }

    /// Judges an opening packet by the rules in an image.
    pub fn judge(&self, image: &[u32], opening: &Opening) -> Opens {
        ImageView::new(image).map_or(Opens::Denied, |image| judge::judge(image, opening))
    }

    /// Puts connections into the flow table that the rules in `image` would have let open, and cuts
    /// TCP that they would not; see [`adopt::adopt`].
    pub fn adopt(
        &self,
        image: &[u32],
        connections: &[AdoptedConnection],
    ) -> Result<Adopted, Error> {
        let now = self.now();
        let records = arena::records(&self.maps.arena, self.arena.root(), now)?;
        let usage = UsageRows::map(&self.maps.usage)?;
        let hash_key = self.arena.hash_key();
        let present = Present { records: &records, hash_key, now, usage: Some(&usage) };
        adopt::adopt(&self.maps, image, &present, connections)
    }

    /// Interfaces that there are counters for: slots are numbered below this.
    pub fn max_interfaces(&self) -> u16 {
        u16::try_from(self.maps.slots).unwrap_or(u16::MAX)
    }

    /// Both families together.
    pub fn capacity(&self) -> u64 {
        let buckets = buckets_in::<Addresses4>(self.maps.flows4.size)
            + buckets_in::<Addresses6>(self.maps.flows6.size);
        (buckets * LANES) as u64
    }

    /// Judges a frame by the live tables without a trace.
    pub fn probe(
        &self,
        ifindex: u32,
        direction: Direction,
        frame: &[u8],
    ) -> Result<ProbeAnswer, Error> {
        let meta = size_of::<Question>();
        let mut data = Vec::with_capacity(meta + frame.len().max(MIN_FRAME));
        data.extend(ifindex.to_ne_bytes());
        data.extend((direction as u32).to_ne_bytes());
        data.extend(frame);
        data.resize(data.len().max(meta + MIN_FRAME), 0);
        let run = self
            .programs
            .probe()
            .and_then(|probe| syscall::test_run_xdp(probe, &data, meta as u32))
            .map_err(|error| Error::kernel("running the probe", error))?;
        let word = |index: usize| {
            let at = meta + index * size_of::<u32>();
            run.data
                .get(at..at + size_of::<u32>())
                .map_or(0, |bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        const { assert!(size_of::<Answer>() == 12) };
        if word(0) != MAGIC {
            return Err(Error::Other("the probe gave no answer".into()));
        }
        let reason = u8::try_from(word(1)).ok().and_then(Reason::from_number);
        let flow = LaneNumber::of_answer(word(2))
            .and_then(|number| visit::at(&self.maps.flows4, &self.maps.flows6, number));
        Ok(ProbeAnswer { reason, flow })
    }

    /// Removes every link, map and pin under `bpffs`, of any ABI.
    pub fn remove(bpffs: &Path) -> Result<(), Error> {
        for dir in versions(bpffs) {
            links::remove_all(&dir.join("links"))?;
            remove_dir(&dir)?;
        }
        Ok(())
    }
}

/// Names and bytes of the maps pinned under `bpffs`.
///
/// # Errors
/// There are none.
pub fn map_sizes(bpffs: &Path) -> Result<Vec<(String, usize)>, Error> {
    let dir = bpffs.join(version_dir(ABI)).join("maps");
    let failed = |error| Error::kernel(format!("reading {}", dir.display()), error);
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let map = syscall::get_pinned(&entry.path()).map_err(failed)?;
        let size = syscall::map_value_size(map.as_fd()).map_err(failed)?;
        sizes.push((entry.file_name().to_string_lossy().into_owned(), size as usize));
    }
    sizes.sort_unstable();
    Ok(sizes)
}

fn version_dir(abi: u32) -> String {
    format!("v{abi}")
}

/// The folders of all ABIs under a bpffs.
fn versions(bpffs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(bpffs) else { return Vec::new() };
    let is_version =
        |name: &str| name.strip_prefix('v').is_some_and(|abi| abi.parse::<u32>().is_ok());
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_version))
        .map(|entry| entry.path())
        .collect()
}

/// Takes over the links of an agent of another ABI, and removes its pins. The links keep their own
/// programs and maps until each interface is attached anew. By then our maps hold the state that is
/// to be in force.
fn adopt(other: &Path, ours: &Path, with_flows: bool) -> Result<(), Error> {
    for entry in fs::read_dir(other.join("links")).into_iter().flatten().flatten() {
        let to = ours.join("links").join(entry.file_name());
        fs::rename(entry.path(), &to)
            .map_err(|error| Error::kernel(format!("adopting {}", to.display()), error))?;
    }
    remove_dir(other)?;
    tracing::info!(
        from = %other.display(),
        "taken over from an agent of another ABI; {}",
        if with_flows { "flows go on" } else { "its flows cannot be read: TCP is picked up again" }
    );
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::kernel(format!("removing {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}
