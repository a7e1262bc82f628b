//! Services on several nodes.

mod cluster;
#[path = "../../../actors/services/tests/suite/mod.rs"]
mod suite;
#[path = "../../../actors/services/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use support::*;
use tokio::task::JoinSet;
use umbel_cluster::Node;
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{
    CallError, CallOptions, ConfigFormat, Executed, HostOptions, Hosted, Policy, ServiceManager,
    ServiceOptions, ServicesConfig,
};

const SECOND: Duration = Duration::from_secs(1);

fn services(node: &Node, options: ServiceOptions) -> ServiceManager {
    let builder = ServiceManager::builder(node.system()).directory(ClusterDirectory::new(node));
    builder.default_options(options).build()
}

async fn start(services: &ServiceManager, options: HostOptions) -> (Hosted, Arc<Book>) {
    let (host, book) = desk(options);
    (services.start(host).await.unwrap().unwrap(), book)
}

/// Waits until so many instances are known.
async fn found(services: &ServiceManager, count: usize) {
    let desk = services.service("desk");
    while desk.figures().await.len() != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_suite_passes_on_two_nodes() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let b = cluster.node("b", Some(&a)).await;
    let (hosts, callers) =
        (services(&a, ServiceOptions::default()), services(&b, ServiceOptions::default()));
    suite::all(&hosts, &callers).await;
}

#[tokio::test]
async fn the_suite_passes_on_the_node_that_calls() {
    let node = Cluster::new().node("a", None).await;
    let services = services(&node, ServiceOptions::default());
    suite::all(&services, &services).await;
}

#[tokio::test]
async fn instances_on_all_nodes_take_turns_and_local_ones_come_first_where_that_is_said() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let b = cluster.node("b", Some(&a)).await;
    let on_a = services(&a, ServiceOptions::default());
    let near = ServiceOptions { policy: Policy::LocalFirst, ..ServiceOptions::default() };
    let on_b = services(&b, near);
    let (_, book_a) = start(&on_a, HostOptions::default()).await;
    let (_, book_b) = start(&on_b, HostOptions::default()).await;
    found(&on_a, 2).await;
    found(&on_b, 2).await;
    let before = (book_a.executed(), book_b.executed());
    for _ in 0..10 {
        on_a.call("desk", Echo("x".into())).await.unwrap();
    }
    assert_eq!((book_a.executed(), book_b.executed()), (before.0 + 5, before.1 + 5));
    for _ in 0..10 {
        on_b.call("desk", Echo("x".into())).await.unwrap();
    }
    assert_eq!((book_a.executed(), book_b.executed()), (before.0 + 5, before.1 + 15));
}

#[tokio::test]
async fn a_configuration_says_whether_it_is_called_here_or_there() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let b = cluster.node("b", Some(&a)).await;
    let (_, book_a) = start(&services(&a, ServiceOptions::default()), HostOptions::default()).await;
    let (_, book_b) = start(&services(&b, ServiceOptions::default()), HostOptions::default()).await;
    for (placement, calls) in [("remote", (5, 0)), ("local", (0, 5))] {
        let text = format!("[services.desk]\nplacement = {placement:?}");
        let config = ServicesConfig::parse(&text, ConfigFormat::Toml, []).unwrap();
        let builder = ServiceManager::builder(b.system()).directory(ClusterDirectory::new(&b));
        let on_b = builder.config(config).build();
        let before = (book_a.executed(), book_b.executed());
        for _ in 0..5 {
            on_b.call("desk", Echo("x".into())).await.unwrap();
        }
        let now = (book_a.executed(), book_b.executed());
        assert_eq!((now.0 - before.0, now.1 - before.1), calls, "{placement}");
    }
}

#[tokio::test]
async fn a_key_belongs_to_the_same_instance_wherever_it_is_called_from() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let b = cluster.node("b", Some(&a)).await;
    let by_key = || ServiceOptions { policy: Policy::ByKey, ..ServiceOptions::default() };
    let (on_a, on_b) = (services(&a, by_key()), services(&b, by_key()));
    let (_, book_a) = start(&on_a, HostOptions::default()).await;
    let (_, _book) = start(&on_b, HostOptions::default()).await;
    found(&on_a, 2).await;
    found(&on_b, 2).await;
    for key in 0..20_u32 {
        let mut by_a = Vec::new();
        for services in [&on_a, &on_b] {
            let before = book_a.executed();
            let options = CallOptions::new().key(key.to_le_bytes());
            services.service("desk").call_with(options, Echo("x".into())).await.unwrap();
            by_a.push(book_a.executed() > before);
        }
        assert_eq!(by_a[0], by_a[1], "key {key}");
    }
}

#[tokio::test]
async fn what_waits_and_came_from_another_node_has_a_bound_in_bytes() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let b = cluster.node("b", Some(&a)).await;
    let options = HostOptions { workers: 1, queue_bytes: 1 << 20, ..HostOptions::default() };
    let (desk, book) = start(&services(&a, ServiceOptions::default()), options).await;
    let on_b = services(&b, ServiceOptions::default());
    found(&on_b, 1).await;
    let first = on_b.service("desk");
    let first = tokio::spawn(async move { first.call(Wait).await });
    until("the worker is busy", || book.running() == 1).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let handle = on_b.service("desk");
        let large = Echo("x".repeat(200 << 10));
        calls.spawn(async move { handle.call_with(once(), large).await });
    }
    for _ in 0..15 {
        let busy = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(busy, CallError::Busy { service: "desk".into(), waiting: 5 });
    }
    assert_eq!(desk.figures().waiting, 5);
    book.gate.add_permits(1);
    first.await.unwrap().unwrap();
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn when_a_node_goes_its_handles_go_and_others_take_over() {
    let cluster = Cluster::new();
    let a = cluster.node("a", None).await;
    let (b, c) = (cluster.node("b", Some(&a)).await, cluster.node("c", Some(&a)).await);
    let options = || ServiceOptions { retry_after: SECOND / 10, ..ServiceOptions::default() };
    let on_a = services(&a, options());
    let (_, book_b) = start(&services(&b, options()), HostOptions::default()).await;
    let (_, book_c) = start(&services(&c, options()), HostOptions::default()).await;
    found(&on_a, 2).await;
    let mut calls = JoinSet::new();
    let handle = on_a.service("desk");
    for _ in 0..4 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call(WaitAgain).await });
    }
    until("all run", || book_b.running() + book_c.running() == 4).await;
    let single = handle.clone();
    let first = book_b.executed();
    let singles =
        [single.clone(), single].map(|handle| tokio::spawn(async move { handle.call(Wait).await }));
    until("one of them runs at b", || book_b.executed() > first).await;
    until("both run", || book_b.running() + book_c.running() == 6).await;
    // It ends without a word.
    b.leave(Duration::ZERO).await;
    until("only c is left", || on_a.handles()["desk"].len() == 1).await;
    assert_eq!(on_a.handles()["desk"][0].node.as_deref(), Some("c"));
    book_c.gate.add_permits(99);
    let outcomes = calls.join_all().await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let mut lost = 0;
    for single in singles {
        if let Err(why) = single.await.unwrap() {
            assert_eq!(why.executed(), Executed::Unknown, "{why}");
            assert!(matches!(why, CallError::Lost { .. }), "{why}");
            lost += 1;
        }
    }
    assert_eq!(lost, 1, "what may not be executed twice was not tried again");
    handle.call(Echo("on".into())).await.unwrap();
}
