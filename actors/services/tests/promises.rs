//! A service that is killed in whatever state its calls are in: each call ends, and what it says of
//! its request is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use umbel_actors::System;
use umbel_services::{
    CallError, CallOptions, Context, Executed, Failure, Handle, HostOptions, Method, Methods,
    Service, ServiceHost, ServiceManager,
};

/// How often each request was begun.
type Begun = Arc<Mutex<BTreeMap<u32, u32>>>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Once {
    number: u32,
    millis: u64,
}

impl Method for Once {
    const NAME: &'static str = "once";
    type Answer = u32;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Often(Once);

impl Method for Often {
    const NAME: &'static str = "often";
    const IDEMPOTENT: bool = true;
    type Answer = u32;
}

struct Clerk(Begun);

impl Service for Clerk {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Once>().on::<Often>()
    }
}

impl Clerk {
    async fn work(&self, Once { number, millis }: Once) -> Result<u32, Failure> {
        *self.0.lock().entry(number).or_default() += 1;
        sleep(Duration::from_millis(millis)).await;
        match number % 7 {
            6 => Err(Failure::new("seven")),
            5 => panic!("five"),
            _ => Ok(number),
        }
    }
}

impl Handle<Once> for Clerk {
    async fn handle(&self, once: Once, _: &Context) -> Result<u32, Failure> {
        self.work(once).await
    }
}

impl Handle<Often> for Clerk {
    async fn handle(&self, Often(once): Often, _: &Context) -> Result<u32, Failure> {
        self.work(once).await
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call { is_idempotent: bool, millis: u64, deadline: u64, patience: Option<u64> },
    Kill,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let call = (any::<bool>(), 0_u64..400, 100_u64..4_000, prop::option::weighted(0.2, 0_u64..500));
    let call = call.prop_map(|(is_idempotent, millis, deadline, patience)| Step::Call {
        is_idempotent,
        millis,
        deadline,
        patience,
    });
    prop_oneof![8 => call, 1 => Just(Step::Kill), 3 => (0_u64..300).prop_map(Step::Wait)]
}

/// What became of a call: `None` where its caller gave it up.
struct Ended {
    number: u32,
    is_idempotent: bool,
    outcome: Option<Result<u32, CallError>>,
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let begun = Begun::default();
    let system = System::builder("test").seed(3).start();
    let services = ServiceManager::new(&system);
    let made = begun.clone();
    let options =
        HostOptions { workers: 2, queue: 4, max_restarts: 1_000, ..HostOptions::default() };
    let host = ServiceHost::new("clerk", move || Clerk(made.clone())).options(options);
    let clerk = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Kill => {
                for life in clerk.supervisor().cell().get_children() {
                    life.kill();
                }
            }
            Step::Call { is_idempotent, millis, deadline, patience } => {
                let handle = services.service("clerk");
                calls.spawn(async move {
                    let options = CallOptions::new().deadline(Duration::from_millis(deadline));
                    let once = Once { number, millis };
                    let call = async {
                        match is_idempotent {
                            true => handle.call_with(options, Often(once)).await,
                            false => handle.call_with(options, once).await,
                        }
                    };
                    let patience = Duration::from_millis(patience.unwrap_or(10_000));
                    let outcome = timeout(patience, call).await.ok();
                    Ended { number, is_idempotent, outcome }
                });
            }
        }
    }
    let count = calls.len();
    // Far beyond all deadlines: whoever has not ended by then never will.
    let ended = timeout(Duration::from_secs(60), calls.join_all()).await;
    let ended = ended.map_err(|_| TestCaseError::fail("a call did not end"))?;
    prop_assert_eq!(ended.len(), count);
    prop_assert!(clerk.view().until_idle(Duration::from_secs(60)).await);
    let begun = begun.lock().clone();
    for Ended { number, is_idempotent, outcome } in ended {
        let times = begun.get(&number).copied().unwrap_or(0);
        prop_assert!(is_idempotent || times <= 1, "{number} was begun {times} times");
        prop_assert!(times <= 4, "{number} was begun {times} times");
        match outcome {
            Some(Ok(answer)) => prop_assert!(answer == number && times >= 1),
            Some(Err(why)) => match why.executed() {
                Executed::No => prop_assert!(times == 0, "{number}: {why}"),
                Executed::Yes => prop_assert!(times >= 1, "{number}: {why}"),
                Executed::Unknown => {}
            },
            None => {}
        }
    }
    let figures = clerk.figures();
    let all = figures.answered + figures.errors_total() + figures.repeats;
    prop_assert_eq!((figures.waiting, figures.running), (0, 0));
    prop_assert_eq!(figures.requests, all, "{:?}", figures);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_call_ends_and_says_the_truth_of_its_request(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps))?;
    }
}
