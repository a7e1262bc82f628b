//! Servers, clients that keep to the rules, and one that does not.

#![allow(dead_code, reason = "each test uses its own part of it")]

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use umbel_http::{HttpOptions, HttpServer, Routes};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn serve(routes: &Routes, options: HttpOptions) -> HttpServer {
    let builder = HttpServer::builder(routes.clone()).listen("127.0.0.1:0").options(options);
    builder.start().await.expect("loopback has free ports")
}

pub(crate) fn url(server: &HttpServer, path: &str) -> String {
    format!("http://{}{path}", server.addresses()[0])
}

pub(crate) async fn get(server: &HttpServer, path: &str) -> Response {
    Client::new().get(url(server, path)).send().await.expect("it answers")
}

/// The status and the text.
pub(crate) async fn read(server: &HttpServer, path: &str) -> (u16, String) {
    let response = get(server, path).await;
    (response.status().as_u16(), response.text().await.expect("it ends"))
}

/// What is told as RFC 9457 has it.
pub(crate) async fn problem(response: Response) -> Value {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("it is JSON");
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
    problem
}

pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, wait).await.expect("it becomes so");
}

/// A socket of which each byte is ours.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(server: &HttpServer) -> Self {
        Self(TcpStream::connect(server.addresses()[0]).await.expect("it listens"))
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("it listens");
    }

    /// The head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(LONG, self.0.read_u8()).await.expect("it answers");
            head.push(byte.expect("it answers before it closes"));
        }
        String::from_utf8(head).expect("heads are text")
    }

    /// All that comes until the other end closes; what was reset counts as closed.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = timeout(LONG, self.0.read_to_end(&mut rest)).await.expect("it closes");
        String::from_utf8_lossy(&rest).into_owned()
    }
}
