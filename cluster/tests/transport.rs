//! Both transports do what every transport must, and TLS lets in nobody whom it should not.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use umbel_cluster::conformance::{self, Subject};
use umbel_cluster::{Authority, IssueOptions, MemoryNetwork, TcpTransport, Transport};
use umbel_protocol::Identity;

#[path = "transport/company.rs"]
mod company;
#[path = "transport/refusals.rs"]
mod refusals;
#[path = "transport/rotation.rs"]
mod rotation;
#[path = "transport/severing.rs"]
mod severing;

/// What a test waits for, which fails it where it does not come.
async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, awaited).await.expect("nothing happens any more")
}

struct InMemory(MemoryNetwork);

impl Subject for InMemory {
    fn transport(&self, cluster: &str, node: &str) -> Arc<dyn Transport> {
        let identity = Identity::new(cluster.parse().unwrap(), node.parse().unwrap());
        Arc::new(self.0.transport(identity))
    }

    fn any_address(&self) -> String {
        "memory:0".to_owned()
    }
}

/// TCP, with an authority for each cluster.
struct OverTcp {
    busy_poll: bool,
    authorities: Mutex<BTreeMap<String, Authority>>,
}

impl OverTcp {
    fn new(busy_poll: bool) -> Self {
        Self { busy_poll, authorities: Mutex::default() }
    }
}

impl Subject for OverTcp {
    fn transport(&self, cluster: &str, node: &str) -> Arc<dyn Transport> {
        let mut authorities = self.authorities.lock().unwrap();
        let authority = authorities
            .entry(cluster.to_owned())
            .or_insert_with(|| Authority::create(cluster.parse().unwrap()).unwrap());
        let credentials = authority.issue(&node.parse().unwrap(), &IssueOptions::new()).unwrap();
        Arc::new(TcpTransport::new(&credentials).busy_poll(self.busy_poll))
    }

    fn any_address(&self) -> String {
        "127.0.0.1:0".to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_network_does_what_every_transport_must() {
    conformance::run(&InMemory(MemoryNetwork::new())).await;
}

#[tokio::test]
async fn tcp_with_tls_does_what_every_transport_must() {
    for busy_poll in [true, false] {
        conformance::run(&OverTcp::new(busy_poll)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_with_tls_does_so_on_several_threads_too() {
    conformance::run(&OverTcp::new(true)).await;
}
