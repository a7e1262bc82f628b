//! The end of a system, by a deadline and by a signal.
#![cfg(unix)]

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Message, Shutdown, Signal, SpawnOptions, Strategy,
    Supervisor, System,
};

#[derive(Message)]
enum Never {}

/// How an actor stops.
#[derive(Clone, Copy)]
enum Stop {
    AtOnce,
    Never,
}

struct Sleeper(Stop);

impl Actor for Sleeper {
    type Msg = Never;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Never>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Never>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match self.0 {
            Stop::AtOnce => Ok(()),
            Stop::Never => pending().await,
        }
    }
}

/// A tree of which `deaf` does not stop, an actor alone that does not, and one that does.
async fn system() -> System {
    let system = System::new("test");
    let tree = Supervisor::new("orders", Strategy::OneForOne)
        .child(system.child("store", || (Sleeper(Stop::AtOnce), ())))
        .child(system.child("deaf", || (Sleeper(Stop::Never), ())).shutdown(Shutdown::Infinity));
    system.supervise(tree).await.unwrap();
    for (name, stop) in [("well", Stop::AtOnce), ("alone", Stop::Never)] {
        let options = SpawnOptions { name: Some(name.into()), ..SpawnOptions::default() };
        system.spawn_with(options, Sleeper(stop), ()).await.unwrap();
    }
    system
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_those_who_did_not_stop_are_named() {
    let system = system().await;
    let alone = system.whereis::<Never>("alone").unwrap().to_string();
    let asked = Instant::now();
    let report = system.shutdown(Duration::from_secs(8)).await;
    let took = asked.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(9)).contains(&took), "{took:?}");
    assert_eq!(report.killed, [alone.clone(), "orders/deaf".into()]);
    assert_eq!((report.stopped, report.unasked, report.signal), (1, 1, None));
    let said = format!(
        "1 stopped; killed, as they did not stop in time: {alone}, orders/deaf; \
         1 killed before it was their turn"
    );
    assert_eq!(report.to_string(), said);
    assert_eq!(system.top_level_actors(), 0);
}

#[tokio::test]
async fn a_signal_ends_a_system_in_order_and_a_second_one_does_not_wait() {
    let raise = |signal| {
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
    };
    let system = System::new("first");
    system.spawn(Sleeper(Stop::AtOnce), ()).await.unwrap();
    let mut ended = pin!(system.shutdown_on_signal(Duration::from_secs(60)));
    assert!(ended.as_mut().now_or_never().is_none(), "from here on, signals are handled");
    raise(rustix::process::Signal::TERM);
    let report = ended.await.unwrap();
    assert_eq!((report.stopped, report.signal), (1, Some(Signal::Terminate)));
    assert!(report.is_clean());

    let system = self::system().await;
    let mut ended = pin!(system.shutdown_on_signal(Duration::from_secs(3600)));
    assert!(ended.as_mut().now_or_never().is_none());
    raise(rustix::process::Signal::INT);
    // A system that is shutting down starts nobody.
    while system.spawn(Sleeper(Stop::AtOnce), ()).await.is_ok() {
        let waited = tokio::time::timeout(Duration::from_millis(1), ended.as_mut()).await;
        assert!(waited.is_err(), "it waits for those who do not stop");
    }
    raise(rustix::process::Signal::INT);
    let report = ended.await.unwrap();
    assert_eq!(report.signal, Some(Signal::Interrupt));
    assert!(!report.is_clean());
    assert_eq!(system.top_level_actors(), 0);

    // Here, for a signal reaches every test of the process.
    let system = System::new("last");
    let mut ended = pin!(system.shutdown_on_signal(Duration::from_secs(60)));
    assert!(ended.as_mut().now_or_never().is_none());
    system.shutdown(Duration::from_secs(1)).await;
    assert_eq!(ended.await.unwrap().signal, None, "it ends with its system, too");
}
