//! A machine that exists only here: a process on it, clocks, power.

mod clock;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use umbel_cluster::Node;

pub(crate) use self::clock::MachineClock;
use crate::ambient::{Runtimes, set_now};
use crate::cast::Recorder;
use crate::disk::{DISK_BYTES, Disk, FailedSync};
use crate::host::Host;
use crate::mutant::Mutant;
use crate::network::Place;
use crate::record::Record;
use crate::shared::Shared;
use crate::standing::Standing;
use crate::tap::tap;

/// What runs on a machine: it is given the machine, and starts a node there.
pub(crate) type Program =
    Arc<dyn Fn(Host) -> BoxFuture<'static, Result<Node, String>> + Send + Sync>;

/// What a number is drawn for: what a power cut leaves on the disk.
const LOST: u64 = u64::MAX;

/// And: what tokio draws.
const RUNTIME: u64 = u64::MAX - 1;

/// How long a node may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// How long after that its tasks may still be there: they are aborted, and end at their next turn.
const TASKS_GONE_WITHIN: Duration = Duration::from_millis(50);

/// A machine that exists only here.
pub(crate) struct Machine {
    number: usize,
    shared: Arc<Shared>,
    clock: MachineClock,
    disk: Disk,
    disk_ails: Ailments,
    program: Program,
    lives: u32,
    drifts_until: Option<Duration>,
    process: Option<Process>,
}

/// A process on it: a runtime of its own, so that nothing of it outlives it.
struct Process {
    place: Place,
    runtime: Runtime,
    /// The machine's clock and the runtime's when it was started.
    born: (Duration, Instant),
    /// How far its runtime's clock has come.
    reached: Duration,
    node: Arc<Mutex<Started>>,
    paused_until: Option<Duration>,
    slow: Option<(Duration, Duration)>,
    awake_since: Duration,
    leaving: Leaving,
}

/// What has become of the start of a node.
#[derive(Default)]
enum Started {
    #[default]
    NotYet,
    Up(Node, AbortHandle),
    Failed(String),
}

#[derive(Default)]
enum Leaving {
    #[default]
    No,
    Begun(Arc<Mutex<bool>>),
    /// Its tasks are looked for from then on.
    Done(Duration),
}

impl Machine {
    pub(crate) fn new(number: usize, seed: u64, shared: Arc<Shared>, program: Program) -> Self {
        let clock = MachineClock::new(seed);
        Self {
            number,
            shared,
            clock,
            disk: Disk::new(),
            disk_ails: Ailments::default(),
            program,
            lives: 0,
            drifts_until: None,
            process: None,
        }
    }

    pub(crate) fn clock(&self) -> &MachineClock {
        &self.clock
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn node(&self) -> Option<Node> {
        match &*self.process.as_ref()?.node.lock() {
            Started::Up(node, _) => Some(node.clone()),
            Started::NotYet | Started::Failed(_) => None,
        }
    }

    /// Why its node did not start, told once.
    pub(crate) fn take_failure(&self) -> Option<String> {
        let mut started = self.process.as_ref()?.node.lock();
        match std::mem::take(&mut *started) {
            Started::Failed(why) => Some(why),
            other => {
                *started = other;
                None
            }
        }
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        let process = self.process.as_ref()?;
        let mut standing = Standing::of(&self.node()?, self.number);
        standing.tasks = Some(process.runtime.metrics().num_alive_tasks());
        standing.awake_since = process.awake_since;
        standing.is_paused = process.paused_until.is_some() || process.slow.is_some();
        Some(standing)
    }

    // --- What happens to it -----------------------------------------------------------------------

    /// Starts a process, where none runs.
    pub(crate) fn start(&mut self, runtimes: &mut Runtimes) {
        if self.process.is_some() {
            return;
        }
        self.lives += 1;
        if self.shared.mutant() == Some(Mutant::StoppedClock) {
            self.clock.turn_back();
        }
        let place = Place { machine: self.number, life: self.lives };
        let now = self.shared.now();
        self.shared.network().process_started(place);
        set_now(self.clock.monotonic());
        let seed = self.shared.network().draw(place, RUNTIME);
        let runtime = runtimes.seeded(seed).enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets and threads needs nothing");
        let host = Host::new(self.shared.clone(), place, self.clock.clone(), self.disk.storage());
        let node = Arc::new(Mutex::new(Started::NotYet));
        let (program, slot, shared) = (self.program.clone(), node.clone(), self.shared.clone());
        let mutant = shared.mutant();
        runtime.spawn(async move {
            let started = AssertUnwindSafe(async { program(host).await }).catch_unwind().await;
            let started = started.unwrap_or_else(|panic| Err(panicked(&*panic)));
            let started = match started {
                Ok(node) => {
                    let recorder = Recorder::new(move |record| shared.record(place, record));
                    recorder.record(Record::Started { node: node.id() });
                    let tap = tokio::spawn(tap(node.clone(), recorder, mutant));
                    Started::Up(node, tap.abort_handle())
                }
                Err(why) => Started::Failed(why),
            };
            *slot.lock() = started;
        });
        let origin = runtime.block_on(async { Instant::now() });
        self.process = Some(Process {
            place,
            runtime,
            born: (self.clock.monotonic(), origin),
            reached: Duration::ZERO,
            node,
            paused_until: None,
            slow: None,
            awake_since: now,
            leaving: Leaving::No,
        });
    }

    /// Ends its process at once; with its power, where that is lost. No task of it runs again.
    pub(crate) fn kill(&mut self, with_power: bool) {
        let Some(process) = self.process.take() else {
            if with_power {
                self.shared.network().power_lost(self.number);
                let place = Place { machine: self.number, life: self.lives };
                self.lose_unsynced(place);
            }
            return;
        };
        let mut network = self.shared.network();
        network.process_ended(process.place, with_power);
        drop(network);
        if with_power {
            self.lose_unsynced(process.place);
        } else {
            self.disk.process_kill();
        }
        // Before the runtime, so that the last handle of a node is not dropped by a task.
        drop(process.node);
        // Which waits for no thread that the process may have started.
        process.runtime.shutdown_background();
    }

    /// What its disk has not synced is kept, lost or torn, by chance.
    fn lose_unsynced(&self, place: Place) {
        let seed = self.shared.network().draw(place, LOST);
        self.disk.power_loss(&mut StdRng::seed_from_u64(seed));
    }

    /// Has its node say goodbye; the process ends when that is done. False where no node is up.
    pub(crate) fn leave(&mut self) -> bool {
        let Some(node) = self.node() else { return false };
        let Some(process) = &mut self.process else { return false };
        self.shared.record(process.place, Record::Leaves { node: node.id() });
        let done = Arc::new(Mutex::new(false));
        let told = done.clone();
        process.runtime.spawn(async move {
            node.leave(LEAVE_WITHIN).await;
            drop(node);
            *told.lock() = true;
        });
        process.leaving = Leaving::Begun(done);
        true
    }

    pub(crate) fn pause(&mut self, until: Duration) {
        if let Some(process) = &mut self.process {
            process.paused_until = process.paused_until.max(Some(until));
        }
    }

    pub(crate) fn slow_down(&mut self, turn: Duration, until: Duration) {
        if let Some(process) = &mut self.process {
            process.slow = Some((turn, until));
        }
    }

    pub(crate) fn drift(&mut self, millionths: i64, until: Duration) {
        self.clock.drift(millionths);
        self.drifts_until = Some(until);
    }

    /// Its disk takes nothing more until then.
    pub(crate) fn fill_disk(&mut self, until: Duration) {
        self.disk.full_at(self.disk.used_bytes());
        self.disk_ails.full = self.disk_ails.full.max(Some(until));
    }

    /// Its disk fails so many writes and syncs, until then at most.
    pub(crate) fn fail_disk(&mut self, writes: u32, syncs: u32, until: Duration) {
        self.disk.fail_writes(writes);
        self.disk.fail_syncs(syncs, FailedSync::Dropped);
        self.disk_ails.fails = self.disk_ails.fails.max(Some(until));
    }

    /// Its disk takes so much longer until then.
    pub(crate) fn slow_disk(&mut self, extra: Duration, until: Duration) {
        self.disk.slow(extra);
        self.disk_ails.slow = self.disk_ails.slow.max(Some(until));
    }

    /// Ends what holds it up.
    pub(crate) fn heal(&mut self) {
        self.clock.drift(0);
        self.drifts_until = None;
        self.disk_ails = Ailments::default();
        self.disk.heal();
        if let Some(process) = &mut self.process {
            let held_up = process.paused_until.take().is_some() | process.slow.take().is_some();
            if held_up {
                process.awake_since = self.shared.now();
            }
        }
    }

    // --- Its time ---------------------------------------------------------------------------------

    /// Lets it work until `end`. Returns true where its process has ended by itself.
    pub(crate) fn work(&mut self, now: Duration, end: Duration) -> bool {
        self.clock.set_world(now);
        set_now(self.clock.monotonic());
        if self.drifts_until.take_if(|until| *until <= now).is_some() {
            self.clock.drift(0);
        }
        self.disk_ails.end(&self.disk, now);
        let Some(process) = &mut self.process else {
            // The kernel answers for a process that is not there.
            let woken = self.shared.network().deliver(self.number);
            drop(woken);
            return false;
        };
        if process.rests(now) {
            return false;
        }
        let woken = self.shared.network().deliver(self.number);
        woken.into_iter().for_each(Waker::wake);
        let behind = (self.clock.monotonic() - process.born.0).saturating_sub(process.reached);
        let target = self.clock.monotonic_at(end) - process.born.0;
        let until = process.born.1 + target;
        process.runtime.block_on(async {
            // A process that was stopped finds that its clock has gone on.
            if behind > end - now {
                tokio::time::advance(behind).await;
            }
            tokio::time::sleep_until(until).await;
        });
        process.reached = target;
        process.has_left(&self.shared, end)
    }
}

/// What ails a disk, until when.
#[derive(Default)]
struct Ailments {
    full: Option<Duration>,
    fails: Option<Duration>,
    slow: Option<Duration>,
}

impl Ailments {
    /// Ends what is over by now.
    fn end(&mut self, disk: &Disk, now: Duration) {
        if self.full.take_if(|until| *until <= now).is_some() {
            disk.full_at(DISK_BYTES);
        }
        if self.fails.take_if(|until| *until <= now).is_some() {
            disk.fail_writes(0);
            disk.fail_syncs(0, FailedSync::Dropped);
        }
        if self.slow.take_if(|until| *until <= now).is_some() {
            disk.slow(Duration::ZERO);
        }
    }
}

impl Process {
    /// Whether it gets no time now.
    fn rests(&mut self, now: Duration) -> bool {
        if self.paused_until.is_some_and(|until| until > now) {
            return true;
        }
        if self.paused_until.take().is_some() {
            self.awake_since = now;
        }
        if self.slow.take_if(|(_, until)| *until <= now).is_some() {
            self.awake_since = now;
        }
        self.slow.is_some_and(|(turn, _)| !now.as_millis().is_multiple_of(turn.as_millis().max(1)))
    }

    /// Whether its node has left; what it leaves behind is recorded.
    fn has_left(&mut self, shared: &Shared, now: Duration) -> bool {
        match &self.leaving {
            Leaving::No => false,
            Leaving::Begun(done) => {
                if *done.lock() {
                    if let Started::Up(_, tap) = &*self.node.lock() {
                        tap.abort();
                    }
                    self.leaving = Leaving::Done(now + TASKS_GONE_WITHIN);
                }
                false
            }
            Leaving::Done(since) if now < *since => false,
            Leaving::Done(_) => {
                let tasks = self.runtime.metrics().num_alive_tasks();
                if let Started::Up(node, _) = &*self.node.lock() {
                    shared.record(self.place, Record::Left { node: node.id(), tasks });
                }
                true
            }
        }
    }
}

/// What somebody said who panicked.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", said.unwrap_or("without a text"))
}
