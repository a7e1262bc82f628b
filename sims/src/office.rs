//! The office: an application of services and modules, which tells what becomes of each call.
//!
//! Nodes have clerks, who are services, or departments, which are modules of such. Everybody calls
//! everybody, and many a request bids whoever executes it misbehave.

mod caller;
mod changer;
mod clerk;
mod closing;
mod day;
mod department;
mod errand;
mod staff;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use umbel_cluster::Node;
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{HostOptions, Placement, ServiceManager, ServiceOptions};

use self::day::Day;
pub(crate) use self::day::Phase;
use crate::host::Host;
use crate::invariants::Limits;
use crate::mutant::Mutant;
use crate::record::Record;

pub(crate) use self::closing::close;

/// The service of nodes that have no modules. It is made to misbehave.
pub(crate) const CLERK: &str = "clerk";

/// The module that others use, and its service, which does as it is bidden.
pub(crate) const LEDGER: &str = "ledger";

/// The module that uses it, and its service. It is made to misbehave.
pub(crate) const ORDERS: &str = "orders";

/// How much may pile up at a node of the office. What else nodes are bound to holds as well.
pub(crate) const LIMITS: Limits = Limits {
    unread: 256,
    data_bytes: 5 << 20,
    asks_per_link: 256,
    // Two instances of each service, while one takes the place of the other, and one to spare.
    entries_per_life: 6,
    top_level_actors: 16,
    tasks: 512,
    ..Limits::ANY
};

/// What all on one node share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Office(Arc<Inner>);

struct Inner {
    host: Host,
    node: Node,
    /// The node's name in this process, whatever life of it others take it for.
    name: String,
    /// Whether it has no services.
    is_client: bool,
    next: AtomicU64,
    day: Arc<parking_lot::Mutex<Day>>,
}

impl Office {
    fn new(host: &Host, node: &Node, is_client: bool) -> Self {
        let name = format!("{}.{}", host.name(), host.life());
        let (host, node, day) = (host.clone(), node.clone(), host.oracle());
        let next = AtomicU64::new(1);
        Self(Arc::new(Inner { host, node, name, is_client, next, day }))
    }

    fn node(&self) -> &Node {
        &self.0.node
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn record(&self, record: Record) {
        self.0.host.record(record);
    }

    fn below(&self, bound: u64) -> u64 {
        self.0.node.system().random() % bound
    }

    fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.0.host.mutant() == Some(mutant)
    }

    fn phase(&self) -> Phase {
        match self.0.day.lock().phase() {
            Phase::Rough if self.0.host.faults_are_over() => Phase::Calm,
            phase => phase,
        }
    }

    /// A number that nothing else has on this node.
    fn next(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Calls what is on any node.
    fn services(&self) -> ServiceManager {
        let attempt_deadline = self.one_in(2).then_some(Duration::from_millis(400));
        self.manager(ServiceOptions { attempt_deadline, ..patience() })
    }

    /// Calls what is on this one.
    fn services_here(&self) -> ServiceManager {
        self.manager(ServiceOptions { placement: Placement::Local, ..patience() })
    }

    fn manager(&self, options: ServiceOptions) -> ServiceManager {
        ServiceManager::builder(self.node().system())
            .directory(ClusterDirectory::new(self.node()))
            .default_options(options)
            .build()
    }

    /// How its services are run.
    fn host_options(&self, service: &str) -> HostOptions {
        let forgets = self.has(Mutant::Forgetful);
        let remember = if forgets { Duration::ZERO } else { Duration::from_secs(60) };
        HostOptions {
            workers: if service == LEDGER { 10 } else { 2 },
            queue: if service == LEDGER { 1000 } else { 8 },
            queue_wait: Duration::from_millis(800),
            remember,
            max_restarts: 1000,
            health_interval: Duration::from_millis(200),
            health_timeout: Duration::from_millis(100),
            health_failures: 2,
            drain: Duration::from_secs(u64::from(!self.has(Mutant::Abrupt))),
            middleware: self.lies(),
            ..HostOptions::default()
        }
    }
}

/// How long callers wait for an instance.
fn patience() -> ServiceOptions {
    ServiceOptions { resolve_within: Duration::from_millis(600), ..ServiceOptions::default() }
}

/// Starts a node with a clerk on it.
pub(crate) async fn with_clerk(host: Host) -> Result<Node, String> {
    let node = host.node().start().await.map_err(|why| why.to_string())?;
    let office = Office::new(&host, &node, false);
    let staff = staff::Staff::hire(&office).await.map_err(|why| why.to_string())?;
    office.work(&[CLERK], async move { staff.work().await });
    Ok(node)
}

/// Starts a node with departments on it.
pub(crate) async fn with_departments(host: Host) -> Result<Node, String> {
    let node = host.node().start().await.map_err(|why| why.to_string())?;
    let office = Office::new(&host, &node, false);
    let changer = changer::Changer::open(&office).await.map_err(|why| why.to_string())?;
    office.work(&[LEDGER, ORDERS], async move { changer.work().await });
    Ok(node)
}

impl Office {
    /// Calls, looks, and does `besides`, until the day is over, or the system.
    fn work(
        &self,
        services: &'static [&'static str],
        besides: impl Future<Output = ()> + Send + 'static,
    ) {
        let office = self.clone();
        tokio::spawn(async move {
            let system = office.node().system().clone();
            let work = async {
                tokio::join!(caller::call(&office, services), office.look(services), besides);
                office.0.day.lock().rests(office.0.host.number());
            };
            tokio::select! {
                biased;
                () = system.stopped() => {}
                () = work => {}
            }
        });
    }
}
