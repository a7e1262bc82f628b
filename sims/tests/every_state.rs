//! A service that ends, in every way, in every state of a call: what becomes of the call is what is
//! promised, and nothing else.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use umbel_actors::System;
use umbel_cluster::Node;
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{
    Call, CallError, CallOptions, Chain, Context, Executed, Failure, Flow, Handle, HostOptions,
    Hosted, Method, Methods, Middleware, Service, ServiceHost, ServiceManager,
};
use umbel_sims::{Fault, Faults, Host, Planned, World};

/// Where a call is when its service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    OnTheWayThere,
    InTheQueue,
    InAWorkersHands,
    BeforeItsEffect,
    AfterItsEffect,
    AnswerOnTheWay,
    BeforeItsRetry,
    /// At two instances, of which one ends.
    Hedged,
}

/// How a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its supervisor kills it, and starts it again.
    Killed,
    /// It fails: its checks find it ill.
    Fails,
    /// It is stopped in order, for good.
    Stopped,
    /// Its process is killed, and started again.
    ProcessKilled,
    /// Its machine loses its power, and gets it back.
    PowerLost,
}

const ENDS: [End; 5] = [End::Killed, End::Fails, End::Stopped, End::ProcessKilled, End::PowerLost];

/// When it is called, and when the service ends.
const CALLED: Duration = Duration::from_millis(2_300);
const ENDED: Duration = Duration::from_millis(2_500);

/// How long a state lasts that is to last over the service's end.
const LASTS: Duration = Duration::from_millis(400);

/// Longer than it takes to notice that a machine has no power.
const DEADLINE: Duration = Duration::from_secs(15);

const SERVICE: &str = "till";

/// What was seen of a call.
#[derive(Default)]
struct Seen {
    outcome: Option<Result<u32, CallError>>,
    /// How often it was begun and not declined.
    begun: u32,
    effects: u32,
}

type Sight = Arc<Mutex<Seen>>;

/// The call itself. Answers which attempt has done it.
#[derive(Clone, Serialize, Deserialize)]
struct Pay;

impl Method for Pay {
    const NAME: &'static str = "pay";
    type Answer = u32;
}

/// Keeps the only worker busy.
#[derive(Clone, Serialize, Deserialize)]
struct Keep;

impl Method for Keep {
    const NAME: &'static str = "keep";
    type Answer = ();
}

struct Till {
    state: State,
    sight: Sight,
    is_ill: Arc<AtomicBool>,
}

impl Service for Till {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Pay>().on::<Keep>()
    }

    async fn health(&self) -> Result<(), Failure> {
        match self.is_ill.swap(false, Ordering::Relaxed) {
            true => Err(Failure::new("the drawer is stuck")),
            false => Ok(()),
        }
    }
}

impl Handle<Keep> for Till {
    async fn handle(&self, _: Keep, _: &Context) -> Result<(), Failure> {
        sleep(2 * LASTS).await;
        Ok(())
    }
}

impl Handle<Pay> for Till {
    async fn handle(&self, _: Pay, context: &Context) -> Result<u32, Failure> {
        if self.state == State::BeforeItsRetry && context.attempt == 1 {
            return Err(Failure::new("count again").transient());
        }
        self.sight.lock().begun += 1;
        if matches!(self.state, State::BeforeItsEffect) {
            sleep(LASTS).await;
        }
        self.sight.lock().effects += 1;
        if matches!(self.state, State::AfterItsEffect | State::Hedged) {
            sleep(LASTS).await;
        }
        Ok(context.attempt)
    }
}

/// Holds up what a worker has taken, before the method.
struct Slow;

impl Middleware for Slow {
    async fn before(&self, _: &mut Call) -> Result<Flow, CallError> {
        sleep(LASTS).await;
        Ok(Flow::Continue)
    }
}

fn host(state: State, sight: &Sight, is_ill: &Arc<AtomicBool>) -> ServiceHost<Till> {
    let middleware = match state {
        State::InAWorkersHands => Chain::new().with(Slow),
        _ => Chain::new(),
    };
    let options = HostOptions {
        workers: 1,
        health_interval: Duration::from_millis(10),
        health_failures: 1,
        middleware,
        ..HostOptions::default()
    };
    let (sight, is_ill) = (sight.clone(), is_ill.clone());
    let make = move || Till { state, sight: sight.clone(), is_ill: is_ill.clone() };
    ServiceHost::new(SERVICE, make).options(options)
}

fn services(node: &Node) -> ServiceManager {
    ServiceManager::builder(node.system()).directory(ClusterDirectory::new(node)).build()
}

fn kill(service: &Hosted) {
    service.supervisor().cell().get_children().into_iter().for_each(|life| life.kill());
}

/// Runs the service, and ends it when it is time, unless faults do.
async fn serve(here: Host, node: Node, state: State, end: End) -> Result<Node, String> {
    let begun = Instant::now();
    let is_ill = Arc::new(AtomicBool::new(false));
    let host = host(state, &here.oracle(), &is_ill);
    let service = services(&node).start(host).await.map_err(|why| why.to_string())?;
    let service = service.expect("no configuration has it run elsewhere");
    if here.number() == 0 && here.life() == 1 {
        tokio::spawn(async move {
            sleep_until(begun + ENDED).await;
            match end {
                End::Killed => kill(&service),
                End::Fails => is_ill.store(true, Ordering::Relaxed),
                End::Stopped => drop(service.stop(Duration::from_secs(5)).await),
                End::ProcessKilled | End::PowerLost => {}
            }
        });
    }
    Ok(node)
}

/// Calls the service, so that the call is in the state when the service ends.
async fn call(here: Host, node: Node, state: State, is_idempotent: bool) {
    let (begun, till) = (Instant::now(), services(&node).service(SERVICE));
    if state == State::InTheQueue {
        sleep_until(begun + CALLED - Duration::from_millis(50)).await;
        let till = till.clone();
        tokio::spawn(async move { till.call_with(CallOptions::new().retries(0), Keep).await });
    }
    sleep_until(begun + CALLED).await;
    let pause = if state == State::BeforeItsRetry { LASTS } else { LASTS / 4 };
    let options =
        CallOptions::new().deadline(DEADLINE).retry_after(pause).idempotent(is_idempotent);
    let options = match state {
        State::Hedged => options.hedge_after(LASTS / 8),
        _ => options,
    };
    let outcome = till.call_with(options, Pay).await;
    here.oracle::<Seen>().lock().outcome = Some(outcome);
}

/// What becomes of a call: what is told, how often it was executed, and how often to the effect.
#[derive(Debug, PartialEq, Eq)]
struct Became {
    told: Told,
    begun: u32,
    effects: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Answered,
    Executed(Executed),
}

fn became(seen: &Seen) -> Became {
    let told = match seen.outcome.as_ref().expect("it has ended") {
        Ok(_) => Told::Answered,
        Err(why) => Told::Executed(why.executed()),
    };
    Became { told, begun: seen.begun, effects: seen.effects }
}

fn play(state: State, end: End, is_idempotent: bool) -> Became {
    let planned = |after: Duration, fault| Planned { at_ms: after.as_millis() as u64, fault };
    let delay = |from, to| {
        let (extra_ms, ms) = (LASTS.as_millis() as u64, 500);
        let fault = Fault::Delay { from, to, extra_ms, ms };
        planned(CALLED - Duration::from_millis(100), fault)
    };
    let mut faults = Vec::new();
    match state {
        State::OnTheWayThere => faults.push(delay(1, 0)),
        State::AnswerOnTheWay => faults.push(delay(0, 1)),
        _ => {}
    }
    match end {
        End::ProcessKilled => faults.push(planned(ENDED, Fault::Kill { node: 0, down_ms: 1 })),
        End::PowerLost => {
            faults.push(planned(ENDED, Fault::PowerLoss { node: 0, down_ms: 1_000 }));
        }
        _ => {}
    }
    let seen = Arc::new(Mutex::new(None));
    let told = seen.clone();
    let nodes = if state == State::Hedged { 3 } else { 2 };
    let outcome = World::new(1)
        .named(format!("{state:?}-{end:?}-{is_idempotent}"))
        .nodes(nodes, move |here| async move {
            let node = here.node().start().await.map_err(|why| why.to_string())?;
            if here.number() != 1 {
                return serve(here, node, state, end).await;
            }
            tokio::spawn(call(here, node.clone(), state, is_idempotent));
            Ok(node)
        })
        .workload(|here, _| async move {
            while here.oracle::<Seen>().lock().outcome.is_none() {
                sleep(Duration::from_millis(50)).await;
            }
            Ok::<_, String>(())
        })
        .finally("what-became-of-it", move |snapshot| {
            *told.lock() = Some(became(&snapshot.oracle::<Seen>().lock()));
            Ok(())
        })
        .faults(Faults::Planned(faults))
        .lasts(Duration::from_secs(4))
        .run_once();
    assert!(outcome.ok, "{outcome}");
    let became = seen.lock().take();
    became.expect("it was looked at in the end")
}

/// Plays all ends in a state; tells where what is promised is not what came.
fn plays(state: State, is_idempotent: bool, promised: &dyn Fn(End) -> Became) {
    let differ = ENDS.into_iter().filter_map(|end| {
        let (became, promised) = (play(state, end, is_idempotent), promised(end));
        (became != promised)
            .then(|| format!("{state:?}, {end:?}: {became:?}, and promised is {promised:?}"))
    });
    let differ: Vec<_> = differ.collect();
    assert!(differ.is_empty(), "\n{}\n", differ.join("\n"));
}

fn answered(begun: u32, effects: u32) -> Became {
    Became { told: Told::Answered, begun, effects }
}

fn unknown(begun: u32, effects: u32) -> Became {
    Became { told: Told::Executed(Executed::Unknown), begun, effects }
}

const NOT: Became = Became { told: Told::Executed(Executed::No), begun: 0, effects: 0 };

#[test]
fn on_the_way_there() {
    // It arrives at the next life; or the link is lost with it.
    plays(State::OnTheWayThere, false, &|end| match end {
        End::Killed | End::Fails => answered(1, 1),
        End::Stopped => NOT,
        End::ProcessKilled | End::PowerLost => unknown(0, 0),
    });
    plays(State::OnTheWayThere, true, &|end| match end {
        End::Stopped => NOT,
        _ => answered(1, 1),
    });
}

#[test]
fn in_the_queue() {
    // Told that it was not begun, its caller tries it again; stopped in order, the service does it.
    plays(State::InTheQueue, false, &|end| match end {
        End::Killed | End::Fails | End::Stopped => answered(1, 1),
        End::ProcessKilled | End::PowerLost => unknown(0, 0),
    });
    plays(State::InTheQueue, true, &|_| answered(1, 1));
}

#[test]
fn in_a_workers_hands() {
    plays(State::InAWorkersHands, false, &|end| match end {
        End::Stopped => answered(1, 1),
        _ => unknown(0, 0),
    });
    plays(State::InAWorkersHands, true, &|_| answered(1, 1));
}

#[test]
fn before_its_effect() {
    plays(State::BeforeItsEffect, false, &|end| match end {
        End::Stopped => answered(1, 1),
        _ => unknown(1, 0),
    });
    plays(State::BeforeItsEffect, true, &|end| match end {
        End::Stopped => answered(1, 1),
        _ => answered(2, 1),
    });
}

#[test]
fn after_its_effect() {
    plays(State::AfterItsEffect, false, &|end| match end {
        End::Stopped => answered(1, 1),
        _ => unknown(1, 1),
    });
    plays(State::AfterItsEffect, true, &|end| match end {
        End::Stopped => answered(1, 1),
        _ => answered(2, 2),
    });
}

#[test]
fn its_answer_on_the_way() {
    // Which arrives, unless a kernel breaks the connection off that its process has left.
    plays(State::AnswerOnTheWay, false, &|end| match end {
        End::ProcessKilled => unknown(1, 1),
        _ => answered(1, 1),
    });
    plays(State::AnswerOnTheWay, true, &|end| match end {
        End::ProcessKilled => answered(2, 2),
        _ => answered(1, 1),
    });
}

#[test]
fn before_its_retry() {
    plays(State::BeforeItsRetry, false, &|end| match end {
        End::Stopped => NOT,
        // Nobody has noticed yet that the machine has no power: it is sent there again.
        End::PowerLost => unknown(0, 0),
        _ => answered(1, 1),
    });
    plays(State::BeforeItsRetry, true, &|end| match end {
        End::Stopped => NOT,
        _ => answered(1, 1),
    });
}

#[test]
fn at_two_instances() {
    // The other one answers, and has done so once.
    plays(State::Hedged, true, &|_| answered(2, 2));
}

/// The message lies in the mailbox, and the actor has not looked at it: nobody but who calls on the same
/// node, and kills it before it runs, can see that.
#[tokio::test(start_paused = true)]
async fn in_the_mailbox() {
    for is_idempotent in [false, true] {
        for retries in [0, 1] {
            let (sight, is_ill) = (Sight::default(), Arc::default());
            let services = ServiceManager::new(&System::new("test"));
            let service = services.start(host(State::OnTheWayThere, &sight, &is_ill)).await;
            let service = service.unwrap().unwrap();
            let till = services.service(SERVICE);
            let options = CallOptions::new().retries(retries).idempotent(is_idempotent);
            let mut call = pin!(till.call_with(options, Pay));
            assert!(call.as_mut().now_or_never().is_none(), "it is in the mailbox");
            kill(&service);
            let outcome = call.await.map_err(|why| why.executed());
            // Its reply is dropped with it. Nobody says that it was not begun, so what may be executed
            // once only is not tried again.
            let promised = match is_idempotent && retries > 0 {
                true => (Ok(2), 1),
                false => (Err(Executed::Unknown), 0),
            };
            assert_eq!((outcome, sight.lock().begun), promised);
        }
    }
}
