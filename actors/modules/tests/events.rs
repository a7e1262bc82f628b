//! Events that are hard to handle, and handlers that change.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{Log, Placed, until};
use umbel_modules::{Event, Failure, Module, ModuleContext, Registration, Runtime};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Other;

impl Event for Other {
    const TOPIC: &'static str = "other";
}

/// Handles orders; a later version of it handles something else, too, and places an order when it starts.
struct Handler {
    log: Log,
    is_later: bool,
}

impl Module for Handler {
    fn name(&self) -> &str {
        "handler"
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        if self.is_later {
            module.on_event(|Other: Other, _| async { Ok(()) });
        }
        let log = self.log.clone();
        module.on_event(move |Placed { order }: Placed, context: ModuleContext| {
            let log = log.clone();
            async move {
                log.add(format!("{order} at #{}", context.generation()));
                match order % 10 {
                    3 => panic!("an order that nobody can handle"),
                    7 => Err(Failure::new("no")),
                    _ => Ok(()),
                }
            }
        });
        Ok(())
    }

    async fn on_startup(&self, context: &ModuleContext) -> Result<(), Failure> {
        if self.is_later {
            context.events().publish(Placed { order: 1_000 }).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_version_with_one_more_handler_handles_each_event_once() {
    let (log, later) = (Log::default(), Log::default());
    let (first, second) = (log.clone(), later.clone());
    let runtime = Runtime::builder("shop")
        .module(move || Handler { log: first.clone(), is_later: false })
        .start()
        .await
        .unwrap();
    runtime
        .upgrade("handler", move || Handler { log: second.clone(), is_later: true })
        .await
        .unwrap();
    runtime.events().publish(Placed { order: 1_001 }).await.unwrap();
    until("the last is handled", || {
        !later.all().is_empty() && later.all().last().unwrap().starts_with("1001")
    })
    .await;
    let all = [log.all(), later.all()].concat();
    assert_eq!(all.iter().filter(|line| line.starts_with("1000 ")).count(), 1, "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_that_cannot_be_handled_costs_no_other_and_no_restart() {
    let log = Log::default();
    let shared = log.clone();
    let make = move || Handler { log: shared.clone(), is_later: false };
    let runtime = Runtime::builder("shop").module(make).start().await.unwrap();
    let mut events = runtime.supervisor().events();
    for order in 0..500 {
        runtime.events().publish(Placed { order }).await.unwrap();
        if order % 50 == 0 {
            until("it keeps up", || log.all().len() > order as usize).await;
        }
    }
    until("all were handled", || log.all().len() == 500).await;
    let handled: BTreeSet<_> = log.all().into_iter().collect();
    assert_eq!(handled.len(), 500);
    let quiet = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
