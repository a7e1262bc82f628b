//! Putting a new instance of a module in the place of the old one.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use support::{Ask, AskOther, FAULTS_OF_START, Fault, Log, Part, Placed, impatient, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use umbel_actors::System;
use umbel_modules::{
    Change, Dependents, LoadError, Module, ModuleContext, Registration, ReplaceError, Runtime,
};
use umbel_modules::{Failure, RuntimeBuilder};

fn shop(log: &Log) -> RuntimeBuilder {
    let (ordering, catalog) = (log.clone(), log.clone());
    Runtime::builder("shop")
        .module(move || Part::new("catalog", &[], &catalog))
        .module(move || Part::new("ordering", &["catalog"], &ordering))
}

/// Clients that call again and again, at a rate, and what became of their calls.
struct Clients {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
    begun: Instant,
}

impl Clients {
    const CLIENTS: u32 = 20;

    /// Half of them ask the module itself, half a module that uses it.
    fn start(runtime: &Runtime, per_second: u32) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for client in 0..Self::CLIENTS {
            let (runtime, stop, calls) = (runtime.clone(), stop.clone(), calls.clone());
            clients.spawn(async move {
                let mut failed = Vec::new();
                let mut ticks = interval(Duration::from_secs(1) * Self::CLIENTS / per_second);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let services = runtime.services();
                    let outcome = match client % 2 {
                        0 => services.call("catalog", Ask).await,
                        _ => services.call("ordering", AskOther("catalog".into())).await,
                    };
                    calls.fetch_add(1, Ordering::Relaxed);
                    failed.extend(outcome.err().map(|why| why.to_string()));
                }
                failed
            });
        }
        Self { stop, calls, clients, begun: Instant::now() }
    }

    /// Their calls, how many a second, and those that failed.
    async fn stop(mut self) -> (usize, f64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(of_one) = self.clients.join_next().await {
            failed.extend(of_one.unwrap());
        }
        let calls = self.calls.load(Ordering::Relaxed);
        (calls, calls as f64 / self.begun.elapsed().as_secs_f64(), failed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_a_thousand_calls_a_second_fail_none_of_them() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let actors = runtime.system().top_level_actors();
    let clients = Clients::start(&runtime, 1_000);
    let mut reloads = interval(Duration::from_millis(20));
    for round in 0..100 {
        reloads.tick().await;
        runtime.reload("catalog").await.unwrap();
        if round % 2 == 0 {
            runtime.reload("ordering").await.unwrap();
        }
    }
    let (calls, rate, failed) = clients.stop().await;
    println!("{calls} calls, {rate:.0} a second, {} failed", failed.len());
    assert_eq!(failed, [""; 0]);
    // The clients keep their rate unless the machine does not: then there are fewer calls, and none that fails.
    assert!(calls > 500, "{calls}");
    let (_, generation) = runtime.services().call("catalog", Ask).await.unwrap();
    assert_eq!(generation, 101);
    // Of the old instances nothing is left.
    assert_eq!(runtime.system().top_level_actors(), actors);
    for view in runtime.modules() {
        let tree = runtime.supervisor().supervisor(view.name).await.unwrap().unwrap();
        // The instance that serves, and its guard.
        assert_eq!(tree.which_children().await.unwrap().len(), 2);
    }
    let handles = runtime.services().handles();
    assert!(handles.values().all(|instances| instances.len() == 1), "{handles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_take_over_leaves_the_old_one_serving() {
    let log = Log::default();
    let runtime = shop(&log).options(impatient()).start().await.unwrap();
    let clients = Clients::start(&runtime, 200);
    for fault in FAULTS_OF_START {
        let mut changes = runtime.changes();
        let new = log.clone();
        let make = move || Part::new("catalog", &[], &new).says("2").fault(fault);
        let why = runtime.upgrade("catalog", make).await.unwrap_err();
        match fault {
            Fault::Unhealthy => assert_eq!(
                why.to_string(),
                "the new instance of module 'catalog' is not healthy: it feels ill",
            ),
            _ => assert!(matches!(why, ReplaceError::Load(_)), "{fault:?}: {why}"),
        }
        if !matches!(fault, Fault::Register | Fault::RegisterPanics) {
            let change = changes.recv().await.unwrap();
            assert!(matches!(change.what, Change::RolledBack { .. }), "{fault:?}: {change:?}");
        }
        let answer = runtime.services().call("catalog", Ask).await.unwrap();
        assert_eq!(answer, ("1".to_owned(), 1), "{fault:?}");
        let tree = runtime.supervisor().supervisor("catalog").await.unwrap().unwrap();
        assert_eq!(tree.which_children().await.unwrap().len(), 2, "{fault:?}");
    }
    let (_, _, failed) = clients.stop().await;
    assert_eq!(failed, [""; 0]);
    // And what was tried in vain is not what a reload makes.
    runtime.reload("catalog").await.unwrap();
    let (said, generation) = runtime.services().call("catalog", Ask).await.unwrap();
    assert_eq!(said, "1");
    assert!(generation > 1);
}

#[tokio::test]
async fn an_upgrade_is_what_runs_from_then_on() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    let new = log.clone();
    runtime.upgrade("catalog", move || Part::new("catalog", &[], &new).says("2")).await.unwrap();
    assert_eq!(log.take(), ["register catalog", "start catalog", "stop catalog"]);
    let services = runtime.services();
    assert_eq!(services.call("catalog", Ask).await.unwrap(), ("2".to_owned(), 2));
    runtime.reload("catalog").await.unwrap();
    assert_eq!(services.call("catalog", Ask).await.unwrap(), ("2".to_owned(), 3));
    runtime.unload("catalog", Dependents::Cascade).await.unwrap();
    runtime.load_known("catalog").await.unwrap();
    assert_eq!(services.call("catalog", Ask).await.unwrap(), ("2".to_owned(), 1));
}

#[tokio::test]
async fn a_module_that_becomes_what_does_not_fit_is_refused() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let new = log.clone();
    let why = runtime.upgrade("catalog", move || Part::new("catalogue", &[], &new)).await;
    assert_eq!(
        why.unwrap_err().to_string(),
        "module 'catalog' cannot become 'catalogue': a module keeps its name",
    );
    let new = log.clone();
    let why = runtime.upgrade("catalog", move || Part::new("catalog", &["infra"], &new)).await;
    assert_eq!(
        why.unwrap_err().to_string(),
        "module 'catalog' requires 'infra' but it is not loaded",
    );
    let new = log.clone();
    let why = runtime.upgrade("catalog", move || Part::new("catalog", &["ordering"], &new)).await;
    assert_eq!(
        why.unwrap_err().to_string(),
        "module 'catalog' now requires 'ordering', which was started after it: unload 'catalog' \
         and load it again",
    );
    let why = runtime.reload("payment").await.unwrap_err();
    assert!(matches!(why, ReplaceError::Load(LoadError::Unknown { .. })), "{why}");
    let why =
        runtime.upgrade("catalog", || -> Part { panic!("no module today") }).await.unwrap_err();
    assert_eq!(why.to_string(), "module 'catalog' could not be made: it panicked: no module today",);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_module_half_replaced() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let mut changes = runtime.changes();
    {
        let reload = runtime.reload("catalog");
        futures_util::pin_mut!(reload);
        assert!(futures_util::poll!(reload.as_mut()).is_pending());
    }
    let change = changes.recv().await.unwrap();
    assert_eq!((change.what, change.generation), (Change::Replaced, 2));
    // And those that come meanwhile wait for it.
    runtime.reload("catalog").await.unwrap();
    assert_eq!(runtime.services().call("catalog", Ask).await.unwrap().1, 3);
}

#[tokio::test]
async fn a_change_that_is_under_way_ends_with_the_system() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let system = System::new("test");
    let before = tasks();
    let (log, (ordering, catalog)) = (Log::default(), (Log::default(), Log::default()));
    let runtime = Runtime::builder("shop")
        .system(&system)
        .module(move || Part::new("catalog", &[], &catalog))
        .module(move || Part::new("ordering", &["catalog"], &ordering))
        .start()
        .await
        .unwrap();
    let (upgraded, new) = (runtime.clone(), log.clone());
    let upgrade = tokio::spawn(async move {
        let make = move || Part::new("catalog", &[], &new).fault(Fault::Unhealthy);
        upgraded.upgrade("catalog", make).await
    });
    until("the new instance is up", || log.all().contains(&"start catalog".to_owned())).await;
    let begun = Instant::now();
    system.shutdown(Duration::from_secs(5)).await;
    let why = upgrade.await.unwrap().unwrap_err();
    assert!(matches!(why, ReplaceError::Load(LoadError::Stopped)), "{why}");
    drop(runtime);
    until("all tasks have ended", || tasks() <= before).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "it waits no longer: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_handled_by_one_instance_over_any_number_of_reloads() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let publisher = runtime.clone();
    let publishing = tokio::spawn(async move {
        for order in 0..500 {
            publisher.events().publish(Placed { order }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    while !publishing.is_finished() {
        runtime.reload("catalog").await.unwrap();
    }
    publishing.await.unwrap();
    let handled = |log: &Log| -> Vec<u64> {
        let of_catalog = |line: String| {
            let order = line.strip_prefix("catalog#")?.split_once(" has ")?.1;
            order.parse().ok()
        };
        log.all().into_iter().filter_map(of_catalog).collect()
    };
    until("all are handled", || handled(&log).len() >= 500).await;
    assert_eq!(handled(&log), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_handler_that_panics_is_restarted_and_goes_on() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    for order in [1, u64::MAX, 2] {
        runtime.events().publish(Placed { order }).await.unwrap();
    }
    until("the next is handled", || log.all().contains(&"catalog#1 has 2".to_owned())).await;
}

/// Keeps what it is asked until it is let go.
struct Slow {
    under_way: Arc<AtomicU64>,
    release: Arc<tokio::sync::Semaphore>,
}

impl Module for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let (under_way, release) = (self.under_way.clone(), self.release.clone());
        let generation = module.generation();
        let make = move || SlowService {
            under_way: under_way.clone(),
            release: release.clone(),
            generation,
        };
        module.service(umbel_services::ServiceHost::new("slow", make));
        Ok(())
    }

    async fn on_shutdown(&self, context: &ModuleContext) -> Result<(), Failure> {
        // Nothing may be under way in the instance that stops.
        assert_eq!(self.under_way.load(Ordering::SeqCst), 0, "{}", context.generation());
        Ok(())
    }
}

struct SlowService {
    under_way: Arc<AtomicU64>,
    release: Arc<tokio::sync::Semaphore>,
    generation: u64,
}

impl umbel_services::Service for SlowService {
    fn methods(methods: umbel_services::Methods<Self>) -> umbel_services::Methods<Self> {
        methods.on::<Ask>()
    }
}

impl umbel_services::Handle<Ask> for SlowService {
    async fn handle(&self, _: Ask, _: &umbel_services::Context) -> Result<(String, u64), Failure> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.release.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(("slow".to_owned(), self.generation))
    }
}

#[tokio::test]
async fn the_old_instance_finishes_what_it_was_given() {
    let under_way = Arc::new(AtomicU64::new(0));
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let (counted, permits) = (under_way.clone(), release.clone());
    let make = move || Slow { under_way: counted.clone(), release: permits.clone() };
    let runtime = Runtime::builder("shop").module(make).start().await.unwrap();
    let asking = runtime.clone();
    let call = tokio::spawn(async move { asking.services().call("slow", Ask).await });
    until("it is under way", || under_way.load(Ordering::SeqCst) == 1).await;
    let mut changes = runtime.changes();
    let reloading = runtime.clone();
    let reload = tokio::spawn(async move { reloading.reload("slow").await });
    assert_eq!(changes.recv().await.unwrap().what, Change::Replaced);
    assert!(!reload.is_finished(), "the old one is waited for");
    release.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap(), ("slow".to_owned(), 1));
    reload.await.unwrap().unwrap();
    release.add_permits(1);
    assert_eq!(runtime.services().call("slow", Ask).await.unwrap().1, 2);
}
