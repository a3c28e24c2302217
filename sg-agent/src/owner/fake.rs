//! A data path that keeps a diary of its calls, and an owner over it. For tests and fuzzing.

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sg_common::{
    Direction, Reason,
    counter::{Counter, CounterRow},
    flow::Tick,
    reason::REASONS,
};
use sg_policy::{
    DesiredState,
    compile::{CompileError, Compiler, Image, Parameters},
    model::{DatapathChoice, LiveInterface},
    rules::parsed::ParsedRules,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{
    command::{Actor, Change, Command, Replacement},
    error::Error,
    mailbox::{Reply, Submission},
    revision::Stored,
    state::{Options, Owner},
    unfiltered::Guard,
};
use crate::{
    api::Applied,
    datapath::{
        self, Adopted, AdoptedConnection, AttachMode, Attachment, FlowCursor, FlowEntry, Hook,
        Inherited, InheritedInterface, Opening, Opens, ProbeAnswer,
    },
    kernel::Kernel,
    observe::{
        conntrack::Tracked,
        interfaces::{Device, Interface, View},
        sockets::Sockets,
    },
    store::Store,
    system::clock,
};

/// An entry of this name makes rules that do not fit.
pub const TOO_LARGE: &str = "toolarge";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// By ifindex.
    pub cut_since: Vec<(u32, Option<u32>)>,
    /// The same of the fallback, by ifindex.
    pub fallback_cut_since: Vec<(u32, Option<u32>)>,
    /// By ifindex.
    pub pickup: Vec<(u32, u32)>,
}

#[derive(Debug, Default)]
pub struct FakeState {
    pub now: Tick,
    /// Time that has passed besides.
    pub clock: Clock,
    pub diary: Vec<String>,
    pub published: Vec<Published>,
    pub attached: BTreeSet<u32>,
    /// Cannot be attached.
    pub broken: BTreeSet<u32>,
    pub gone: BTreeSet<u32>,
    /// Attached, and not confirmed until they are attached anew.
    pub lost: BTreeSet<u32>,
    /// Why no pin can be trusted.
    pub distrust: Option<String>,
    pub refuses_images: bool,
    /// Images that it takes before it refuses them.
    pub takes_images: Option<u32>,
    /// Ticks that attaching an interface takes.
    pub attaching_takes: Tick,
    pub flows: Vec<FlowEntry>,
    pub sockets: Sockets,
    pub tracked: Vec<Tracked>,
    /// By this revision's rules port 443 is open to all.
    pub open_to_all: Option<u64>,
    /// Connections that were put into the flow table.
    pub adopted: Vec<AdoptedConnection>,
    /// How often it was asked what.
    pub asked: RefCell<BTreeMap<&'static str, u32>>,
    inherited: Option<Inherited>,
}

impl FakeState {
    pub fn last(&self) -> &Published {
        self.published.last().expect("something was published")
    }

    /// Interfaces as slot, ifindex, pickup.
    pub fn inherit(&mut self, revision: u64, interfaces: &[(u16, u32, u32)]) {
        self.published.clear();
        self.attached.extend(interfaces.iter().map(|&(_, ifindex, _)| ifindex));
        let interfaces = interfaces.iter().map(|&(slot, ifindex, pickup_until)| {
            InheritedInterface { slot, ifindex, pickup_until }
        });
        let interfaces = interfaces.collect();
        self.inherited = Some(Inherited { revision, interfaces });
    }
}

#[derive(Debug)]
pub struct FakeKernel {
    state: Rc<RefCell<FakeState>>,
    inherited: Option<Inherited>,
}

/// Time that passes by itself, told by another thread.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU32>);

impl Clock {
    pub fn seconds_pass(&self, seconds: u32) {
        self.0.fetch_add(seconds * (TICKS_PER_1000S / 1000), Ordering::Relaxed);
    }
}

const TICKS_PER_1000S: u32 = 20_000;

fn no() -> datapath::Error {
    datapath::Error::Other("no".to_owned())
}

impl FakeKernel {
    fn note(&self, question: &'static str) {
        *self.state.borrow().asked.borrow_mut().entry(question).or_default() += 1;
    }

    fn published(&self, what: String, published: Published) -> Result<(), datapath::Error> {
        let mut kernel = self.state.borrow_mut();
        kernel.diary.push(what);
        if let Some(left) = kernel.takes_images {
            kernel.takes_images = left.checked_sub(1);
            kernel.refuses_images |= left == 0;
        }
        if kernel.refuses_images {
            let source = io::ErrorKind::OutOfMemory.into();
            return Err(datapath::Error::Kernel { what: "publishing".to_owned(), source });
        }
        kernel.published.push(published);
        Ok(())
    }
}

impl Kernel for FakeKernel {
    fn now(&self) -> Tick {
        let kernel = self.state.borrow();
        kernel.now.wrapping_add(kernel.clock.0.load(Ordering::Relaxed))
    }

    fn ticks_per_1000s(&self) -> u32 {
        TICKS_PER_1000S
    }

    fn inherited(&self) -> Option<&Inherited> {
        self.inherited.as_ref()
    }

    fn publish(&mut self, image: &Image) -> Result<(), datapath::Error> {
        let read = read(image);
        self.published(format!("publish {}", read.text), read.published)
    }

    fn publish_until(
        &mut self,
        image: &Image,
        fallback: &Image,
        deadline: Tick,
    ) -> Result<(), datapath::Error> {
        let (active, fallback) = (read(image), read(fallback));
        let what = format!("publish {} until {deadline} {}", active.text, fallback.text);
        let fallback_cut_since = fallback.published.cut_since;
        self.published(what, Published { fallback_cut_since, ..active.published })
    }

    fn attach(
        &mut self,
        ifindex: u32,
        _name: &str,
        choice: DatapathChoice,
        mode: AttachMode,
    ) -> Result<Attachment, datapath::Error> {
        let mut kernel = self.state.borrow_mut();
        let is_provisional = mode == AttachMode::Fast;
        let said = if is_provisional { " for now" } else { "" };
        kernel.diary.push(format!("attach {ifindex} {choice:?}{said}"));
        kernel.now += kernel.attaching_takes;
        if kernel.broken.contains(&ifindex) {
            return Err(no());
        }
        kernel.attached.insert(ifindex);
        kernel.lost.remove(&ifindex);
        let hook = if is_provisional { Hook::Tc } else { Hook::Tcx };
        Ok(Attachment { hook, reason: "fake".to_owned(), is_provisional })
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), datapath::Error> {
        let mut kernel = self.state.borrow_mut();
        kernel.diary.push(format!("detach {ifindex}"));
        kernel.attached.remove(&ifindex);
        Ok(())
    }

    fn is_here(&self, ifindex: u32) -> bool {
        self.note("is_here");
        self.state.borrow().attached.contains(&ifindex)
    }

    fn verify(&self) -> Result<BTreeMap<u32, String>, datapath::Error> {
        self.note("verify");
        let kernel = self.state.borrow();
        match &kernel.distrust {
            Some(reason) => Err(datapath::Error::Other(reason.clone())),
            None => Ok(kernel.lost.iter().map(|&ifindex| (ifindex, "lost".to_owned())).collect()),
        }
    }

    fn attached(&self) -> Vec<u32> {
        self.note("attached");
        self.state.borrow().attached.iter().copied().collect()
    }

    fn foreign_programs(&self) -> BTreeMap<u32, Vec<String>> {
        self.note("foreign_programs");
        BTreeMap::new()
    }

    fn counters(&self, _slot: u16) -> CounterRow {
        self.note("counters");
        CounterRow([Counter::default(); 2 * REASONS])
    }

    fn release(&mut self, slots: &[u16]) {
        let diary = &mut self.state.borrow_mut().diary;
        diary.extend(slots.iter().map(|slot| format!("release {slot}")));
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowEntry)) {
        self.note("for_each_flow");
        self.state.borrow().flows.iter().for_each(each);
    }

    fn for_some_flows(
        &self,
        _: FlowCursor,
        each: &mut dyn FnMut(&FlowEntry),
    ) -> Result<Option<FlowCursor>, datapath::Error> {
        self.state.borrow().flows.iter().for_each(each);
        Ok(None)
    }

    fn flush(&self, which: &mut dyn FnMut(&FlowEntry) -> bool) -> u64 {
        let count = self.state.borrow().flows.iter().filter(|flow| which(flow)).count();
        self.state.borrow_mut().diary.push("flush".to_owned());
        count as u64
    }

    /// Nothing is denied to port 443.
    fn cut_denied(
        &self,
        _: &Image,
        which: &mut dyn FnMut(&FlowEntry) -> bool,
    ) -> Result<u64, datapath::Error> {
        let kernel = self.state.borrow();
        let denied = kernel.flows.iter().filter(|flow| flow.dport != 443);
        Ok(denied.filter(|flow| which(flow)).count() as u64)
    }

    fn capacity(&self) -> u64 {
        self.note("capacity");
        1024
    }

    /// Port 443 is open to some, port 80 to all.
    fn judge(&self, image: &Image, opening: &Opening) -> Opens {
        self.note("judge");
        let port = match opening.direction {
            Direction::Ingress => opening.local.port(),
            Direction::Egress => opening.remote.port(),
        };
        let is_open = self.state.borrow().open_to_all == Some(image.view().header().revision());
        match port {
            443 if is_open => Opens::Untracked,
            443 => Opens::Tracked,
            80 => Opens::Untracked,
            _ => Opens::Denied,
        }
    }

    fn adopt(
        &self,
        _: &Image,
        connections: &[AdoptedConnection],
    ) -> Result<Adopted, datapath::Error> {
        let mut kernel = self.state.borrow_mut();
        let before = kernel.adopted.len();
        for connection in connections {
            if !kernel.adopted.contains(connection) {
                kernel.adopted.push(*connection);
            }
        }
        Ok(Adopted { kept: (kernel.adopted.len() - before) as u64, cut: 0 })
    }

    fn sockets(&self) -> io::Result<Sockets> {
        self.note("sockets");
        Ok(self.state.borrow().sockets.clone())
    }

    fn tracked(&self) -> io::Result<Vec<Tracked>> {
        self.note("tracked");
        Ok(self.state.borrow().tracked.clone())
    }

    fn probe(&self, ifindex: u32, _: Direction, _: &[u8]) -> Result<ProbeAnswer, datapath::Error> {
        self.note("probe");
        let kernel = self.state.borrow();
        let filtered = kernel.attached.contains(&ifindex);
        let flow = kernel.flows.first().cloned();
        Ok(ProbeAnswer { reason: filtered.then_some(Reason::Flow), flow })
    }

    fn remove(&mut self, _bpffs: &Path) -> Result<(), datapath::Error> {
        self.state.borrow_mut().diary.push("remove".to_owned());
        Ok(())
    }

    fn exists(&self, ifindex: u32) -> bool {
        self.note("exists");
        !self.state.borrow().gone.contains(&ifindex)
    }
}

thread_local! {
    static COMPILED: Cell<u32> = const { Cell::new(0) };
}

/// How many images this thread's owners have had compiled since the last look.
pub fn compiled() -> u32 {
    COMPILED.take()
}

/// The real compiler, with a name that it has no room for.
fn compile(
    compiler: &mut Compiler,
    state: &DesiredState,
    live: &[LiveInterface],
    parameters: &Parameters,
) -> Result<Image, CompileError> {
    COMPILED.set(COMPILED.get() + 1);
    if state.interfaces.iter().any(|entry| entry.name == TOO_LARGE) {
        return Err(CompileError::TooLarge { needed: 2, limit: 1 });
    }
    compiler.compile(state, live, parameters)
}

struct Read {
    text: String,
    published: Published,
}

fn read(image: &Image) -> Read {
    let header = image.view().header();
    let mut text = format!("{}:", header.revision());
    let mut published = Published::default();
    let mut interfaces: Vec<_> = image.view().interfaces().collect();
    interfaces.sort_by_key(|interface| interface.record.ifindex());
    for interface in interfaces {
        let (ifindex, slot) = (interface.record.ifindex(), interface.slot());
        text += &format!(" {ifindex}={slot}");
        published.cut_since.push((ifindex, interface.record.cut_since()));
        published.pickup.push((ifindex, interface.record.pickup_until()));
    }
    Read { text, published }
}

pub fn interface(ifindex: u32, name: &str) -> (u32, Interface) {
    let interface = Interface {
        device: Device { name: name.into(), ethernet: true, ..Device::default() },
        generation: u64::from(ifindex),
        addresses: BTreeSet::new(),
    };
    (ifindex, interface)
}

pub fn view<const N: usize>(interfaces: [(u32, Interface); N]) -> View {
    View::from(interfaces)
}

impl Owner<FakeKernel> {
    pub fn seconds_pass(&mut self, seconds: u32) {
        let ticks = seconds * (self.kernel.ticks_per_1000s() / 1000);
        let mut kernel = self.kernel.state.borrow_mut();
        kernel.now = kernel.now.wrapping_add(ticks);
    }
}

/// An owner on a state directory of its own.
pub struct Fixture {
    pub owner: Owner<FakeKernel>,
    pub directory: TempDir,
    pub boot_id: String,
    /// The wall clock when the next agent starts.
    pub wall_clock: u64,
    open: Box<dyn Fn() -> Store>,
    kernel: Rc<RefCell<FakeState>>,
}

impl std::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Fixture {
    pub fn new(view: View) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().to_owned();
        Self::on(directory, move || Store::open(&path).expect("a whole state directory"), view)
    }

    /// On a store that `open` opens.
    pub fn on(directory: TempDir, open: impl Fn() -> Store + 'static, view: View) -> Self {
        let kernel = Rc::new(RefCell::new(FakeState { now: 1000, ..FakeState::default() }));
        let (boot_id, wall_clock) = ("boot".to_owned(), clock::unix_now());
        let owner = start(open(), &kernel, &boot_id, wall_clock, view);
        let open = Box::new(open);
        let mut fixture = Self { owner, directory, boot_id, wall_clock, open, kernel };
        assert_eq!(fixture.diary(), ["publish 0:"]);
        fixture
    }

    /// A new agent on the state that the old one's death left.
    pub fn restart(&mut self, view: View) {
        self.owner.store.die();
        self.owner = start((self.open)(), &self.kernel, &self.boot_id, self.wall_clock, view);
    }

    /// Whether nothing waits to be done but to ask the kernel again whether all is filtered.
    pub fn rests(&self) -> bool {
        self.owner.sleep().is_none_or(|time| time > Duration::from_secs(8))
    }

    /// As if the kernel had last been asked so many seconds ago.
    pub fn age_verification(&mut self, seconds: u64) {
        self.owner.verification.at -= Duration::from_secs(seconds);
    }

    pub fn kernel(&self) -> RefMut<'_, FakeState> {
        self.kernel.borrow_mut()
    }

    /// Calls since the last look.
    pub fn diary(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kernel.borrow_mut().diary)
    }

    pub fn apply(&mut self, text: &str) -> Result<Applied, Error> {
        self.owner.execute(command(text, None), Instant::now())
    }

    pub fn apply_until(&mut self, text: &str, seconds: u32) -> Result<Applied, Error> {
        self.owner.execute(command(text, Some(seconds)), Instant::now())
    }

    /// Applies all files at once, each with its seconds to confirm.
    pub fn apply_all(&mut self, files: &[(&str, Option<u32>)]) -> Vec<Result<Applied, Error>> {
        let submit = |&(text, confirm): &(&str, _)| {
            let (answer, answered) = oneshot::channel();
            let (command, answer) = (command(text, confirm), Reply(answer));
            (Submission { command, since: Instant::now(), answer }, answered)
        };
        let (submissions, answers): (Vec<_>, Vec<_>) = files.iter().map(submit).unzip();
        self.owner.execute_all(submissions);
        let answer = |mut answered: oneshot::Receiver<_>| answered.try_recv().expect("an answer");
        answers.into_iter().map(answer).collect()
    }

    /// Current revision and highest number, as a restart would read them.
    pub fn stored(&self) -> (u64, u64) {
        let store = (self.open)();
        (store.ledger().current, store.ledger().last)
    }
}

/// To put a rules file in force.
pub fn command(text: &str, confirm: Option<u32>) -> Command {
    let source = ParsedRules::read("rules.toml", text).expect("valid rules");
    let actor = Actor { name: "rules.toml".to_owned(), guard: Guard::default() };
    let change = Change::Replace(Replacement::file(Arc::new(source)));
    Command { actor, change, confirm, expected_revision: None }
}

fn start(
    mut store: Store,
    kernel: &Rc<RefCell<FakeState>>,
    boot_id: &str,
    started_at: u64,
    view: View,
) -> Owner<FakeKernel> {
    let inherited = kernel.borrow().inherited.clone();
    let fake = FakeKernel { state: kernel.clone(), inherited };
    let stored = Stored::load(&store).expect("whole rules");
    store.prepare().expect("a disk that can be written to");
    let options = Options {
        max_interfaces: 64,
        bpffs: "/nonexistent".into(),
        boot_id: boot_id.to_owned(),
        started_at,
        compile,
        names: Default::default(),
    };
    Owner::start(fake, store, stored, view, options).expect("a start")
}
