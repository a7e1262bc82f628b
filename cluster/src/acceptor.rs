//! Lets diallers in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use umbel_actors::Address;
use umbel_protocol::{Lane, Refusal};

use crate::coordinator::{Coordinate, Verdict, is_usual};
use crate::greeting::{self, Admitted, Answer};
use crate::home::NodeHome;
use crate::task::OwnedTask;
use crate::transport::{Connection, Incoming, Listener, TransportError};

/// How long accepting rests after the system could not accept (too many open files, say).
const REST: Duration = Duration::from_millis(100);

/// Accepts until it is aborted. At most `handshakes_max` handshakes run at once: where one more
/// begins, the oldest of the host that runs most of them gives way. An honest handshake takes
/// milliseconds and comes alone, so it is most likely a client that says nothing; and whoever floods
/// the door from one host pushes out only itself.
pub(crate) async fn run(
    mut listener: Box<dyn Listener>,
    home: Arc<NodeHome>,
    coordinator: Address<Coordinate>,
) {
    let mut running: VecDeque<Running> = VecDeque::new();
    loop {
        let incoming = match listener.accept().await {
            Ok(incoming) => incoming,
            Err(why) => {
                home.refusals.note("accept", &why);
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        running.retain(|one| !one.task.is_finished());
        if running.len() >= home.config.handshakes_max {
            give_way(&mut running);
            home.refusals.note("busy", &Refusal::Busy);
        }
        let host = host(incoming.from()).to_owned();
        let (home, coordinator) = (home.clone(), coordinator.clone());
        let task = OwnedTask::spawn(async move {
            let from = incoming.from().to_owned();
            let deadline = home.config.handshake_deadline;
            let greeted = greet(incoming, &home, &coordinator);
            if tokio::time::timeout(deadline, greeted).await.is_err() {
                home.refusals.note("silent", &format!("{from} took longer than {deadline:?}"));
            }
        });
        running.push_back(Running { task, host });
    }
}

/// Lets go of the oldest handshake of the host that has most.
fn give_way(running: &mut VecDeque<Running>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for one in running.iter() {
        *counts.entry(&one.host).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let oldest = running.iter().position(|one| counts.get(&*one.host).copied() == most);
    if let Some(oldest) = oldest {
        running.remove(oldest);
    }
}

/// An address without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// A handshake that ends when it is let go of.
struct Running {
    task: OwnedTask,
    host: String,
}

async fn greet(incoming: Incoming, home: &NodeHome, coordinator: &Address<Coordinate>) {
    let Connection { mut stream, peer, address, proof } = match incoming.handshake().await {
        Ok(connection) => connection,
        Err(why) => {
            let cause = match &why {
                TransportError::CertificateRefused { .. } => "certificate",
                TransportError::RefusedByPeer { .. } => "our-certificate",
                _ => "tls",
            };
            return home.refusals.note(cause, &why);
        }
    };
    let hello = match greeting::hear_hello(&mut stream).await {
        Ok(hello) => hello,
        Err(why) => return home.refusals.note("greeting", &format!("{peer} at {address}: {why}")),
    };
    let verdict = match home.terms().judge_hello(&hello, &peer) {
        Err(refusal) => Err(refusal),
        Ok(welcome) => {
            let asked = coordinator.ask(|reply| Coordinate::Hello(hello.clone(), reply)).await;
            match asked {
                Ok(Verdict::Accepted) => Ok(welcome),
                Ok(Verdict::Refused(refusal)) => Err(refusal),
                // The node is going down.
                Err(_) => Err(Refusal::Leaving),
            }
        }
    };
    home.linger("cluster.acceptor.answer-late").await;
    match verdict {
        Ok(welcome) => {
            let said = greeting::say(&mut stream, &Answer::Welcome(welcome)).await;
            if said.is_ok() {
                let admitted = Admitted { stream, proof };
                let opened = match hello.lane {
                    Lane::Control => Coordinate::ControlOpened(hello, admitted),
                    Lane::Data => Coordinate::DataOpened(hello, admitted),
                    Lane::Rider => Coordinate::RiderOpened(hello.link, admitted),
                    Lane::Bulk => Coordinate::BulkOpened(hello, admitted),
                };
                let _ = coordinator.tell(opened).await;
            }
        }
        Err(refusal) => {
            if is_usual(&refusal) {
                tracing::debug!(target: "umbel", %peer, %refusal, "refused");
            } else {
                home.refusals.note(refusal.cause(), &format!("{peer} at {address}: {refusal}"));
            }
            if greeting::say(&mut stream, &Answer::Refused(refusal)).await.is_ok() {
                let _ = stream.shutdown().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_from_one_host_pushes_out_only_itself() {
        let running = |host: &str| {
            let task = OwnedTask::spawn(std::future::pending());
            Running { task, host: host.to_owned() }
        };
        let hosts = ["honest", "flood", "flood", "other", "flood"];
        let mut handshakes: VecDeque<_> = hosts.into_iter().map(running).collect();
        give_way(&mut handshakes);
        give_way(&mut handshakes);
        let left: Vec<_> = handshakes.iter().map(|one| one.host.as_str()).collect();
        assert_eq!(left, ["honest", "other", "flood"]);
        give_way(&mut handshakes);
        assert_eq!(handshakes.len(), 2);
    }

    #[test]
    fn a_host_is_an_address_without_its_port() {
        assert_eq!(host("127.0.0.1:80"), "127.0.0.1");
        assert_eq!(host("[::1]:80"), "[::1]");
        assert_eq!(host("memory"), "memory");
    }
}
