//! Who replaces modules while they are used.

use std::time::Duration;

use umbel_actors::supervision::Intensity;
use umbel_cluster_services::ClusterDirectory;
use umbel_modules::{Dependents, Runtime, RuntimeOptions, StartRuntimeError};
use umbel_services::ServiceHost;

use super::clerk::Clerk;
use super::department::{Department, Flaw};
use super::{LEDGER, ORDERS, Office, Phase};
use crate::mutant::Mutant;
use crate::record::Record;

/// The longest pause between two changes.
const PAUSE_MILLIS: u64 = 600;

/// How long a module that was unloaded stays away at most.
const AWAY_MILLIS: u64 = 400;

/// A runtime, and who changes its modules.
pub(super) struct Changer {
    office: Office,
    runtime: Runtime,
}

impl Changer {
    pub(super) async fn open(office: &Office) -> Result<Self, StartRuntimeError> {
        let node = office.node();
        let second = Duration::from_secs(1);
        let options = RuntimeOptions {
            startup: second / 2,
            shutdown: second / 2,
            healthy: second / 2,
            health: second / 5,
            drain: if office.has(Mutant::Abrupt) { Duration::ZERO } else { 3 * second },
            // Services of the office do not do well.
            intensity: Intensity { restarts: 1000, period: second },
            module_intensity: Intensity { restarts: 1000, period: second },
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::builder(office.name())
            .system(node.system())
            .directory(ClusterDirectory::new(node))
            .options(options)
            .module(department(office, LEDGER, None))
            .module(department(office, ORDERS, None))
            .start()
            .await?;
        Ok(Self { office: office.clone(), runtime })
    }

    /// Changes modules again and again, until the day is over. In the end all are loaded.
    pub(super) async fn work(self) {
        while self.office.phase() != Phase::Rest {
            let pause = Duration::from_millis(1 + self.office.below(PAUSE_MILLIS));
            tokio::time::sleep(pause).await;
            let module = if self.office.one_in(2) { LEDGER } else { ORDERS };
            match (self.office.phase(), self.office.below(10)) {
                (Phase::Rough, 0) => self.unload_for_a_while().await,
                (Phase::Rough | Phase::Peace, 1..6) => self.replace(module, None).await,
                (Phase::Rough | Phase::Peace, 6..) => {
                    let flaw = Flaw::ALL[self.office.below(Flaw::ALL.len() as u64) as usize];
                    self.replace(module, Some(flaw)).await;
                }
                _ => {}
            }
        }
    }

    async fn unload_for_a_while(&self) {
        let unloaded = self.runtime.unload(ORDERS, Dependents::Cascade).await;
        if unloaded.is_ok() {
            let away = Duration::from_millis(self.office.below(AWAY_MILLIS));
            tokio::time::sleep(away).await;
        }
        while let Err(why) = self.runtime.load_known(ORDERS).await {
            self.office.0.host.note(format_args!("{ORDERS} is not loaded: {why}"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Has another instance of a module take over, by the same version or by one with a flaw.
    async fn replace(&self, module: &'static str, flaw: Option<Flaw>) {
        let is_sure = self.office.phase() == Phase::Peace;
        let before = self.generation(module);
        let replaced = match flaw {
            Some(_) => self.runtime.upgrade(module, department(&self.office, module, flaw)).await,
            None if self.office.one_in(3) => {
                self.runtime.upgrade(module, department(&self.office, module, None)).await
            }
            None => self.runtime.reload(module).await,
        };
        let (after, is_broken) = (self.generation(module), flaw.is_some());
        let failed = replaced.err().map(|why| why.to_string());
        if self.office.has(Mutant::Leftover) {
            self.leave_one_behind(module, after).await;
        }
        let module = format!("{}/{module}", self.office.name());
        self.office.record(Record::Replaced { module, is_broken, is_sure, before, after, failed });
    }

    fn generation(&self, module: &str) -> u64 {
        let views = self.runtime.modules();
        let view = views.iter().find(|view| view.name == module);
        view.map_or(0, |view| view.generation)
    }

    /// What [`Mutant::Leftover`] does.
    async fn leave_one_behind(&self, module: &'static str, generation: u64) {
        let office = self.office.clone();
        let make = move || Clerk::new(&office, module, generation, false);
        let host = ServiceHost::new(module, make).instance("left");
        // Once: the next one of this name is refused.
        let _ = self.runtime.services().start(host).await;
    }
}

fn department(
    office: &Office,
    name: &'static str,
    flaw: Option<Flaw>,
) -> impl Fn() -> Department + Send + Sync + 'static {
    let office = office.clone();
    move || Department { name, office: office.clone(), flaw }
}
