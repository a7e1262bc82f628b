//! What becomes of the day, as all nodes know it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use umbel_protocol::NodeId;
use umbel_services::ServiceMessage;

use super::Office;

/// How often each node looks whom it finds.
const LOOK: Duration = Duration::from_millis(200);

/// Within which time who is found must answer. What a fault has left of a connection may swallow what is
/// sent over it for some time yet.
const ANSWERS_WITHIN: Duration = Duration::from_millis(300);

/// What becomes of the day. It is told to all at once, past the network.
#[derive(Default)]
pub(crate) struct Day {
    phase: Phase,
    /// Whom each machine finds, by service.
    found: BTreeMap<usize, Found>,
    /// Machines that have done with it.
    resting: BTreeSet<usize>,
}

/// On which nodes services are found, and answer.
pub(super) type Found = BTreeMap<&'static str, BTreeSet<NodeId>>;

/// A part of the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Things go wrong, and everybody misbehaves.
    #[default]
    Rough,
    /// Nothing goes wrong any more.
    Calm,
    /// All find all: calls must be answered, though instances are replaced.
    Peace,
    /// Nothing is begun any more.
    Rest,
}

impl Day {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn becomes(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(super) fn rests(&mut self, machine: usize) {
        self.resting.insert(machine);
    }

    pub(super) fn how_many_rest(&self) -> usize {
        self.resting.len()
    }

    /// What is wrong with what so many machines find, where on `nodes` of them there is all.
    pub(super) fn amiss(&self, machines: usize, nodes: usize) -> Option<String> {
        if self.found.len() < machines {
            return Some(format!("{} of {machines} machines have looked", self.found.len()));
        }
        let first = self.found.values().next()?;
        if let Some((service, found)) = first.iter().find(|(_, found)| found.len() != nodes) {
            return Some(format!("{service} is found on {found:?}"));
        }
        let other = self.found.iter().find(|(_, found)| *found != first);
        other.map(|(machine, found)| format!("machine {machine} finds {found:?}, others {first:?}"))
    }
}

impl Office {
    /// Tells whom this node finds, until the day is over.
    pub(super) async fn look(&self, services: &[&'static str]) {
        while self.phase() != Phase::Rest {
            // Nobody wants to know before, nor afterwards.
            if self.phase() == Phase::Calm {
                let found = services.iter().map(|service| self.answering(service));
                let found = join_all(found).await.into_iter().collect();
                self.0.day.lock().found.insert(self.0.host.number(), found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The nodes on which a service is found, and answers.
    async fn answering(&self, service: &'static str) -> (&'static str, BTreeSet<NodeId>) {
        let found = self.node().discover::<ServiceMessage>(service);
        let asked = found.into_iter().map(|instance| async move {
            let answer = instance.address.ask_within(ANSWERS_WITHIN, ServiceMessage::Figures).await;
            answer.ok().map(|_| instance.node)
        });
        (service, join_all(asked).await.into_iter().flatten().collect())
    }
}
