//! Modules' routes on one server, and the admin API on another. With a real HTTP client.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use support::{Fault, Log, Part, impatient};
use tokio::task::JoinSet;
use umbel_modules::{Dependents, Failure, HttpConfig, Module, ModuleContext, Runtime};

const SOON: Duration = Duration::from_secs(5);

/// A module that tells over HTTP which instance of it answers.
struct Web {
    name: &'static str,
    prefix: Option<&'static str>,
    routes: fn(&ModuleContext) -> Router,
    requires: &'static [&'static str],
    is_healthy: Arc<AtomicBool>,
}

fn generation(context: &ModuleContext) -> Router {
    let generation = context.generation();
    Router::new().route(
        "/generation",
        get(async move || {
            tokio::time::sleep(Duration::from_millis(2)).await;
            generation.to_string()
        }),
    )
}

impl Web {
    fn new(name: &'static str) -> Self {
        let is_healthy = Arc::new(AtomicBool::new(true));
        Self { name, prefix: None, routes: generation, requires: &[], is_healthy }
    }
}

impl Module for Web {
    fn name(&self) -> &str {
        self.name
    }

    fn requires(&self) -> &[&str] {
        self.requires
    }

    fn prefix(&self) -> String {
        self.prefix.map_or_else(|| format!("/{}", self.name), str::to_owned)
    }

    fn routes(&self, context: &ModuleContext) -> Router {
        (self.routes)(context)
    }

    async fn health(&self, _: &ModuleContext) -> Result<(), Failure> {
        match self.is_healthy.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Failure::new("it feels ill")),
        }
    }
}

fn config() -> HttpConfig {
    HttpConfig::new("127.0.0.1:0").admin_at("127.0.0.1:0", "open-sesame")
}

struct Site {
    runtime: Runtime,
    modules: SocketAddr,
    admin: SocketAddr,
    client: Client,
}

impl Site {
    async fn start(builder: umbel_modules::RuntimeBuilder) -> Self {
        let runtime = builder.http(config()).start().await.unwrap();
        let (modules, admin) = (runtime.http_addresses()[0], runtime.admin_addresses()[0]);
        Self { runtime, modules, admin, client: Client::new() }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer =
            self.client.get(format!("http://{}{path}", self.modules)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn admin(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let asked = self.client.request(method, format!("http://{}{path}", self.admin));
        let answer = asked.bearer_auth("open-sesame").send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn routes_appear_and_disappear_with_their_module() {
    let site = Site::start(Runtime::builder("shop").module(|| Web::new("catalog"))).await;
    assert_eq!(site.get("/catalog/generation").await, (StatusCode::OK, "1".to_owned()));
    assert_eq!(site.get("/ordering/generation").await.0, StatusCode::NOT_FOUND);
    site.runtime.load(|| Web::new("ordering")).await.unwrap();
    assert_eq!(site.get("/ordering/generation").await.0, StatusCode::OK);
    site.runtime.reload("ordering").await.unwrap();
    assert_eq!(site.get("/ordering/generation").await, (StatusCode::OK, "2".to_owned()));
    site.runtime.unload("ordering", Dependents::Refuse).await.unwrap();
    assert_eq!(site.get("/ordering/generation").await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/catalog/generation").await.0, StatusCode::OK);
    site.runtime.shutdown(SOON).await;
    let gone = site.client.get(format!("http://{}/catalog", site.modules)).send().await;
    assert!(gone.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_module_whose_routes_cannot_be_had_is_not_loaded() {
    let site = Site::start(Runtime::builder("shop").module(|| Web::new("catalog"))).await;
    let load = |prefix, routes| {
        let module = move || Web { prefix: Some(prefix), routes, ..Web::new("other") };
        site.runtime.load(module)
    };
    let overlapping: fn(&ModuleContext) -> Router =
        |_| Router::new().route("/a", get(async || ())).route("/a", get(async || ()));
    for (prefix, routes, wanted) in [
        ("/catalog", generation as fn(&ModuleContext) -> Router, "/catalog"),
        ("/catalog/x", generation, "/catalog"),
        ("/healthz", generation, "/healthz"),
        ("catalog", generation, "not a prefix"),
        ("/other", overlapping, "panicked"),
    ] {
        let why = load(prefix, routes).await.unwrap_err().to_string();
        assert!(why.starts_with("module 'other'") && why.contains(wanted), "{prefix}: {why}");
        assert_eq!(site.runtime.modules().len(), 1, "{prefix}");
    }
    load("/other", generation).await.unwrap();
    assert_eq!(site.get("/other/generation").await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_upgrade_may_move_its_routes() {
    let site = Site::start(Runtime::builder("shop").module(|| Web::new("catalog"))).await;
    let moved = || Web { prefix: Some("/shop/catalog"), ..Web::new("catalog") };
    site.runtime.upgrade("catalog", moved).await.unwrap();
    assert_eq!(site.get("/catalog/generation").await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/shop/catalog/generation").await, (StatusCode::OK, "2".to_owned()));
    let none = || Web { routes: |_| Router::new(), ..Web::new("catalog") };
    site.runtime.upgrade("catalog", none).await.unwrap();
    assert_eq!(site.get("/shop/catalog/generation").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upgrade_that_cannot_move_its_routes_leaves_the_old_ones() {
    let catalog = || Web { prefix: Some("/shop/a"), ..Web::new("catalog") };
    let other = || Web { prefix: Some("/shop/b"), ..Web::new("other") };
    let site = Site::start(Runtime::builder("shop").module(catalog).module(other)).await;
    // It would have to lie over its own, which it may take away, and over another's.
    let moved = || Web { prefix: Some("/shop"), ..Web::new("catalog") };
    site.runtime.upgrade("catalog", moved).await.unwrap_err();
    for path in ["/shop/a/generation", "/shop/b/generation"] {
        assert_eq!(site.get(path).await, (StatusCode::OK, "1".to_owned()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_module_is_reloaded() {
    let site = Arc::new(Site::start(Runtime::builder("shop").module(|| Web::new("catalog"))).await);
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (site, stop, requests) = (site.clone(), stop.clone(), requests.clone());
        clients.spawn(async move {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let (status, generation) = site.get("/catalog/generation").await;
                assert_eq!(status, StatusCode::OK, "{generation}");
                let generation: u64 = generation.parse().unwrap();
                assert!(generation >= last, "from {last} to {generation}");
                last = generation;
                requests.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..50 {
        site.runtime.reload("catalog").await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let requests = requests.load(Ordering::Relaxed);
    println!("{requests} requests over 50 reloads");
    assert!(requests > 50);
    assert_eq!(site.get("/catalog/generation").await.1, "51");
}

#[tokio::test]
async fn it_is_ready_when_all_modules_are_well() {
    let is_healthy = Arc::new(AtomicBool::new(true));
    let shared = is_healthy.clone();
    let module = move || Web { is_healthy: shared.clone(), ..Web::new("catalog") };
    let site = Site::start(Runtime::builder("shop").module(module)).await;
    assert_eq!(site.get("/healthz").await.0, StatusCode::OK);
    let (status, parts) = site.get("/readyz").await;
    assert_eq!(status, StatusCode::OK, "{parts}");
    assert!(parts.contains("catalog"), "{parts}");
    is_healthy.store(false, Ordering::Relaxed);
    let (status, parts) = site.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{parts}");
    assert!(parts.contains("it feels ill"), "{parts}");
    assert_eq!(site.get("/healthz").await.0, StatusCode::OK, "the process lives");
}

#[tokio::test]
async fn modules_are_listed_loaded_unloaded_and_reloaded_by_the_admin_api() {
    let log = Log::default();
    let ordering = || Web { requires: &["catalog"], ..Web::new("ordering") };
    let faulty = move || Part::new("faulty", &[], &log).fault(Fault::Startup);
    let builder = Runtime::builder("shop").module(|| Web::new("catalog")).module(ordering);
    let site = Site::start(builder.elsewhere("payment").options(impatient())).await;
    site.runtime.load(faulty).await.unwrap_err();

    let (status, all) = site.admin(Method::GET, "/modules").await;
    assert_eq!((status, &all["runtime"]), (StatusCode::OK, &json!("shop")));
    let states: Vec<_> =
        all["modules"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["running", "running", "elsewhere"]);

    let (status, refused) = site.admin(Method::POST, "/modules/catalog/unload").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(refused["dependents"], json!(["ordering"]));
    assert!(refused["detail"].as_str().unwrap().contains("is required by 'ordering'"), "{refused}");
    let (status, done) = site.admin(Method::POST, "/modules/catalog/unload?cascade=true").await;
    assert_eq!((status, done), (StatusCode::OK, json!({ "unloaded": ["ordering", "catalog"] })));
    let (status, view) = site.admin(Method::GET, "/modules/catalog").await;
    assert_eq!((status, &view["state"]), (StatusCode::OK, &json!("unloaded")));

    let (status, missing) = site.admin(Method::POST, "/modules/ordering/load").await;
    assert_eq!(status, StatusCode::CONFLICT, "{missing}");
    for (path, wanted) in [
        ("/modules/catalog/load", StatusCode::OK),
        ("/modules/ordering/load", StatusCode::OK),
        ("/modules/ordering/load", StatusCode::CONFLICT),
        ("/modules/ordering/reload", StatusCode::OK),
        ("/modules/nobody/load", StatusCode::NOT_FOUND),
        ("/modules/nobody/reload", StatusCode::NOT_FOUND),
        ("/modules/nobody/unload", StatusCode::NOT_FOUND),
        ("/modules/payment/unload", StatusCode::CONFLICT),
        ("/modules/catalog/unload?cascade=perhaps", StatusCode::BAD_REQUEST),
        ("/modules/catalog/unload?kaskade=true", StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = site.admin(Method::POST, path).await;
        assert_eq!(status, wanted, "{path}: {answer}");
    }
    let (_, view) = site.admin(Method::GET, "/modules/ordering").await;
    assert_eq!(view["generation"], json!(2));
    assert_eq!(site.get("/ordering/generation").await.1, "2");
}

#[tokio::test]
async fn the_admin_api_lets_nobody_in_without_its_token_and_is_not_where_the_modules_are() {
    let site = Site::start(Runtime::builder("shop").module(|| Web::new("catalog"))).await;
    let url = format!("http://{}/modules", site.admin);
    for asked in [
        site.client.get(&url),
        site.client.get(&url).bearer_auth("open-sesam"),
        site.client.get(&url).bearer_auth(""),
        site.client.get(&url).basic_auth("open-sesame", Some("open-sesame")),
        site.client.post(format!("{url}/catalog/unload")),
        site.client.post(format!("{url}/nobody/whatever")),
    ] {
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().contains_key("www-authenticate"));
    }
    assert_eq!(site.get("/modules").await.0, StatusCode::NOT_FOUND);
    assert!(site.admin.ip().is_loopback());
    assert_eq!(site.runtime.modules().len(), 1);
    // And it is off unless it is configured.
    let builder = Runtime::builder("other").module(|| Web::new("catalog"));
    let runtime = builder.http(HttpConfig::new("127.0.0.1:0")).start().await.unwrap();
    assert_eq!(runtime.admin_addresses(), []);
    let without = Runtime::builder("third").module(|| Web::new("catalog")).start().await.unwrap();
    assert_eq!((without.http_addresses(), without.admin_addresses()), (vec![], vec![]));
}

#[tokio::test]
async fn what_cannot_be_listened_at_is_told_before_any_module_starts() {
    let log = Log::default();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |config: HttpConfig| {
        let log = log.clone();
        Runtime::builder("shop")
            .module(move || Part::new("catalog", &[], &log))
            .http(config)
            .start()
    };
    let why = start(HttpConfig::new(&address)).await.unwrap_err().to_string();
    assert!(why.contains(&address), "{why}");
    let why = start(HttpConfig::new("127.0.0.1:0").admin("")).await.unwrap_err().to_string();
    assert!(why.contains("token"), "{why}");
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn each_request_goes_through_what_the_program_put_around_the_routes() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let through = move |router: Router| {
        let counted = counted.clone();
        router.layer(axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
            counted.fetch_add(1, Ordering::Relaxed);
            next.run(request)
        }))
    };
    let builder = Runtime::builder("shop").module(|| Web::new("catalog")).routes_through(through);
    let site = Site::start(builder).await;
    site.get("/catalog/generation").await;
    site.runtime.reload("catalog").await.unwrap();
    site.get("/catalog/generation").await;
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}
