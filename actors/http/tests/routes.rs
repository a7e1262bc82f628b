//! Routes that come and go under clients.

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri, Path};
use axum::routing::{any, get, post};
use futures_util::StreamExt;
use reqwest::Client;
use tokio::sync::Semaphore;
use umbel_http::{HttpOptions, MountError, Routes};

use support::{LONG, Raw, get as fetch, problem, read, serve, until, url};

fn says(what: impl Into<String>) -> Router {
    let what = what.into();
    Router::new().route("/", get(move || async move { what }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_replacements_under_load_fail_no_request() {
    const CLIENTS: usize = 8;
    const REPLACEMENTS: usize = 100;
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let number = |number: usize| {
        let handler = move |Path(item): Path<String>| async move {
            // Some are under way when the router goes.
            tokio::time::sleep(Duration::from_millis(3)).await;
            format!("{number} {item}")
        };
        Router::new().route("/items/{item}", get(handler))
    };
    let mut mounted = routes.mount("/catalog", number(0)).unwrap();

    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (is_over, asked) = (is_over.clone(), asked.clone());
            let url = url(&server, &format!("/catalog/items/{client}"));
            tokio::spawn(async move {
                let http = Client::new();
                let mut newest = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let response = http.get(&url).send().await.expect("no request fails");
                    assert_eq!(response.status(), 200);
                    let text = response.text().await.expect("no answer breaks off");
                    let (number, item) = text.split_once(' ').unwrap();
                    assert_eq!(item, client.to_string());
                    let number: usize = number.parse().unwrap();
                    assert!(number >= newest, "{number} was retired, for {newest} has answered");
                    newest = number;
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                newest
            })
        })
        .collect();
    for replacement in 1..=REPLACEMENTS {
        let before = asked.load(Ordering::SeqCst);
        let retired = mounted.replace(number(replacement));
        assert!(retired.idle(LONG).await, "what is under way ends");
        // Each of them serves somebody.
        until(|| asked.load(Ordering::SeqCst) >= before + 2 * CLIENTS).await;
    }
    assert_eq!(server.connections(), CLIENTS, "all kept their connection");
    is_over.store(true, Ordering::SeqCst);
    for client in clients {
        assert_eq!(client.await.expect("no client has seen a failure"), REPLACEMENTS);
    }
    assert!(asked.load(Ordering::SeqCst) >= 2 * CLIENTS * REPLACEMENTS);
}

#[tokio::test]
async fn what_is_mounted_is_there_until_it_is_unmounted() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    assert_eq!(read(&server, "/catalog").await.0, 404);

    let catalog = routes.mount("/catalog", says("tea")).unwrap();
    let other = routes.mount("/catalog-old", says("coffee")).unwrap();
    assert_eq!(read(&server, "/catalog").await, (200, "tea".into()));
    assert_eq!(read(&server, "/catalog-old").await, (200, "coffee".into()));

    assert!(catalog.unmount().idle(LONG).await);
    let told = problem(fetch(&server, "/catalog?secret=1").await).await;
    assert_eq!(told["detail"], "nothing is mounted at /catalog or above it");
    drop(other);
    assert_eq!(read(&server, "/catalog-old").await.0, 404, "a handle that is dropped unmounts");
    routes.mount("/catalog", says("tea again")).unwrap().keep();
    assert_eq!(read(&server, "/catalog").await, (200, "tea again".into()));
}

#[tokio::test]
async fn routers_get_the_path_without_their_prefix() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let tell = |uri: axum::http::Uri, OriginalUri(original): OriginalUri, matched: MatchedPath| async move {
        format!("{uri} {original} {}", matched.as_str())
    };
    let router = Router::new().route("/", any(tell)).route("/items/{id}", any(tell));
    routes.mount("/shop/catalog", router).unwrap().keep();

    let told = async |path: &str| read(&server, path).await.1;
    assert!(told("/shop/catalog").await.starts_with("/ /shop/catalog "));
    assert!(told("/shop/catalog/").await.starts_with("/ /shop/catalog/ "));
    assert!(told("/shop/catalog?a=b").await.starts_with("/?a=b /shop/catalog?a=b "));
    assert_eq!(
        told("/shop/catalog/items/7?x").await,
        "/items/7?x /shop/catalog/items/7?x /shop/catalog/items/{id}"
    );
    for path in ["/shop", "/shop/", "/shop/catalogue", "/catalog", "/"] {
        assert_eq!(read(&server, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn conflicts_are_errors_that_change_nothing() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let _mounted = routes.mount("/shop/catalog", says("first")).unwrap();
    for prefix in ["/shop", "/shop/catalog", "/shop/catalog/deep"] {
        let refused = routes.mount(prefix, says("second")).unwrap_err();
        let by = "/shop/catalog".into();
        assert_eq!(refused, MountError::Taken { prefix: prefix.into(), by });
    }
    for (prefix, by) in [("/healthz", "/healthz"), ("/metrics/deep", "/metrics")] {
        let refused = routes.mount(prefix, says("mine")).unwrap_err();
        assert_eq!(refused, MountError::Reserved { prefix: prefix.into(), by });
    }
    for prefix in ["", "/", "shop", "/shop/", "/{shop}", "/*shop", "/a//b"] {
        let refused = routes.mount(prefix, says("odd")).unwrap_err();
        assert!(matches!(refused, MountError::NotAPrefix { .. }), "{refused}");
    }
    assert_eq!(read(&server, "/shop/catalog").await, (200, "first".into()));
    assert_eq!(routes.prefixes().iter().map(|it| &**it).collect::<Vec<_>>(), ["/shop/catalog"]);
}

#[tokio::test]
async fn the_old_router_ends_what_it_has_begun_and_then_goes() {
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let is_gone = Arc::new(AtomicBool::new(false));
    let (held, opened, started) = (Arc::new(Held(is_gone.clone())), gate.clone(), begun.clone());
    let wait = move || {
        let (held, opened, started) = (held.clone(), opened.clone(), started.clone());
        async move {
            started.store(true, Ordering::SeqCst);
            opened.acquire().await.unwrap().forget();
            drop(held);
            "old"
        }
    };
    let mut mounted = routes.mount("/m", Router::new().route("/", get(wait))).unwrap();
    let asked = url(&server, "/m");
    let asking = tokio::spawn(async move { Client::new().get(asked).send().await?.text().await });
    until(|| begun.load(Ordering::SeqCst)).await;

    let retired = mounted.replace(says("new"));
    assert_eq!(read(&server, "/m").await.1, "new");
    assert!(!retired.idle(Duration::from_millis(50)).await, "one is under way");
    assert!(!is_gone.load(Ordering::SeqCst));
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap().unwrap(), "old");
    assert!(retired.idle(LONG).await);
    assert!(is_gone.load(Ordering::SeqCst), "nothing is left of it");
}

#[tokio::test]
async fn a_router_is_in_use_until_its_stream_has_ended() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    // More than the buffers of two sockets hold, piece by piece.
    let pieces = || futures_util::stream::repeat(Ok::<_, Infallible>(vec![b'x'; 1 << 20])).take(64);
    let much = move || async move { Body::from_stream(pieces()) };
    let mounted = routes.mount("/much", Router::new().route("/", get(much))).unwrap();
    let mut slow = Raw::connect(&server).await;
    // In the words of HTTP/1.0 the stream comes as it is.
    slow.send("GET /much HTTP/1.0\r\n\r\n").await;
    assert!(slow.head().await.starts_with("HTTP/1.0 200"));

    let retired = mounted.unmount();
    assert!(!retired.idle(Duration::from_millis(50)).await);
    assert_eq!(slow.rest().await.len(), 64 << 20);
    assert!(retired.idle(LONG).await);
}

#[tokio::test]
async fn a_router_may_own_what_else_is_mounted() {
    let routes = Routes::new();
    let owning = |inner: &str| {
        let inner = Arc::new(routes.mount(inner, says("inner")).unwrap());
        Router::new().route("/", get(|| async { "outer" })).layer(axum::Extension(inner))
    };
    let outer = routes.mount("/outer", owning("/inner")).unwrap();
    routes.mount("/outer", owning("/other")).unwrap_err();
    assert_eq!(routes.prefixes().len(), 2, "what was refused has gone, with what it owned");
    assert!(outer.unmount().is_idle());
    assert_eq!(routes.prefixes().len(), 0);
}

#[tokio::test]
async fn errors_of_routers_and_extractors_are_problems() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let router = Router::new()
        .route("/{id}", get(|Path(_): Path<u32>| async {}))
        .route("/orders", post(|_: axum::Json<Vec<u8>>| async {}));
    routes.mount("/m", router).unwrap().keep();

    let told = problem(fetch(&server, "/m/seven").await).await;
    assert_eq!(told["status"], 400);
    assert!(told["detail"].as_str().unwrap().contains("seven"), "{told}");
    assert_eq!(problem(fetch(&server, "/m/no/such").await).await["status"], 404);
    let wrong = fetch(&server, "/m/orders").await;
    assert_eq!(wrong.headers()["allow"], "POST");
    assert_eq!(problem(wrong).await["status"], 405);
    let odd =
        Client::new().post(url(&server, "/m/orders")).header("content-type", "application/json");
    let told = problem(odd.body("[").send().await.unwrap()).await;
    assert_eq!(told["status"], 400);
}
