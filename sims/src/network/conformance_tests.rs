//! The simulated network does what every transport must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::interval;
use umbel_cluster::conformance::{self, Subject};
use umbel_cluster::{Connection, Listener, Transport, TransportError};
use umbel_protocol::Identity;

use super::{Network, Place, SimTransport};
use crate::shared::Shared;

/// One machine for those who dial, and one for those who listen.
const MACHINES: usize = 2;

/// Where the transport picks the port.
const ANY: &str = "10.0.0.1:0";

/// Two machines on a network.
struct Simulated {
    shared: Arc<Shared>,
    ports: Arc<AtomicU16>,
}

impl Simulated {
    fn new(seed: u64) -> Self {
        let mut network = Network::new(MACHINES, seed, false);
        for machine in 0..MACHINES {
            network.process_started(Place { machine, life: 1 });
        }
        Self { shared: Shared::new(network, None), ports: Arc::new(AtomicU16::new(1)) }
    }

    /// Has time pass on the network as it passes for the runtime, as a world does for its machines.
    async fn drive(shared: Arc<Shared>) {
        const STEP: Duration = Duration::from_millis(1);
        let mut steps = interval(STEP);
        loop {
            steps.tick().await;
            let mut network = shared.network();
            let now = network.now() + STEP;
            network.set_now(now);
            let woken: Vec<_> = (0..MACHINES).flat_map(|to| network.deliver(to)).collect();
            drop(network);
            woken.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

impl Subject for Simulated {
    fn transport(&self, cluster: &str, node: &str) -> Arc<dyn Transport> {
        let identity = Identity::new(cluster.parse().unwrap(), node.parse().unwrap());
        let machine = usize::from(["b", "server"].contains(&node));
        let place = Place { machine, life: 1 };
        let inner = SimTransport::new(self.shared.clone(), place, identity);
        Arc::new(Picking { inner, ports: self.ports.clone() })
    }

    fn any_address(&self) -> String {
        ANY.to_owned()
    }
}

/// Picks ports, which no node in a world leaves open.
struct Picking {
    inner: SimTransport,
    ports: Arc<AtomicU16>,
}

impl Transport for Picking {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        match address {
            ANY => {
                let port = self.ports.fetch_add(1, Ordering::Relaxed);
                self.inner.listen(&format!("10.0.0.1:{port}"))
            }
            address => self.inner.listen(address),
        }
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        self.inner.dial(address)
    }
}

#[tokio::test(start_paused = true)]
async fn a_simulated_network_does_what_every_transport_must() {
    for seed in 0..3 {
        let subject = Simulated::new(seed);
        let driver = tokio::spawn(Simulated::drive(subject.shared.clone()));
        conformance::run(&subject).await;
        driver.abort();
    }
}
