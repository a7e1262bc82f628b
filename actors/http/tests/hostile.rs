//! Clients that mean no good, and handlers that do none.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use reqwest::Client;
use tokio::time::Instant;
use umbel_http::{HttpOptions, Routes};

use support::{LONG, Raw, get as fetch, problem, read, serve, until, url};

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for() {
    let routes = Routes::new();
    let options = HttpOptions { head_wait: Duration::from_millis(300), ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let mut dripping = Raw::connect(&server).await;
    let begun = Instant::now();
    dripping.send("GET / HTTP/1.1\r\nx: ").await;
    // Each byte comes in time, and the head never ends.
    let drip = async {
        use tokio::io::AsyncWriteExt;
        while dripping.0.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, drip).await.expect("it is closed");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    until(|| server.connections() == 0).await;
}

#[tokio::test]
async fn who_asks_no_more_is_closed_after_the_idle_time_and_not_before() {
    let routes = Routes::new();
    let options = HttpOptions {
        // The time for a head must not be counted while nothing is asked.
        head_wait: Duration::from_millis(300),
        idle: Duration::from_secs(1),
        ..HttpOptions::default()
    };
    let server = serve(&routes, options).await;
    let mut client = Raw::connect(&server).await;
    for _ in 0..2 {
        client.send("HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
    }
    let begun = Instant::now();
    assert_eq!(client.rest().await, "");
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_clients_keep_nobody_out() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    routes.mount("/m", hello()).unwrap().keep();
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(Raw::connect(&server).await);
    }
    until(|| server.connections() == 1000).await;
    for _ in 0..50 {
        assert_eq!(read(&server, "/m").await, (200, "hello".into()));
    }
    assert!(server.connections() >= 1000, "they are all there still");
    // Nor do they keep the server from ending.
    assert_eq!(server.shutdown(LONG).await, 0);
}

#[tokio::test]
async fn who_is_one_too_many_waits_until_another_has_gone() {
    let routes = Routes::new();
    let options =
        HttpOptions { connections: 2, head_wait: LONG, idle: LONG, ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let (silent, _other) = (Raw::connect(&server).await, Raw::connect(&server).await);
    until(|| server.connections() == 2).await;

    let mut waiting = Raw::connect(&server).await;
    waiting.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(200), waiting.head()).await;
    assert!(early.is_err(), "nobody serves it yet");
    assert_eq!(server.connections(), 2);
    drop(silent);
    // What the first attempt has read, it has not thrown away: nothing had come.
    assert!(waiting.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let large =
        |bytes: usize| Client::new().get(url(&server, "/healthz")).header("x", "x".repeat(bytes));
    assert_eq!(large(60 << 10).send().await.unwrap().status(), 200);

    let mut hostile = Raw::connect(&server).await;
    hostile.send(&format!("GET /healthz HTTP/1.1\r\nx: {}", "x".repeat(64 << 10))).await;
    assert!(hostile.rest().await.starts_with("HTTP/1.1 431"));
    let mut hostile = Raw::connect(&server).await;
    hostile.send(&format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101))).await;
    assert!(hostile.rest().await.starts_with("HTTP/1.1 431"));
    let mut hostile = Raw::connect(&server).await;
    hostile.send("\u{1}\u{2}\r\n\r\n").await;
    assert!(hostile.rest().await.starts_with("HTTP/1.1 400"));
    assert_eq!(read(&server, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_client_hears_it() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let count = post(|body: Bytes| async move { body.len().to_string() });
    routes.mount("/count", Router::new().route("/", count)).unwrap().keep();
    let send = async |bytes: usize| {
        let request = Client::new().post(url(&server, "/count")).body(vec![0; bytes]);
        request.send().await.expect("it is answered, not reset")
    };
    assert_eq!(send(2 << 20).await.text().await.unwrap(), (2 << 20).to_string());
    for _ in 0..5 {
        assert_eq!(problem(send(6 << 20).await).await["status"], 413);
    }
    // In chunks, of which nobody says how many come; it sends on after it was refused.
    let mut endless = Raw::connect(&server).await;
    endless.send("POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    for _ in 0..128 {
        endless.send(&chunk).await;
    }
    assert!(endless.head().await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for_beyond_the_deadline() {
    let routes = Routes::new();
    let options = HttpOptions { deadline: Duration::from_millis(200), ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let count = post(|body: Bytes| async move { body.len().to_string() });
    routes.mount("/count", Router::new().route("/", count)).unwrap().keep();
    let mut dripping = Raw::connect(&server).await;
    dripping.send("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx").await;
    assert!(dripping.head().await.starts_with("HTTP/1.1 504"));
    dripping.rest().await;
    until(|| server.connections() == 0).await;
}

#[tokio::test]
async fn who_reads_nothing_of_its_answer_is_closed() {
    let routes = Routes::new();
    let options = HttpOptions { stall: Duration::from_millis(200), ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let much = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
    let mounted = routes.mount("/much", much).unwrap();
    let mut stalled = Raw::connect(&server).await;
    stalled.send("GET /much HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(stalled.head().await.starts_with("HTTP/1.1 200"));
    drop(mounted);
    until(|| server.connections() == 0).await;
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_for_and_its_connection_goes_on() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let boom = get(|| async {
        if routes_are_fine() {
            panic!("boom");
        }
    });
    routes.mount("/m", hello().route("/boom", boom)).unwrap().keep();
    let client = Client::new();
    for _ in 0..3 {
        let response = client.get(url(&server, "/m/boom")).send().await.unwrap();
        let told = problem(response).await;
        assert_eq!(told["status"], 500);
        assert!(!told.to_string().contains("boom"), "what it says is for the log: {told}");
        assert_eq!(client.get(url(&server, "/m")).send().await.unwrap().status(), 200);
    }
    assert_eq!(server.connections(), 1, "it was the same all the time");
}

/// Always; so that the handler has a type.
fn routes_are_fine() -> bool {
    std::hint::black_box(true)
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_dropped_and_answered_for() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let routes = Routes::new();
    let options = HttpOptions { deadline: Duration::from_millis(100), ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = dropped.clone();
    let hang = get(move || async move {
        let _dropped = Dropped(counted);
        std::future::pending::<()>().await;
    });
    routes.mount("/m", hello().route("/hang", hang)).unwrap().keep();
    let told = problem(fetch(&server, "/m/hang").await).await;
    assert_eq!((told["status"].as_u64(), dropped.load(Ordering::SeqCst)), (Some(504), 1));
    assert_eq!(told["detail"], "there was no answer within 100ms");
    assert_eq!(read(&server, "/m").await.0, 200);
}

#[tokio::test]
async fn a_handler_whose_client_has_gone_is_dropped() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let hang = get(|| async { std::future::pending::<()>().await });
    let mounted = routes.mount("/hang", Router::new().route("/", hang)).unwrap();
    let mut client = Raw::connect(&server).await;
    client.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until(|| server.connections() == 1).await;
    drop(client);
    until(|| server.connections() == 0).await;
    assert!(mounted.unmount().idle(LONG).await);
}
