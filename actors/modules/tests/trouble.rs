//! What goes wrong while modules are changed, and whom it concerns.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use support::fragile::{Fall, Fragile, broke};
use support::{Ask, Fault, Log, Part, impatient, until};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, System};
use umbel_modules::{
    Change, Failure, Module, ModuleState, Registration, ReplaceError, Runtime, RuntimeBuilder,
};
use umbel_services::{
    CallOptions, Directory, DirectoryError, Follow, LocalDirectory, ServiceHost, ServiceView,
};

const SOON: Duration = Duration::from_secs(10);

fn shop(log: &Log) -> RuntimeBuilder {
    let catalog = Fragile::new("catalog", &[], log);
    let ordering = Fragile::new("ordering", &["catalog"], log);
    Runtime::builder("shop").module(move || catalog.clone()).module(move || ordering.clone())
}

fn of(log: &Log, instance: &str) -> Vec<String> {
    log.all().into_iter().filter(|line| line.ends_with(instance)).collect()
}

#[tokio::test]
async fn a_new_instance_that_fails_before_it_serves_concerns_nobody_else() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    let bad = Fragile { falls: true, is_ill: true, ..Fragile::new("catalog", &[], &log) };
    let why = runtime.upgrade("catalog", move || bad.clone()).await.unwrap_err();
    assert!(matches!(why, ReplaceError::Unhealthy { .. }), "{why}");
    assert_eq!(of(&log, "catalog#1"), [""; 0], "{:?}", log.all());
    assert_eq!(of(&log, "ordering#1"), [""; 0], "{:?}", log.all());
    assert_eq!(runtime.services().call("catalog", Ask).await.unwrap().1, 1);
}

#[tokio::test]
async fn an_old_instance_that_fails_while_it_finishes_concerns_nobody_else() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    let (asking, mut changes) = (runtime.clone(), runtime.changes());
    let call = tokio::spawn(async move { asking.services().call("catalog", support::Hang).await });
    let view = || runtime.services().service("catalog");
    let under_way = async {
        while view().figures().await[0].1.as_ref().is_ok_and(|figures| figures.running == 0) {}
    };
    tokio::time::timeout(SOON, under_way).await.unwrap();
    let reloading = runtime.clone();
    let reload = tokio::spawn(async move { reloading.reload("catalog").await });
    assert_eq!(changes.recv().await.unwrap().what, Change::Replaced);
    broke(runtime.system(), "catalog#1").await;
    reload.await.unwrap().unwrap();
    call.await.unwrap().unwrap_err();
    assert_eq!(of(&log, "catalog#2"), ["start catalog#2"], "{:?}", log.all());
    assert_eq!(of(&log, "ordering#1"), [""; 0], "{:?}", log.all());
    assert_eq!(runtime.services().call("catalog", Ask).await.unwrap().1, 2);
}

/// A directory in which the old instance's module fails while the new one is made known.
struct Unlucky {
    local: LocalDirectory,
    system: System,
    is_armed: Arc<AtomicBool>,
}

impl Directory for Unlucky {
    fn follow(&self, service: &str) -> Box<dyn Follow> {
        self.local.follow(service)
    }

    fn register(&self, view: ServiceView) -> BoxFuture<'_, Result<(), DirectoryError>> {
        Box::pin(async move {
            if self.is_armed.swap(false, Ordering::SeqCst) {
                broke(&self.system, "catalog#1").await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            self.local.register(view).await
        })
    }

    fn deregister(&self, view: ServiceView) -> BoxFuture<'_, ()> {
        self.local.deregister(view)
    }
}

#[tokio::test]
async fn a_module_that_fails_just_before_it_would_be_replaced_is_started_again_and_serves() {
    let (log, system) = (Log::default(), System::new("shop"));
    let is_armed = Arc::new(AtomicBool::new(false));
    let local = LocalDirectory::new();
    let unlucky = Unlucky { local, system: system.clone(), is_armed: is_armed.clone() };
    let runtime = shop(&log).system(&system).directory(unlucky).start().await.unwrap();
    is_armed.store(true, Ordering::SeqCst);
    // Whether that was before the switch or after it: it says so truly.
    let reloaded = runtime.reload("catalog").await;
    until("it is up again", || {
        runtime.modules().iter().all(|view| view.state == ModuleState::Running)
    })
    .await;
    let generation = runtime.modules()[0].generation;
    assert_eq!(generation, if reloaded.is_ok() { 2 } else { 1 }, "{reloaded:?}");
    let call = CallOptions::new().deadline(SOON);
    let answer = runtime.services().service("catalog").call_with(call, Ask).await.unwrap();
    assert_eq!(answer.1, generation);
    runtime.reload("catalog").await.unwrap();
}

/// A module whose actor never comes to start.
struct Hanging;

struct Hangs;

impl Actor for Hangs {
    type Msg = Fall;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Fall>, (): ()) -> Result<(), ActorProcessingErr> {
        std::future::pending().await
    }
}

impl Module for Hanging {
    fn name(&self) -> &str {
        "hanging"
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        module.actor("hangs", || (Hangs, ()));
        Ok(())
    }
}

#[tokio::test]
async fn a_child_that_hangs_in_its_start_has_a_time_and_blocks_nobody_beyond_it() {
    let log = Log::default();
    let runtime = shop(&log).options(impatient()).start().await.unwrap();
    let why = tokio::time::timeout(SOON, runtime.load(|| Hanging)).await.unwrap().unwrap_err();
    assert_eq!(
        why.to_string(),
        "module 'hanging' did not start: one of its children was still starting after 300ms",
    );
    runtime.reload("catalog").await.unwrap();
    // With all the time in the world, a shutdown still comes through.
    let patient = Runtime::builder("patient").module(|| Part::new("infra", &[], &Log::default()));
    let patient = patient.start().await.unwrap();
    let loading = patient.clone();
    let load = tokio::spawn(async move { loading.load(|| Hanging).await });
    until("it is being started", || {
        patient.system().whereis::<Fall>("module/hanging#1/hangs").is_some()
    })
    .await;
    tokio::time::timeout(SOON, patient.shutdown(Duration::from_secs(5))).await.unwrap();
    assert_eq!(load.await.unwrap().unwrap_err().to_string(), "the runtime has stopped");
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_running() {
    let (log, system) = (Log::default(), System::new("shop"));
    let last = log.clone();
    let hangs = move || Part::new("last", &["ordering"], &last).fault(Fault::StartupHangs);
    let start = shop(&log).system(&system).module(hangs).start();
    tokio::time::timeout(Duration::from_millis(200), start).await.unwrap_err();
    until("all have stopped", || {
        let log = log.all();
        ["stop ordering#1", "stop catalog#1"].iter().all(|line| log.contains(&(*line).to_owned()))
    })
    .await;
    until("nothing is left", || system.whereis::<Fall>("module/catalog#1/faller").is_none()).await;
}

#[tokio::test]
async fn a_module_that_cannot_start_again_for_a_while_does_not_end_the_runtime() {
    let log = Log::default();
    let module = Fragile::new("catalog", &[], &log);
    let cannot_start = module.cannot_start.clone();
    let runtime = Runtime::builder("shop").module(move || module.clone()).start().await.unwrap();
    cannot_start.store(true, Ordering::SeqCst);
    broke(runtime.system(), "catalog#1").await;
    until("it was tried three times", || of(&log, "start catalog#1").len() >= 4).await;
    assert_eq!(runtime.modules()[0].state, ModuleState::Restarting);
    cannot_start.store(false, Ordering::SeqCst);
    until("it is up again", || runtime.modules()[0].state == ModuleState::Running).await;
    runtime.services().call("catalog", Ask).await.unwrap();
}

#[tokio::test]
async fn a_module_that_is_started_again_is_given_no_work_before_its_on_startup_is_through() {
    let log = Log::default();
    let module = Fragile::new("catalog", &[], &log);
    let starts = module.starts.clone();
    let runtime = Runtime::builder("shop").module(move || module.clone()).start().await.unwrap();
    runtime.services().call("catalog", Ask).await.unwrap();
    let held = starts.lock().await;
    broke(runtime.system(), "catalog#1").await;
    // Calls that wait for a service that has failed are taken up with it; all later ones wait for the module.
    until("it is handed out no more", || runtime.services().handles()["catalog"].is_empty()).await;
    let service = runtime.services().service("catalog");
    let soon = CallOptions::new().deadline(Duration::from_millis(500));
    service.call_with(soon, Ask).await.unwrap_err();
    drop(held);
    until("it is up again", || runtime.modules()[0].state == ModuleState::Running).await;
    runtime.services().call("catalog", Ask).await.unwrap();
}

#[tokio::test]
async fn a_reload_whose_module_fails_meanwhile_says_so() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let slow = Fragile::new("catalog", &[], &log);
    let starts = slow.starts.clone();
    let held = starts.lock().await;
    let upgrading = runtime.clone();
    let upgrade =
        tokio::spawn(async move { upgrading.upgrade("catalog", move || slow.clone()).await });
    let new = "module/catalog#2/faller";
    until("the new one starts", || runtime.system().whereis::<Fall>(new).is_some()).await;
    broke(runtime.system(), "catalog#1").await;
    let why = upgrade.await.unwrap().unwrap_err();
    assert_eq!(why.to_string(), "module 'catalog' failed meanwhile: try again");
    drop(held);
    until("it is up again", || {
        runtime.modules().iter().all(|view| view.state == ModuleState::Running)
    })
    .await;
    assert_eq!(runtime.services().call("catalog", Ask).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_module_has_one_service_of_a_name() {
    struct Twice;
    impl Module for Twice {
        fn name(&self) -> &str {
            "twice"
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            let who = support::Who::new(module.context());
            for who in [who.clone(), who] {
                module.service(ServiceHost::new("same", move || who.clone()));
            }
            Ok(())
        }
    }
    let started = Runtime::builder("shop").module(|| Twice).start().await;
    let why = started.unwrap_err().to_string();
    assert_eq!(why, "module 'twice' did not register: it has two services 'same'");
}

#[tokio::test]
async fn a_service_is_of_one_module() {
    struct Named(&'static str);
    impl Module for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            let who = support::Who::new(module.context());
            module.service(ServiceHost::new("same", move || who.clone()));
            Ok(())
        }
    }
    let runtime = Runtime::builder("shop").module(|| Named("a")).start().await.unwrap();
    for _ in 0..2 {
        let why = runtime.load(|| Named("b")).await.unwrap_err().to_string();
        assert_eq!(
            why,
            "module 'b' did not register: service 'same' is module 'a''s: give it another name",
        );
        runtime.reload("a").await.unwrap();
    }
}

#[tokio::test]
async fn a_new_instance_is_not_switched_to_before_its_services_are_well() {
    struct Ill;
    impl Module for Ill {
        fn name(&self) -> &str {
            "catalog"
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            module.service(ServiceHost::new("catalog", || IllService));
            Ok(())
        }
    }
    struct IllService;
    impl umbel_services::Service for IllService {
        fn methods(methods: umbel_services::Methods<Self>) -> umbel_services::Methods<Self> {
            methods
        }
        async fn health(&self) -> Result<(), Failure> {
            Err(Failure::new("it feels ill"))
        }
    }
    let log = Log::default();
    let runtime = shop(&log).options(impatient()).start().await.unwrap();
    let why = runtime.upgrade("catalog", || Ill).await.unwrap_err();
    assert!(matches!(why, ReplaceError::Unhealthy { .. }), "{why}");
    assert_eq!(runtime.services().call("catalog", Ask).await.unwrap().1, 1);
}

#[tokio::test]
async fn changes_that_wait_when_the_runtime_is_to_stop_are_not_made() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let slow = Fragile::new("slow", &[], &log);
    let starts = slow.starts.clone();
    let held = starts.lock().await;
    let loading = runtime.clone();
    let load = tokio::spawn(async move { loading.load(move || slow.clone()).await });
    until("it is being started", || {
        runtime.system().whereis::<Fall>("module/slow#1/faller").is_some()
    })
    .await;
    let reloads = AtomicUsize::new(0);
    let waits = async {
        let why = runtime.reload("catalog").await.unwrap_err();
        assert_eq!(why.to_string(), "the runtime has stopped");
        reloads.fetch_add(1, Ordering::Relaxed);
    };
    let begun = tokio::time::Instant::now();
    let stops = async {
        assert!(runtime.shutdown(Duration::from_secs(20)).await);
    };
    tokio::join!(waits, stops);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(reloads.load(Ordering::Relaxed), 1);
    assert_eq!(load.await.unwrap().unwrap_err().to_string(), "the runtime has stopped");
    drop(held);
}

#[tokio::test]
async fn a_shutdown_takes_no_longer_than_it_may() {
    let log = Log::default();
    let (first, last) = (log.clone(), log.clone());
    let runtime = Runtime::builder("shop")
        .module(move || Part::new("infra", &[], &first))
        .module(move || Part::new("catalog", &["infra"], &last).fault(Fault::ShutdownHangs))
        .start()
        .await
        .unwrap();
    let asking = runtime.clone();
    let call = tokio::spawn(async move { asking.services().call("infra", support::Hang).await });
    let view = runtime.services().service("infra");
    let under_way = async {
        while view.figures().await[0].1.as_ref().is_ok_and(|figures| figures.running == 0) {}
    };
    tokio::time::timeout(SOON, under_way).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert!(!runtime.shutdown(Duration::from_secs(1)).await, "something was cut off");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    call.await.unwrap().unwrap_err();
}
