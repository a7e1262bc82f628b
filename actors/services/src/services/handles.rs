//! What is kept of the services that are called.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use umbel_actors::{Address, System};

use super::options::ServiceOptions;
use crate::directory::{Directory, Follow, Instance};
use crate::message::ServiceMessage;
use crate::policy::Candidate;

/// The instances of one service, followed as long as it is called.
pub(crate) struct Followed {
    state: Mutex<State>,
}

struct State {
    follow: Box<dyn Follow>,
    listed: Arc<[Instance]>,
    targets: Vec<Target>,
    turn: u64,
    used: Instant,
}

struct Target {
    instance: Instance,
    under_way: Arc<AtomicU64>,
}

/// An instance that was picked; it has a call under way until dropped.
pub(crate) struct Picked {
    pub(crate) address: Address<ServiceMessage>,
    under_way: Arc<AtomicU64>,
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whom to pick.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) options: &'a ServiceOptions,
    pub(crate) key: Option<&'a [u8]>,
    /// Those who have just failed.
    pub(crate) avoid: &'a [Address<ServiceMessage>],
}

impl Followed {
    fn new(follow: Box<dyn Follow>) -> Self {
        let (listed, targets): (Arc<[Instance]>, _) = (Arc::new([]), Vec::new());
        Self { state: Mutex::new(State { follow, listed, targets, turn: 0, used: Instant::now() }) }
    }

    pub(crate) fn pick(&self, system: &System, now: Instant, wanted: Wanted<'_>) -> Option<Picked> {
        let mut state = self.state.lock();
        state.used = now;
        state.refresh();
        let turn = state.turn;
        let candidate = |target: &Target| Candidate {
            place: target.instance.place,
            is_here: target.instance.node.is_none(),
            under_way: target.under_way.load(Ordering::Relaxed),
            is_avoided: wanted.avoid.contains(&target.instance.address),
        };
        let among: Vec<_> = state.targets.iter().map(candidate).collect();
        let ServiceOptions { policy, placement, .. } = wanted.options;
        let picked = policy.pick(*placement, &among, wanted.key, turn, || system.random())?;
        state.turn = turn.wrapping_add(1);
        let Target { instance, under_way } = &state.targets[picked];
        under_way.fetch_add(1, Ordering::Relaxed);
        Some(Picked { address: instance.address.clone(), under_way: under_way.clone() })
    }

    pub(crate) fn instances(&self) -> Vec<Instance> {
        let mut state = self.state.lock();
        state.refresh();
        state.listed.to_vec()
    }

    fn used(&self) -> Instant {
        self.state.lock().used
    }
}

impl State {
    fn refresh(&mut self) {
        let listed = self.follow.instances();
        if Arc::ptr_eq(&listed, &self.listed) {
            return;
        }
        let mut before = std::mem::take(&mut self.targets);
        let target = |instance: &Instance| {
            let known = before.iter().position(|one| one.instance.address == instance.address);
            let under_way = known.map(|index| before.swap_remove(index).under_way);
            Target { instance: instance.clone(), under_way: under_way.unwrap_or_default() }
        };
        self.targets = listed.iter().map(target).collect();
        self.listed = listed;
    }
}

/// The services that are called: at most so many, each until it has not been called for so long.
pub(crate) struct Handles {
    directory: Arc<dyn Directory>,
    followed: Mutex<BTreeMap<Arc<str>, Arc<Followed>>>,
    max: usize,
    /// The task that drops idle ones.
    sweep: OnceLock<AbortHandle>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        if let Some(sweep) = self.sweep.get() {
            sweep.abort();
        }
    }
}

impl Handles {
    /// With a task that drops those which were not called for `idle`, as long as there is somebody who
    /// calls, and a system to call from.
    pub(crate) fn new(
        system: &System,
        directory: Arc<dyn Directory>,
        max: usize,
        idle: Duration,
    ) -> Arc<Self> {
        let (followed, sweep) = (Mutex::default(), OnceLock::new());
        let handles = Arc::new(Self { directory, followed, max: max.max(1), sweep });
        let task = tokio::spawn(sweep_idle(Arc::downgrade(&handles), system.clone(), idle));
        let _ = handles.sweep.set(task.abort_handle());
        handles
    }

    pub(crate) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    pub(crate) fn of(&self, service: &Arc<str>) -> Arc<Followed> {
        let mut followed = self.followed.lock();
        if let Some(known) = followed.get(service) {
            return known.clone();
        }
        let mut gone = None;
        if followed.len() >= self.max {
            let longest = followed.iter().min_by_key(|(_, followed)| followed.used());
            let longest = longest.map(|(service, _)| service.clone());
            gone = longest.and_then(|service| followed.remove(&service));
        }
        let new = Arc::new(Followed::new(self.directory.follow(service)));
        followed.insert(service.clone(), new.clone());
        drop(followed);
        drop(gone);
        new
    }

    /// An instance to call, where there was none: waits for at most `within`.
    pub(crate) async fn wait(
        &self,
        system: &System,
        service: &Arc<str>,
        within: Duration,
        wanted: Wanted<'_>,
    ) -> Option<Picked> {
        let waiting = async {
            // Looked at once more after it is followed: what came in between is not missed.
            let mut follow = self.directory.follow(service);
            loop {
                follow.instances();
                let followed = self.of(service);
                if let Some(picked) = followed.pick(system, Instant::now(), wanted) {
                    return picked;
                }
                follow.changed().await;
            }
        };
        timeout(within, waiting).await.ok()
    }

    /// Drops those that have not been called for so long.
    fn drop_idle(&self, idle: Duration) {
        let now = Instant::now();
        let mut followed = self.followed.lock();
        let is_idle = |one: &Followed| now.saturating_duration_since(one.used()) >= idle;
        let gone: Vec<_> = followed.extract_if(.., |_, one| is_idle(one)).collect();
        drop(followed);
        drop(gone);
    }

    pub(crate) fn view(&self) -> BTreeMap<String, Vec<Instance>> {
        let followed = self.followed.lock().clone();
        followed.iter().map(|(name, one)| (name.to_string(), one.instances())).collect()
    }
}

async fn sweep_idle(handles: Weak<Handles>, system: System, idle: Duration) {
    let sweeping = async {
        loop {
            sleep(idle / 2).await;
            let Some(handles) = handles.upgrade() else { return };
            handles.drop_idle(idle);
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = system.stopped() => {}
    }
}
