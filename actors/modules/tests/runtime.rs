//! Starting, stopping and loading modules.

mod support;

use std::time::Duration;

use support::fragile::{Fall, Fragile, fell};
use support::{Ask, AskOther, FAULTS_OF_START, Fault, Log, Part, Placed, impatient, until};
use umbel_actors::Backoff;
use umbel_actors::supervision::{Happening, Intensity, Observed};
use umbel_modules::Failure;
use umbel_modules::{
    Change, Dependents, Ended, LoadError, Module, ModuleState, OfferError, Registration, Runtime,
    RuntimeOptions, UnloadError,
};

const SOON: Duration = Duration::from_secs(5);

fn shop(log: &Log) -> umbel_modules::RuntimeBuilder {
    let (ordering, catalog, infra) = (log.clone(), log.clone(), log.clone());
    Runtime::builder("shop")
        .module(move || Part::new("ordering", &["catalog", "infra"], &ordering))
        .module(move || Part::new("catalog", &["infra"], &catalog))
        .module(move || Part::new("infra", &[], &infra))
}

#[tokio::test]
async fn modules_are_started_after_what_they_require_and_stopped_the_other_way() {
    let log = Log::default();
    let plan = shop(&log).build().unwrap();
    assert_eq!(plan.order().collect::<Vec<_>>(), ["infra", "catalog", "ordering"]);
    assert_eq!(log.all(), [""; 0], "nothing runs yet");

    let runtime = plan.start().await.unwrap();
    let started = ["register infra", "start infra", "register catalog", "start catalog"];
    assert_eq!(log.take(), [&started[..], &["register ordering", "start ordering"]].concat());
    let (said, _) = runtime.services().call("ordering", AskOther("infra".into())).await.unwrap();
    assert_eq!(said, "1");

    runtime.shutdown(SOON).await;
    assert_eq!(log.take(), ["stop ordering", "stop catalog", "stop infra"]);
    assert_eq!(runtime.ended().await, Ended::ShutDown);
}

#[tokio::test]
async fn a_shutdown_hook_that_fails_keeps_no_other_module_from_stopping() {
    for fault in [Fault::Shutdown, Fault::ShutdownPanics, Fault::ShutdownHangs] {
        let log = Log::default();
        let (of_last, of_middle) = (log.clone(), log.clone());
        let of_first = log.clone();
        let runtime = Runtime::builder("shop")
            .module(move || Part::new("infra", &[], &of_first))
            .module(move || Part::new("catalog", &["infra"], &of_middle).fault(fault))
            .module(move || Part::new("ordering", &["catalog"], &of_last))
            .options(impatient())
            .start()
            .await
            .unwrap();
        log.take();
        runtime.shutdown(SOON).await;
        assert_eq!(log.take(), ["stop ordering", "stop catalog", "stop infra"], "{fault:?}");
    }
}

#[tokio::test]
async fn when_a_module_does_not_start_those_before_it_are_stopped_again() {
    for fault in FAULTS_OF_START {
        if fault == Fault::Unhealthy {
            // Health is reported of a module that is started, and asked of one that replaces another.
            continue;
        }
        let log = Log::default();
        let (of_first, of_last) = (log.clone(), log.clone());
        let started = Runtime::builder("shop")
            .module(move || Part::new("infra", &[], &of_first))
            .module(move || Part::new("ordering", &["infra"], &of_last).fault(fault))
            .options(impatient())
            .start()
            .await;
        let why = started.unwrap_err().to_string();
        assert!(why.starts_with("module 'ordering' did not"), "{fault:?}: {why}");
        let wanted = match fault {
            Fault::Register => "it will not",
            Fault::RegisterPanics => "it panicked: in on_register",
            Fault::Startup => "it cannot",
            Fault::StartupPanics => "it panicked: in on_startup",
            Fault::StartupHangs => "its on_startup had not ended after 300ms",
            Fault::Service => "no service today",
            other => unreachable!("{other:?}"),
        };
        assert!(why.contains(wanted), "{fault:?}: {why}");
        let log = log.take();
        assert!(log.contains(&"stop infra".to_owned()), "{fault:?}: {log:?}");
    }
}

#[test]
fn modules_that_do_not_fit_together_are_refused_before_anything_runs() {
    let log = Log::default();
    let (one, two) = (log.clone(), log.clone());
    let alone = Runtime::builder("shop").module(move || Part::new("ordering", &["infra"], &one));
    assert_eq!(
        alone.build().unwrap_err().to_string(),
        "module 'ordering' requires 'infra' but it is not registered",
    );
    let first = log.clone();
    let twice = Runtime::builder("shop")
        .module(move || Part::new("ordering", &[], &first))
        .module(move || Part::new("ordering", &[], &two));
    assert_eq!(twice.build().unwrap_err().to_string(), "module 'ordering' is registered twice");
    let (one, two, three) = (log.clone(), log.clone(), log.clone());
    let circle = Runtime::builder("shop")
        .module(move || Part::new("ordering", &["payment"], &one))
        .module(move || Part::new("payment", &["notification"], &two))
        .module(move || Part::new("notification", &["ordering"], &three));
    let why = circle.build().unwrap_err().to_string();
    assert!(why.starts_with("modules require one another in a circle: "), "{why}");
    let path: Vec<_> = why.split(": ").nth(1).unwrap().split(" -> ").collect();
    assert_eq!((path.len(), path.first()), (4, path.last()), "{why}");
}

#[cfg(not(feature = "database"))]
#[test]
fn a_module_that_needs_a_database_is_refused_where_there_can_be_none() {
    struct Hungry;
    impl Module for Hungry {
        fn name(&self) -> &str {
            "hungry"
        }
        fn needs(&self) -> umbel_modules::Needs {
            umbel_modules::Needs::database()
        }
    }
    let hungry = Runtime::builder("shop").module(|| Hungry).build();
    assert_eq!(
        hungry.unwrap_err().to_string(),
        "module 'hungry' needs a database: build with umbel-modules' feature `database`",
    );
}

#[tokio::test]
async fn a_module_that_others_require_is_not_unloaded_unless_they_are() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    let mut changes = runtime.changes();

    let why = runtime.unload("infra", Dependents::Refuse).await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "module 'infra' is required by 'ordering', 'catalog': unload them first, or cascade",
    );
    assert_eq!(log.take(), [""; 0]);

    let unloaded = runtime.unload("infra", Dependents::Cascade).await.unwrap();
    assert_eq!(unloaded, ["ordering", "catalog", "infra"]);
    assert_eq!(log.take(), ["stop ordering", "stop catalog", "stop infra"]);
    for module in unloaded {
        let change = changes.recv().await.unwrap();
        assert_eq!((change.module, change.what), (module, Change::Unloaded));
    }
    assert!(runtime.modules().iter().all(|view| view.state == ModuleState::Unloaded));
    let again = runtime.unload("infra", Dependents::Refuse).await.unwrap_err();
    assert!(matches!(again, UnloadError::NotLoaded { .. }), "{again}");

    // Loaded again, in whatever order they can be.
    let why = runtime.load_known("catalog").await.unwrap_err();
    assert_eq!(why.to_string(), "module 'catalog' requires 'infra' but it is not loaded");
    for module in ["infra", "catalog", "ordering"] {
        runtime.load_known(module).await.unwrap();
    }
    let why = runtime.load_known("infra").await.unwrap_err();
    assert_eq!(why.to_string(), "module 'infra' is loaded already: reload or upgrade it");
    let why = runtime.load_known("infar").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "there is no module 'infar'; there are 'catalog', 'infra', 'ordering'",
    );
    runtime.services().call("catalog", AskOther("infra".into())).await.unwrap();
    runtime.shutdown(SOON).await;
    let stopped = runtime.load_known("infra").await.unwrap_err();
    assert!(matches!(stopped, LoadError::Stopped), "{stopped}");
}

#[tokio::test]
async fn a_module_can_be_loaded_that_nobody_knew() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    let new = log.clone();
    runtime.load(move || Part::new("payment", &["ordering"], &new)).await.unwrap();
    runtime.services().call("payment", Ask).await.unwrap();
    let views = runtime.modules();
    let payment = views.last().unwrap();
    assert_eq!(payment.to_string(), "payment running (instance 1), requires ordering");
    assert_eq!(payment.services, ["payment"]);
    let ordering = views.iter().find(|view| view.name == "ordering").unwrap();
    assert_eq!(ordering.dependents, ["payment"]);
    let new = log.clone();
    let twice = runtime.load(move || Part::new("payment", &[], &new)).await.unwrap_err();
    assert!(matches!(twice, LoadError::Loaded { .. }), "{twice}");
}

#[tokio::test]
async fn one_that_fails_to_load_leaves_nothing_behind() {
    let log = Log::default();
    let runtime = shop(&log).options(impatient()).start().await.unwrap();
    for fault in FAULTS_OF_START.into_iter().filter(|fault| *fault != Fault::Unhealthy) {
        let new = log.clone();
        let failed =
            runtime.load(move || Part::new("payment", &["infra"], &new).fault(fault)).await;
        failed.unwrap_err();
        assert_eq!(runtime.modules().len(), 3, "{fault:?}");
    }
    let new = log.clone();
    runtime.load(move || Part::new("payment", &["infra"], &new)).await.unwrap();
    runtime.services().call("payment", Ask).await.unwrap();
}

#[tokio::test]
async fn what_a_module_offers_is_had_by_key_and_type_from_what_is_required() {
    struct Curious;
    impl Module for Curious {
        fn name(&self) -> &str {
            "curious"
        }
        fn requires(&self) -> &[&str] {
            &["infra", "afar"]
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            assert_eq!(*module.offer_of::<String>("infra", "says").unwrap(), "1");
            let wrong = module.offer_of::<u32>("infra", "says").unwrap_err();
            assert_eq!(
                wrong.to_string(),
                "module 'infra' offers 'says' as alloc::string::String, not as u32",
            );
            let absent = module.offer_of::<u32>("infra", "port").unwrap_err();
            assert_eq!(
                absent.to_string(),
                "module 'infra' does not offer 'port': it offers 'says'",
            );
            let stranger = module.offer_of::<String>("catalog", "says").unwrap_err();
            assert_eq!(
                stranger.to_string(),
                "module 'curious' uses 'catalog' but does not require it",
            );
            let afar = module.offer_of::<String>("afar", "says").unwrap_err();
            assert!(matches!(afar, OfferError::NotHere { .. }), "{afar}");
            module.offer("twice", 1_u32).offer("twice", 2_u32);
            Ok(())
        }
    }
    let log = Log::default();
    let runtime = shop(&log).elsewhere("afar").start().await.unwrap();
    let why = runtime.load(|| Curious).await.unwrap_err();
    assert_eq!(why.to_string(), "module 'curious' did not register: it offers 'twice' twice");
    let afar = runtime.modules().into_iter().find(|view| view.name == "afar").unwrap();
    assert_eq!(afar.state, ModuleState::Elsewhere);
}

fn fragile(log: &Log) -> umbel_modules::RuntimeBuilder {
    let part = |name, requires| {
        let module = Fragile::new(name, requires, log);
        move || module.clone()
    };
    Runtime::builder("shop")
        .module(part("infra", &[]))
        .module(part("catalog", &["infra"]))
        .module(part("ordering", &["catalog"]))
}

#[tokio::test]
async fn an_actor_that_fails_is_restarted_and_beyond_that_its_module_and_those_after_it() {
    let log = Log::default();
    let runtime = fragile(&log).start().await.unwrap();
    log.take();
    let mut events = runtime.supervisor().events();

    fell(runtime.system(), "catalog#1").await;
    let restarted = async {
        loop {
            if let Observed::Event(event) = events.next().await.unwrap()
                && matches!(event.what, Happening::Restarted { .. })
            {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, restarted).await.unwrap();
    assert_eq!(log.take(), [""; 0], "one restart of an actor is its module's own matter");

    // The second is one too many: the module is started again, and who requires it.
    fell(runtime.system(), "catalog#1").await;
    until("all are up again", || {
        let log = log.all();
        log.iter().filter(|line| line.starts_with("start")).count() == 2
            && runtime.modules().iter().all(|view| view.state == ModuleState::Running)
    })
    .await;
    let log = log.take();
    let of = |name: &str| -> Vec<_> { log.iter().filter(|line| line.contains(name)).collect() };
    assert_eq!(of("infra"), [""; 0], "{log:?}");
    assert_eq!(of("catalog"), ["stop catalog#1", "start catalog#1"], "{log:?}");
    assert_eq!(of("ordering"), ["stop ordering#1", "start ordering#1"], "{log:?}");
}

#[tokio::test]
async fn a_runtime_whose_modules_fail_for_ever_ends_and_says_so() {
    let log = Log::default();
    let options = RuntimeOptions {
        module_intensity: Intensity { restarts: 3, period: Duration::from_secs(60) },
        module_backoff: Backoff::none(),
        ..RuntimeOptions::default()
    };
    let runtime = fragile(&log).options(options).start().await.unwrap();
    let system = runtime.system().clone();
    let failing = tokio::spawn(async move {
        loop {
            if let Some(faller) = system.whereis::<Fall>("module/infra#1/faller") {
                let _ = faller.tell(Fall).await;
            }
            tokio::task::yield_now().await;
        }
    });
    let ended = tokio::time::timeout(Duration::from_secs(30), runtime.ended()).await.unwrap();
    assert_eq!(ended, Ended::Failed);
    failing.abort();
    until("nothing is loaded", || {
        runtime.modules().iter().all(|view| view.state == ModuleState::Unloaded)
    })
    .await;
    assert!(matches!(runtime.load_known("infra").await, Err(LoadError::Stopped)));
}

#[tokio::test]
async fn events_reach_the_handlers_of_all_modules() {
    let log = Log::default();
    let runtime = shop(&log).start().await.unwrap();
    log.take();
    let mut heard = runtime.events().subscribe::<Placed>().unwrap();
    assert_eq!(runtime.events().publish(Placed { order: 7 }).await.unwrap(), 4);
    assert_eq!(heard.next().await, Some(Placed { order: 7 }));
    until("all have it", || log.all().len() == 3).await;
    let mut log = log.take();
    log.sort_unstable();
    assert_eq!(log, ["catalog#1 has 7", "infra#1 has 7", "ordering#1 has 7"]);
}
