use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use ractor::{ActorCell, ActorId};
use tokio::sync::watch;

use crate::engine::ChildId;

/// Who lives under a supervisor: also known to the supervisor above it.
///
/// A supervisor that is killed cannot wait for its children any more. ractor kills them with it,
/// but each ends only where it next waits. So who starts a successor waits for them instead.
#[derive(Clone, Default)]
pub(crate) struct Brood(Arc<Mutex<Lives>>);

#[derive(Default)]
struct Lives {
    /// Only looked up, and emptied.
    up: HashMap<ActorId, ActorCell>,
    /// Those under the children that are supervisors.
    below: BTreeMap<ChildId, Brood>,
    /// Closed when the start is through or was dropped.
    starting: Vec<watch::Receiver<()>>,
}

impl Brood {
    fn lives(&self) -> MutexGuard<'_, Lives> {
        self.0.lock().expect("nothing that is done under this lock panics")
    }

    pub(super) fn joined(&self, actor: ActorCell) {
        self.lives().up.insert(actor.get_id(), actor);
    }

    pub(super) fn left(&self, actor: ActorId) {
        self.lives().up.remove(&actor);
    }

    pub(super) fn add_below(&self, child: ChildId, brood: Self) {
        self.lives().below.insert(child, brood);
    }

    pub(super) fn remove_below(&self, child: ChildId) {
        self.lives().below.remove(&child);
    }

    /// A start is under way for as long as what this returns is there.
    pub(super) fn starting(&self) -> watch::Sender<()> {
        let (under_way, seen) = watch::channel(());
        let mut lives = self.lives();
        lives.starting.retain(|start| start.has_changed().is_ok());
        lives.starting.push(seen);
        under_way
    }

    /// Returns when nobody lives. Nobody is forgotten if the future is dropped before.
    pub(super) fn gone(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                let start = self.lives().starting.last().cloned();
                let Some(mut start) = start else { break };
                // Nothing is ever sent: it ends with the start.
                let _ = start.changed().await;
                self.lives().starting.retain(|start| start.has_changed().is_ok());
            }
            loop {
                let next = self.lives().up.values().next().cloned();
                let Some(actor) = next else { break };
                let _ = actor.wait(None).await;
                self.left(actor.get_id());
            }
            loop {
                let next = self.lives().below.first_key_value().map(|(id, b)| (*id, b.clone()));
                let Some((child, brood)) = next else { return };
                brood.gone().await;
                self.remove_below(child);
            }
        })
    }
}
