//! Modules on several nodes.

#[path = "../../services/tests/cluster/mod.rs"]
mod cluster;
#[path = "../../../actors/modules/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use cluster::Cluster;
use support::{Ask, AskOther, Log, Part, Placed};
use umbel_cluster::Node;
use umbel_cluster_modules::OnNode;
use umbel_modules::{Change, Dependents, ModuleState, Runtime, RuntimeBuilder};
use umbel_services::{CallError, CallOptions, Executed};

const SOON: Duration = Duration::from_secs(5);

fn part(
    name: &'static str,
    requires: &'static [&'static str],
    log: &Log,
) -> impl Fn() -> Part + use<> {
    let log = log.clone();
    move || Part::new(name, requires, &log)
}

/// The shop's modules; those that do not run here run on the other node.
fn shop(node: &Node, log: &Log, elsewhere: &str) -> RuntimeBuilder {
    Runtime::builder("shop")
        .node(node)
        .module(part("catalog", &[], log))
        .module(part("ordering", &["catalog"], log))
        .elsewhere(elsewhere)
}

struct Two {
    log: Log,
    node_a: Node,
    node_b: Node,
    catalog: Runtime,
    ordering: Runtime,
}

impl Two {
    async fn start() -> Self {
        let (cluster, log) = (Cluster::new(), Log::default());
        let node_a = cluster.node("a", None).await;
        let node_b = cluster.node("b", Some(&node_a)).await;
        let catalog = shop(&node_a, &log, "ordering").start().await.unwrap();
        let ordering = shop(&node_b, &log, "catalog").start().await.unwrap();
        Self { log, node_a, node_b, catalog, ordering }
    }
}

#[tokio::test]
async fn a_module_calls_another_on_another_node_as_if_it_were_here() {
    let two = Two::start().await;
    let (said, _) =
        two.ordering.services().call("ordering", AskOther("catalog".into())).await.unwrap();
    assert_eq!(said, "1");
    let views = two.ordering.modules();
    let state = |name: &str| views.iter().find(|view| view.name == name).unwrap().state;
    assert_eq!(
        (state("ordering"), state("catalog")),
        (ModuleState::Running, ModuleState::Elsewhere)
    );
    // And the other way round.
    two.catalog.services().call("catalog", AskOther("ordering".into())).await.unwrap();
}

#[tokio::test]
async fn an_event_is_handled_by_the_modules_of_all_nodes() {
    let two = Two::start().await;
    two.log.take();
    let both = |log: &Log| {
        let log = log.all();
        let has = |line: &str| log.iter().any(|one| one == line);
        has("catalog#1 has 7") && has("ordering#1 has 7")
    };
    // Until the other node has heard of the subscription.
    let heard = async {
        while !both(&two.log) {
            two.ordering.events().publish(Placed { order: 7 }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("both hear it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_from_another_node_fails_while_a_module_is_reloaded() {
    let two = Two::start().await;
    let mut calls = 0;
    let reloading = two.catalog.clone();
    let reloads = tokio::spawn(async move {
        for _ in 0..20 {
            reloading.reload("catalog").await.unwrap();
        }
    });
    while !reloads.is_finished() {
        let asked = two.ordering.services().call("ordering", AskOther("catalog".into())).await;
        asked.unwrap();
        calls += 1;
    }
    reloads.await.unwrap();
    let (_, generation) = two.ordering.services().call("catalog", Ask).await.unwrap();
    println!("{calls} calls over 20 reloads");
    assert!(calls > 0);
    assert_eq!(generation, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unloaded_on_one_node_is_not_found_from_the_other() {
    let two = Two::start().await;
    let mut changes = two.catalog.changes();
    two.ordering.services().call("catalog", Ask).await.unwrap();
    two.catalog.unload("catalog", Dependents::Refuse).await.unwrap();
    assert_eq!(changes.recv().await.unwrap().what, Change::Unloaded);
    let options = CallOptions::new().deadline(Duration::from_millis(500));
    let service = two.ordering.services().service("catalog");
    // Until the other node has heard of it, a call may still be sent there: it is not executed.
    let gone = async {
        loop {
            match service.call_with(options.clone(), Ask).await.unwrap_err() {
                gone @ CallError::NotFound { .. } => break gone,
                early => assert_eq!(early.executed(), Executed::No, "{early}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is not found");
    two.catalog.load_known("catalog").await.unwrap();
    two.ordering.services().call("catalog", Ask).await.unwrap();
    // Nodes that leave end nothing else.
    two.catalog.shutdown(SOON).await;
    two.node_a.leave(Duration::from_secs(5)).await;
    two.ordering.services().call("ordering", Ask).await.unwrap();
    two.node_b.leave(Duration::from_secs(5)).await;
}
