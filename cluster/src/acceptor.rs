//! Lets diallers in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::{AbortHandle, JoinHandle};
use umbel_actors::Address;
use umbel_protocol::{Lane, Refusal};

use crate::coordinator::{Coordinate, Verdict};
use crate::greeting::{self, Answer};
use crate::home::NodeHome;
use crate::transport::{Connection, Incoming, Listener, TransportError};

/// How long accepting rests after the system could not accept (too many open files, say).
const REST: Duration = Duration::from_millis(100);

/// Accepts until it is aborted. At most `handshakes_max` handshakes run at once: where one more
/// begins, the oldest gives way. An honest handshake takes milliseconds, so the oldest is most likely
/// a client that says nothing, and however many of those there are, they hinder nobody.
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
        running.retain(|one| !one.0.is_finished());
        if running.len() >= home.config.handshakes_max.max(1) {
            running.pop_front();
            home.refusals.note("busy", &Refusal::Busy);
        }
        let (home, coordinator) = (home.clone(), coordinator.clone());
        let handshake = tokio::spawn(async move {
            let from = incoming.from().to_owned();
            let deadline = home.config.handshake_deadline;
            let greeted = greet(incoming, &home, &coordinator);
            if tokio::time::timeout(deadline, greeted).await.is_err() {
                home.refusals.note("silent", &format!("{from} took longer than {deadline:?}"));
            }
        });
        running.push_back(Running::from(handshake));
    }
}

/// A handshake that ends when it is let go of.
struct Running(AbortHandle);

impl From<JoinHandle<()>> for Running {
    fn from(task: JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn greet(incoming: Incoming, home: &NodeHome, coordinator: &Address<Coordinate>) {
    let Connection { mut stream, peer, address } = match incoming.handshake().await {
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
    match verdict {
        Ok(welcome) => {
            let said = greeting::say(&mut stream, &Answer::Welcome(welcome)).await;
            if said.is_ok() {
                let opened = match hello.lane {
                    Lane::Control => Coordinate::ControlOpened(hello, stream),
                    Lane::Data => Coordinate::DataOpened(hello, stream),
                };
                let _ = coordinator.tell(opened).await;
            }
        }
        Err(refusal) => {
            let quiet = matches!(refusal, Refusal::Crossed | Refusal::AlreadyLinked { .. });
            if quiet {
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
