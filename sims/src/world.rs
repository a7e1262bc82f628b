//! A world to test a clustered application in.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::FutureExt;
use umbel_cluster::Node;

use crate::admission::{NotAdmitted, admit};
use crate::ambient::{Ambient, Runtimes, in_force};
use crate::chance::Chance;
use crate::fault::{Faults, Planned};
use crate::host::Host;
use crate::invariants::{Check, Limits};
use crate::machine::Program;
use crate::mutant::Mutant;
use crate::outcome::{Outcome, Violation};
use crate::progress::Progress;
use crate::run::Run;
use crate::shrink;
use crate::snapshot::Snapshot;
use crate::twice::{self, Take};

/// How many machines a world may have, those of its clients too.
pub const MACHINES_MAX: usize = 64;

/// A world to test a clustered application in: machines, a network, clocks and disks that exist only
/// here, and what goes wrong with them. All of it follows from the seed.
///
/// ```
/// use umbel_sims::{Faults, World};
///
/// let outcome = World::new(7)
///     .nodes(3, |host| async move { host.node().start().await })
///     .faults(Faults::Random(2))
///     .run();
/// assert!(outcome.ok, "{outcome}");
/// ```
#[must_use = "nothing happens in a world until `run`"]
#[derive(Clone)]
pub struct World {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) programs: Vec<Program>,
    pub(crate) clients: Vec<Workload>,
    pub(crate) faults: Faults,
    pub(crate) lasts: Duration,
    pub(crate) settles_within: Duration,
    pub(crate) checks: Vec<Check>,
    pub(crate) limits: Limits,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) keep_lines: bool,
    pub(crate) replay: Option<String>,
}

/// What a client does.
pub(crate) type Workload = Arc<
    dyn Fn(Host, Node) -> futures_util::future::BoxFuture<'static, Result<(), String>>
        + Send
        + Sync,
>;

impl World {
    /// A world with nothing in it yet.
    pub fn new(seed: u64) -> Self {
        Self {
            name: "world".to_owned(),
            seed,
            programs: Vec::new(),
            clients: Vec::new(),
            faults: Faults::Random(4),
            lasts: Duration::from_secs(10),
            settles_within: Duration::from_secs(40),
            checks: Vec::new(),
            limits: Limits::default(),
            mutant: None,
            keep_lines: false,
            replay: None,
        }
    }

    /// What the world is called where a run is reported.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// So many machines that run `program`, which starts a node on the machine that it is given and
    /// gives it back. It is called again after each end of its process. The first two machines are
    /// whom all others join through.
    ///
    /// # Panics
    /// Where there would be more machines than [`MACHINES_MAX`].
    pub fn nodes<F, E>(
        mut self,
        count: usize,
        program: impl Fn(Host) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Node, E>> + Send + 'static,
        E: Display,
    {
        let program: Program = Arc::new(move |host| {
            program(host).map(|node| node.map_err(|why| why.to_string())).boxed()
        });
        self.has_room_for(count);
        self.programs.extend(std::iter::repeat_n(program, count));
        self
    }

    fn has_room_for(&self, more: usize) {
        let machines = self.programs.len() + self.clients.len();
        let room = MACHINES_MAX - machines;
        assert!(more <= room, "a world has {MACHINES_MAX} machines at most, clients' too");
    }

    /// A client: a node on a machine of its own, which no fault befalls but partitions, in which
    /// it is not on the side that is named; and what it does there. The run ends when all clients are done; one that fails fails the run.
    ///
    /// # Panics
    /// Where there would be more machines than [`MACHINES_MAX`].
    pub fn workload<F, E>(mut self, work: impl Fn(Host, Node) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.has_room_for(1);
        self.clients.push(Arc::new(move |host, node| {
            work(host, node).map(|done| done.map_err(|why| why.to_string())).boxed()
        }));
        self
    }

    /// What goes wrong. Default: four faults, drawn from the seed. Faults that cannot befall this world, as
    /// any where it has no nodes, are told as the violation `faults` of a run in which nothing happens:
    /// see [`NotAdmitted`].
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// For how long things go wrong. Default: 10 seconds of the world's time.
    pub fn lasts(mut self, time: Duration) -> Self {
        self.lasts = time;
        self
    }

    /// Within which time after the faults all must be well, and the clients done. Default: 40 seconds.
    pub fn settles_within(mut self, time: Duration) -> Self {
        self.settles_within = time;
        self
    }

    /// Something that must hold at every look, ten times a second: what it says where it does not is
    /// reported.
    pub fn invariant(
        mut self,
        name: impl Into<String>,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check::always(name.into(), holds));
        self
    }

    /// Something that must hold in the end, when the faults are over, all nodes agree, and all clients
    /// are done.
    pub fn finally(
        mut self,
        name: impl Into<String>,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check::finally(name.into(), holds));
        self
    }

    /// How much may pile up at each node. Default: what any node is bound to.
    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With a bug on purpose, to see it caught: for tests of the simulator. Those in the application are in
    /// our own scenarios only.
    #[doc(hidden)]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// With all that happens in [`Outcome::lines`]; costs memory.
    pub fn keep_lines(mut self) -> Self {
        self.keep_lines = true;
        self
    }

    /// The command that replays a seed, for reports of failures: behind it are written the seed and, in
    /// single quotes, the faults as JSON, for [`Faults`] to parse.
    pub fn replayed_by(mut self, command: impl Into<String>) -> Self {
        self.replay = Some(command.into());
        self
    }

    pub(crate) fn replay_line(&self, faults: &[Planned]) -> Option<String> {
        let faults = serde_json::to_string(faults).expect("faults are plain data");
        self.replay.as_ref().map(|command| format!("{command} {} '{faults}'", self.seed))
    }

    /// Runs the world. If something does not hold, the faults are made as few and as mild as it takes
    /// for that not to hold, and the outcome is that of the smallest run that fails: with the faults that
    /// are left, and what happened last. Shrinking runs the world again some dozens of times.
    ///
    /// # Panics
    /// Where a check panics; where simulated code does not yield for a minute; and where simulation is not
    /// possible: see [`in_force`].
    #[must_use]
    pub fn run(&self) -> Outcome {
        in_force().unwrap_or_else(|why| panic!("{why}"));
        let outcome = self.run_once();
        if outcome.ok || self.admits().is_err() { outcome } else { shrink::shrink(self, outcome) }
    }

    /// Runs the world, on a thread of its own, and does not shrink; nor does it look whether all that
    /// simulated code is told comes from the simulation: do that once, by [`in_force`].
    ///
    /// # Panics
    /// As [`World::run`].
    #[must_use]
    pub fn run_once(&self) -> Outcome {
        self.take(Take::First)
    }

    /// Runs the world twice, and does not shrink. The second time, whoever asks the operating system for
    /// time or chance, past the node's clock and seed, is told something else. Where the runs differ,
    /// something in them depends on more than the seed: the violation `same-every-time` tells at which
    /// event they part.
    ///
    /// ```
    /// use umbel_sims::{Faults, World};
    ///
    /// let world = World::new(7).nodes(2, |host| async move { host.node().start().await });
    /// let outcome = world.faults(Faults::none()).run_twice();
    /// assert!(outcome.ok, "{outcome}");
    /// ```
    ///
    /// # Panics
    /// As [`World::run`].
    #[must_use]
    pub fn run_twice(&self) -> Outcome {
        twice::twice(self.keep_lines, |taking| {
            let mut world = self.clone();
            world.keep_lines = taking.keep_lines;
            world.take(taking.take)
        })
    }

    /// Whether what is to go wrong in it can.
    fn admits(&self) -> Result<(), NotAdmitted> {
        match &self.faults {
            Faults::Random(1..) if self.programs.is_empty() => Err(NotAdmitted::NoNodes),
            // What is drawn fits.
            Faults::Random(_) => Ok(()),
            Faults::Planned(faults) => admit(faults, self.programs.len(), self.lasts),
        }
    }

    /// What becomes of a run that cannot be.
    fn refused(&self, why: &NotAdmitted) -> Outcome {
        let violation =
            Violation { invariant: "faults".to_owned(), at_seconds: 0.0, what: why.to_string() };
        let faults = self.planned();
        Outcome {
            scenario: self.name.clone(),
            seed: self.seed,
            ok: false,
            trace: format!("{:016x}", 0),
            events: 0,
            sim_seconds: 0.0,
            settled_after_seconds: None,
            violations: vec![violation],
            replay: self.replay_line(&faults),
            faults,
            lines: Vec::new(),
        }
    }

    fn take(&self, take: Take) -> Outcome {
        if let Err(why) = self.admits() {
            return self.refused(&why);
        }
        let world = self.clone();
        let mut runtimes = Runtimes::new().unwrap_or_else(|why| panic!("{why}"));
        let ambient = match take {
            Take::First => Ambient::new(self.seed),
            Take::Second => Ambient::perturbed(self.seed),
        };
        // Futures of debug builds are deep.
        let thread = std::thread::Builder::new().name(take.thread()).stack_size(16 << 20);
        let (progress, (end, ends)) = (Progress::default(), channel());
        let come = progress.clone();
        let run = thread.spawn(move || {
            let _end = end;
            ambient.enter(|| Run::new(&world, &mut runtimes, come).finish())
        });
        progress.wait(run.expect("the system has a thread to give"), &ends)
    }

    /// The faults that a run of this world meets.
    #[must_use]
    pub fn planned(&self) -> Vec<Planned> {
        // Of chance of their own, so that a run in which they are given is the run in which they are
        // drawn.
        let mut chance = Chance::of(self.seed, &[u64::MAX]);
        self.faults.plan(&mut chance, self.programs.len(), self.lasts)
    }
}
