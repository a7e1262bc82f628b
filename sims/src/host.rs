//! The machine that a program runs on, as the program sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use umbel_actors::storage::Storage;
use umbel_actors::{Buggify, Clock, System};
use umbel_cluster::{Node, NodeBuilder, NodeConfig};
use umbel_protocol::{Identity, NodeName};

use crate::disk::SimStorage;
use crate::machine::MachineClock;
use crate::mutant::Mutant;
use crate::network::{Place, SimTransport};
use crate::record::Record;
use crate::shared::Shared;

/// The machines below this number are whom all others join through.
const SEEDS: usize = 2;

/// How often one who waits for the end of the faults looks.
const LOOK: Duration = Duration::from_millis(50);

/// The machine that a program runs on, in one life of its process.
///
/// An application is tested unchanged where it takes a [`NodeBuilder`]: give it [`Host::node`].
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    place: Place,
    clock: MachineClock,
    storage: SimStorage,
}

impl Host {
    pub(crate) fn new(
        shared: Arc<Shared>,
        place: Place,
        clock: MachineClock,
        storage: SimStorage,
    ) -> Self {
        Self { shared, place, clock, storage }
    }

    /// The machine's number, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.place.machine
    }

    /// Which life of its process this is, from 1.
    #[must_use]
    pub fn life(&self) -> u32 {
        self.place.life
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> NodeName {
        format!("n{}", self.place.machine).parse().expect("a letter and a number are a name")
    }

    /// A node on this machine, ready to be started: on the simulated network, with the machine's clock
    /// and a seed of its own, joining the others. Rare things happen in it: see [`Buggify`]. One in
    /// four has its connections replaced every two seconds; a configuration given to it changes that.
    ///
    /// # Panics
    /// Outside the world's runtimes.
    pub fn node(&self) -> NodeBuilder {
        let identity = Identity::new("sim".parse().expect("letters are a name"), self.name());
        let seed = self.seed();
        let system = System::builder(self.name().as_str()).clock(self.clock.clone()).seed(seed);
        let system = system.buggify(Points(self.shared.clone(), self.place));
        let mut config = NodeConfig::default();
        if seed.is_multiple_of(4) {
            // Connections are replaced all the while.
            config.link_age_max = Duration::from_secs(2);
        }
        Node::builder()
            .config(config)
            .transport(SimTransport::new(self.shared.clone(), self.place, identity))
            .system(system.start())
            .listen(address(self.place.machine))
            .join((0..SEEDS).filter(|seed| *seed != self.place.machine).map(address))
    }

    /// A number of the world's chance, another one in each life of the process.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.shared.network().draw(self.place, 0)
    }

    /// The machine's wall clock.
    #[must_use]
    pub fn clock(&self) -> impl Clock + use<> {
        self.clock.clone()
    }

    /// The machine's disk, for this life of the process: what it synced outlives the machine's crashes.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    /// Something that all of the world sees and no fault touches: what tests know, and no node. Each run
    /// has its own.
    #[must_use]
    pub fn oracle<T: Default + Send + 'static>(&self) -> Arc<Mutex<T>> {
        self.shared.oracle()
    }

    /// Notes what somebody on this machine saw or did, for invariants and for the trace.
    pub fn record(&self, record: Record) {
        self.shared.record(self.place, record);
    }

    /// Notes a line in the trace: a failing run tells the last ones.
    pub fn note(&self, what: impl fmt::Display) {
        self.shared.network().note(format_args!("m{} {what}", self.place.machine));
    }

    /// The bug that is planted in this world.
    pub(crate) fn mutant(&self) -> Option<Mutant> {
        self.shared.mutant()
    }

    /// Whether nothing goes wrong any more.
    #[must_use]
    pub fn faults_are_over(&self) -> bool {
        self.shared.faults_over()
    }

    /// Waits until nothing goes wrong any more.
    pub async fn wait_for_end_of_faults(&self) {
        while !self.faults_are_over() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name()).field("life", &self.life()).finish()
    }
}

/// At which points of the code rare things happen in a world, by its chance.
struct Points(Arc<Shared>, Place);

impl Buggify for Points {
    fn strikes(&self, point: &'static str) -> bool {
        self.0.network().strikes(self.1, point)
    }
}

fn address(machine: usize) -> String {
    format!("10.0.0.{machine}:7400")
}
