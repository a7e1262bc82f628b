//! A shop that runs, as its customers see it.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Far beyond what anything takes here: a guard against what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shop that runs.
pub(crate) struct Shop {
    launcher: Child,
    said: Lines<BufReader<ChildStdout>>,
    /// Where each module is, and in which process.
    pub(crate) modules: BTreeMap<String, (SocketAddr, u32)>,
    pub(crate) admin: BTreeMap<String, SocketAddr>,
    pub(crate) client: Client,
}

impl Shop {
    pub(crate) async fn open(layout: &str, arguments: &[&str]) -> Self {
        Self::open_with(layout, arguments, &[]).await
    }

    pub(crate) async fn open_with(
        layout: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut launcher = Command::new(env!("CARGO_BIN_EXE_shop"))
            .args(["--json", "--layout", layout])
            .args(arguments)
            // A shop that touched the user's state would fail here.
            .env("UMBEL_STATE_DIR", "/dev/null/nowhere")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(launcher.stdout.take().unwrap()).lines();
        let (modules, admin) = (BTreeMap::new(), BTreeMap::new());
        let mut shop = Self { launcher, said, modules, admin, client: Client::new() };
        while shop.event().await["event"] != "ready" {}
        shop
    }

    /// The next thing that the launcher tells.
    pub(crate) async fn event(&mut self) -> Value {
        let line = timeout(PATIENCE, self.said.next_line()).await.expect("it says something");
        let line = line.unwrap().expect("it goes on");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "up" {
            let http: SocketAddr = event["http"].as_str().unwrap().parse().unwrap();
            let pid = u32::try_from(event["pid"].as_u64().unwrap()).unwrap();
            for module in event["modules"].as_array().unwrap() {
                let module = module.as_str().unwrap().to_owned();
                if let Some(admin) = event["admin"].as_str() {
                    self.admin.insert(module.clone(), admin.parse().unwrap());
                }
                self.modules.insert(module, (http, pid));
            }
        }
        event
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let module = path.split('/').nth(1).unwrap();
        format!("http://{}{path}", self.modules[module].0)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub(crate) async fn order(&self, wish: &Value) -> (StatusCode, Value) {
        let asked = self.client.post(self.url("/ordering/orders")).json(wish);
        let answer = asked.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Asks again until the answer is as wanted, also while nobody answers.
    pub(crate) async fn until(
        &self,
        path: &str,
        wanted: impl Fn(StatusCode, &Value) -> bool,
    ) -> Value {
        let asking = async {
            loop {
                if let Ok(answer) = self.client.get(self.url(path)).send().await {
                    let status = answer.status();
                    let answer = answer.json().await.unwrap_or_default();
                    if wanted(status, &answer) {
                        return answer;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{path} does not come to it"))
    }

    /// Follows an order until its customer was told.
    pub(crate) async fn fulfilled(&self, order: &str) {
        let placed = |status, order: &Value| {
            assert!(order["status"] != "refused", "{order}");
            status == StatusCode::OK && order["status"] == "placed"
        };
        self.until(&format!("/ordering/orders/{order}"), placed).await;
        let there = |status, _: &Value| status == StatusCode::OK;
        self.until(&format!("/payment/payments/{order}"), there).await;
        self.until(&format!("/notification/notifications/{order}"), there).await;
    }

    pub(crate) async fn stock(&self, sku: &str) -> i64 {
        let (status, item) = self.get(&format!("/catalog/items/{sku}")).await;
        assert_eq!(status, StatusCode::OK, "{item}");
        item["stock"].as_i64().unwrap()
    }

    /// Kills the process of a module, without a word to it.
    #[cfg(unix)]
    pub(crate) fn kill(&self, module: &str) {
        let pid = i32::try_from(self.modules[module].1).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Tells the launcher to stop, and waits until it has.
    #[cfg(unix)]
    pub(crate) async fn close(mut self) {
        let pid = i32::try_from(self.launcher.id().unwrap()).unwrap();
        let launcher = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(launcher, rustix::process::Signal::TERM).unwrap();
        let status = timeout(PATIENCE, self.launcher.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        for (module, (address, _)) in &self.modules {
            let connected = tokio::net::TcpStream::connect(address).await;
            assert!(connected.is_err(), "{module} is still there");
        }
    }
}
