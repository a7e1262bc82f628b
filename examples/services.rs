//! A service: typed calls from another node, a queue that says when it is full, a fallback while the
//! service is down, and the same call when it is back.
//!
//! ```sh
//! cargo run -p umbel-examples --example services
//! ```
//!
//! Both nodes live in this process, over mutual TLS, with an authority of their own in memory.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;
use umbel_cluster::{Authority, IssueOptions, Node};
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{
    BreakerState, CallError, CallOptions, ConfigFormat, Context, Failure, Handle, Method, Methods,
    Service, ServiceHost, ServiceManager, ServicesConfig,
};

/// What an item costs, in cents.
#[derive(Clone, Serialize, Deserialize)]
struct Price {
    item: String,
}

impl Method for Price {
    const NAME: &'static str = "price";
    const IDEMPOTENT: bool = true;
    type Answer = u64;
}

/// Sells one; answers how many are left. Must not be executed twice for one call.
#[derive(Clone, Serialize, Deserialize)]
struct Sell {
    item: String,
}

impl Method for Sell {
    const NAME: &'static str = "sell";
    type Answer = u64;
}

struct Catalog {
    teapots: Arc<AtomicU64>,
}

impl Service for Catalog {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Price>().on::<Sell>()
    }
}

impl Handle<Price> for Catalog {
    async fn handle(&self, Price { item }: Price, context: &Context) -> Result<u64, Failure> {
        // A slow method sees how long its caller still waits.
        tokio::time::sleep(Duration::from_millis(20).min(context.remaining())).await;
        match item.as_str() {
            "teapot" => Ok(2_500),
            item => Err(Failure::new(format!("there is no {item}")).code("unknown_item")),
        }
    }
}

impl Handle<Sell> for Catalog {
    async fn handle(&self, Sell { item }: Sell, _: &Context) -> Result<u64, Failure> {
        let take = |left: u64| left.checked_sub(1);
        let before = self.teapots.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let before = before.map_err(|_| Failure::new(format!("no {item} is left")))?;
        Ok(before - 1)
    }
}

/// How services are called and run: usually in a file, by `ServicesConfig::read`.
const CONFIG: &str = r#"
    [services.catalog]
    retry_after = "50ms"
    resolve_within = "200ms"
    middleware = [
        { logging = {} },
        { fallback = { method = "price", value = 9999 } },
        { circuit_breaker = { open_for = "1s", trials = 1 } },
    ]

    [services.catalog.host]
    workers = 2
    queue = 4
"#;

async fn services(
    authority: &Authority,
    name: &str,
    join: Option<String>,
) -> Result<(Node, ServiceManager), Box<dyn Error>> {
    let credentials = authority.issue(&name.parse()?, &IssueOptions::new())?;
    let node = Node::builder().credentials(credentials).listen("127.0.0.1:0").join(join);
    let node = node.start().await?;
    let config = ServicesConfig::parse(CONFIG, ConfigFormat::Toml, [])?;
    let services = ServiceManager::builder(node.system())
        .directory(ClusterDirectory::new(&node))
        .config(config)
        .build();
    Ok((node, services))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let authority = Authority::create("shop".parse()?)?;
    let (store, in_store) = services(&authority, "store", None).await?;
    let (_till, at_till) = services(&authority, "till", store.address()).await?;

    let teapots = Arc::new(AtomicU64::new(10));
    let start = |instance: &'static str| {
        let teapots = teapots.clone();
        let make = move || Catalog { teapots: teapots.clone() };
        in_store.start(ServiceHost::new("catalog", make).instance(instance))
    };
    let hosted = start("1").await?.ok_or("the configuration has it run here")?;

    // Typed, and by JSON; local or remote, it is the same call.
    let catalog = at_till.service("catalog");
    let asked = catalog.call(teapot()).await?;
    let by_json = catalog.call_json("sell", json!({ "item": "teapot" })).await?;
    println!("a teapot is {asked}; {by_json} are left");
    assert_eq!((asked, by_json), (2_500, json!(9)));
    let unknown = catalog.call(Price { item: "samovar".into() }).await.unwrap_err();
    println!("a samovar: {unknown}");

    // Two are served at once, four wait, and the rest are told so at once.
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let till = at_till.service("catalog");
        let once = CallOptions::new().retries(0).header("till", "3");
        calls.spawn(async move { till.call_with(once, teapot()).await });
    }
    let served = calls.join_all().await.into_iter().filter(|price| *price == Ok(2_500)).count();
    println!("{served} of ten at once were served; {}", hosted.figures());

    // The service goes: prices fall back, and the breaker keeps calls from waiting in vain.
    hosted.stop(Duration::from_secs(1)).await;
    let breaker = &catalog.options().middleware.circuit_breakers()[0];
    let mut fallbacks = 0;
    while breaker.state() != BreakerState::Open {
        fallbacks += u32::from(catalog.call(teapot()).await? == 9_999);
    }
    println!("the catalog is down: {fallbacks} prices were fallbacks, then the breaker opened");
    let rejected = catalog.call(Sell { item: "teapot".into() }).await.unwrap_err();
    println!("selling: {rejected}");
    assert!(matches!(rejected, CallError::Rejected { .. }));

    // It comes back: a trial goes well, and the breaker closes.
    start("2").await?;
    let left = loop {
        match catalog.call(Sell { item: "teapot".into() }).await {
            Ok(left) => break left,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    println!("the catalog is back: {left} teapots are left");
    assert_eq!((left, breaker.state()), (8, BreakerState::Closed));
    Ok(())
}

fn teapot() -> Price {
    Price { item: "teapot".into() }
}
