//! A server's beginning, its own paths, its end.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use reqwest::Client;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use umbel_http::{Bearer, HttpOptions, HttpServer, Readiness, Routes, Secret, StartError};

use support::{LONG, Raw, get as fetch, problem, read, serve, until, url};

/// A router whose one handler waits for the gate, and tells that it does.
fn waiting() -> (Router, Arc<Semaphore>, Arc<AtomicBool>) {
    let (gate, is_begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let (opened, begun) = (gate.clone(), is_begun.clone());
    let handler = move || async move {
        begun.store(true, Ordering::SeqCst);
        opened.acquire().await.expect("it is never closed").forget();
        "done"
    };
    (Router::new().route("/", get(handler)), gate, is_begun)
}

#[tokio::test]
async fn a_shutdown_lets_what_is_under_way_end() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let address = server.addresses()[0];
    let (router, gate, is_begun) = waiting();
    routes.mount("/m", router).unwrap().keep();
    let asked = url(&server, "/m");
    let asking = tokio::spawn(async move { Client::new().get(asked).send().await?.text().await });
    until(|| is_begun.load(Ordering::SeqCst)).await;
    // One that is idle, one that never asks: neither is waited for.
    let mut idle = Raw::connect(&server).await;
    idle.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.head().await;
    let mut half = Raw::connect(&server).await;
    half.send("GET /heal").await;
    until(|| server.connections() == 3).await;

    let ending = tokio::spawn(server.shutdown(LONG));
    idle.rest().await;
    half.rest().await;
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(LONG, refused).await.expect("nobody is let in any more");
    assert!(!ending.is_finished(), "one is under way");
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap().unwrap(), "done");
    assert_eq!(ending.await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_lets_an_answer_be_sent_to_who_reads_it_slowly() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let much = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
    let mounted = routes.mount("/much", much).unwrap();
    let mut slow = Raw::connect(&server).await;
    slow.send("GET /much HTTP/1.1\r\nhost: x\r\n\r\n").await;
    slow.head().await;
    assert!(mounted.unmount().idle(LONG).await, "all of it has been handed on");
    let ending = tokio::spawn(server.shutdown(LONG));
    // Longer than who asks nothing is waited for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(slow.rest().await.len(), 64 << 20);
    assert_eq!(ending.await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_cuts_off_what_does_not_end_and_says_how_many() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let (router, _gate, is_begun) = waiting();
    let mounted = routes.mount("/m", router).unwrap();
    let asked = url(&server, "/m");
    let asking = tokio::spawn(async move { Client::new().get(asked).send().await });
    until(|| is_begun.load(Ordering::SeqCst)).await;

    let begun = Instant::now();
    assert_eq!(server.shutdown(Duration::from_millis(100)).await, 1);
    assert!(begun.elapsed() < LONG);
    asking.await.unwrap().expect_err("it was cut off");
    assert!(mounted.unmount().idle(LONG).await);
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let address = server.addresses()[0];
    let mut silent = Raw::connect(&server).await;
    until(|| server.connections() == 1).await;
    drop(server);
    silent.rest().await;
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(LONG, refused).await.expect("nobody listens");
}

#[tokio::test]
async fn readiness_turns_with_its_parts() {
    let is_up = Arc::new(AtomicBool::new(false));
    let database = is_up.clone();
    let ready = move || {
        let database = database.load(Ordering::SeqCst);
        async move {
            let database = if database { Ok(()) } else { Err("no connection".into()) };
            Readiness::new().ready("catalog").part("database", database)
        }
    };
    let server = HttpServer::builder(Routes::new()).listen("127.0.0.1:0").ready(ready);
    let server = server.start().await.unwrap();

    let told = problem(fetch(&server, "/readyz").await).await;
    assert_eq!(told["status"], 503);
    assert_eq!(told["detail"], "not ready: database");
    assert_eq!(told["parts"], json!({ "catalog": "ready", "database": "no connection" }));
    assert_eq!(read(&server, "/healthz").await, (200, "{\"status\":\"alive\"}".into()));

    is_up.store(true, Ordering::SeqCst);
    let (status, text) = read(&server, "/readyz").await;
    assert_eq!(status, 200);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["parts"], json!({ "catalog": "ready", "database": "ready" }));
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(read(&server, "/readyz").await.0, 503);
}

#[tokio::test]
async fn who_cannot_say_whether_it_is_ready_is_not() {
    let builder = HttpServer::builder(Routes::new()).listen("127.0.0.1:0");
    let server = builder.ready(|| async { panic!("no idea") }).start().await.unwrap();
    assert_eq!(problem(fetch(&server, "/readyz").await).await["status"], 500);
    let builder = HttpServer::builder(Routes::new()).listen("127.0.0.1:0");
    let server = builder.ready(std::future::pending).start().await.unwrap();
    assert_eq!(problem(fetch(&server, "/readyz").await).await["status"], 503);
}

#[tokio::test]
async fn the_servers_own_paths_are_read_only() {
    let server = serve(&Routes::new(), HttpOptions::default()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let response = Client::new().post(url(&server, path)).send().await.unwrap();
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        assert_eq!(problem(response).await["status"], 405);
    }
    let head = Client::new().head(url(&server, "/healthz")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let told = problem(fetch(&server, "/metrics").await).await;
    assert_eq!(told["detail"], "this process tells no metrics");
}

#[tokio::test]
async fn a_bearer_lets_in_who_has_the_token_only() {
    let routes = Routes::new();
    let server = serve(&routes, HttpOptions::default()).await;
    let bearer = Bearer::new(Secret::from("open-sesame")).unwrap();
    let admin = Router::new().route("/", get(|| async { "cave" })).layer(bearer);
    routes.mount("/admin", admin).unwrap().keep();
    let ask = async |path: &str, token: Option<&str>| {
        let request = Client::new().get(url(&server, path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    };
    assert_eq!(ask("/admin", Some("open-sesame")).await.text().await.unwrap(), "cave");
    assert_eq!(ask("/admin/nowhere", Some("open-sesame")).await.status(), 404);
    // What is not there is nobody's business either.
    for path in ["/admin", "/admin/nowhere"] {
        let missing = ask(path, None).await;
        assert_eq!(missing.headers()["www-authenticate"], "Bearer");
        assert_eq!(problem(missing).await["status"], 401);
        let wrong = ask(path, Some("open-barley")).await;
        assert_eq!(wrong.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
        assert_eq!(problem(wrong).await["status"], 401);
    }
}

#[tokio::test]
async fn it_listens_where_it_is_told_to_or_says_why_not() {
    let routes = Routes::new();
    let peer = get(|ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| async move {
        peer.ip().to_string()
    });
    routes.mount("/peer", Router::new().route("/", peer)).unwrap().keep();
    let builder = HttpServer::builder(routes.clone()).listen("127.0.0.1:0").listen("localhost:0");
    let server = builder.start().await.unwrap();
    assert_eq!(server.addresses().len(), 2);
    for address in server.addresses() {
        let told = reqwest::get(format!("http://{address}/peer")).await.unwrap();
        assert_eq!(told.text().await.unwrap(), address.ip().to_string());
    }

    let taken = server.addresses()[0].to_string();
    let refused = HttpServer::builder(routes.clone()).listen(&taken).start().await.unwrap_err();
    assert!(matches!(&refused, StartError::Listen { address, .. } if *address == taken));
    for odd in ["", "127.0.0.1", "nowhere.invalid:0", "127.0.0.1:99999"] {
        let refused = HttpServer::builder(routes.clone()).listen(odd).start().await.unwrap_err();
        assert!(refused.to_string().contains(odd), "{refused}");
    }
    let refused = HttpServer::builder(routes).start().await.unwrap_err();
    assert!(matches!(refused, StartError::NoAddress));
}

#[tokio::test]
async fn a_connection_that_was_upgraded_has_its_place_and_its_own_pace() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let routes = Routes::new();
    let short = Duration::from_millis(300);
    let options = HttpOptions { idle: short, head_wait: short, ..HttpOptions::default() };
    let server = serve(&routes, options).await;
    let upgrade = get(|mut request: Request| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut echoing = TokioIo::new(upgraded.await.expect("the client goes on"));
            let mut byte = [0];
            while echoing.read_exact(&mut byte).await.is_ok() {
                echoing.write_all(&byte).await.expect("the client listens");
            }
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    });
    let mounted = routes.mount("/echo", Router::new().route("/", upgrade)).unwrap();
    let mut client = Raw::connect(&server).await;
    client
        .send("GET /echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
    assert!(mounted.unmount().idle(LONG).await, "its handler has answered");
    // Longer than a client may be silent that speaks HTTP.
    tokio::time::sleep(3 * short).await;
    client.send("x").await;
    assert_eq!(client.0.read_u8().await.unwrap(), b'x');
    assert_eq!(server.connections(), 1);
    drop(client);
    until(|| server.connections() == 0).await;
}
