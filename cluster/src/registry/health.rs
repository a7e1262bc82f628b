//! Carries out what is decided about the health of this node's actors.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use umbel_actors::wire::Deliver;
use umbel_protocol::{
    Checkup, CheckupInput, CheckupOutput, Entry, EntryName, Health, HealthConfig, RegistryInput,
    ReplicaError,
};

pub use self::check::HealthCheck;
use crate::home::NodeHome;

/// How often it is looked at how much waits for the actors. What has changed is told then.
const LOADS_EVERY: Duration = Duration::from_secs(1);

/// How many actors are looked at before it is seen whether peers keep up with what is told of them.
const ROUND: usize = 256;

/// How long is waited for peers then: so that who does not read what it is told makes nobody's
/// health wait for long.
const KEEP_UP_MAX: Duration = Duration::from_millis(100);

/// An actor under one of its names.
type Ward = (u64, EntryName);

/// The health of the actors that this node has registered: at most as many as the registry may have
/// entries. Lock this before the registry, never after.
pub(crate) struct Wards {
    state: Mutex<State>,
    /// Told when there may be something to do earlier than was known.
    changed: Notify,
    started: Instant,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<Ward, Kept>,
    /// When to look at whom.
    wakes: BTreeSet<(Duration, Ward)>,
    /// Counts registrations, so that an answer about an earlier one finds nobody.
    registrations: u64,
    /// The node is leaving: nothing is registered any more.
    closed: bool,
}

struct Kept {
    registration: u64,
    actor: Arc<dyn Deliver>,
    check: HealthCheck,
    /// `None` where health is not checked.
    checkup: Option<Checkup>,
    wake: Option<Duration>,
    running: Option<Running>,
}

/// A check that runs. It ends with this.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A question that is to be asked.
struct Question {
    ward: Ward,
    registration: u64,
    number: u64,
    actor: Arc<dyn Deliver>,
    check: HealthCheck,
}

/// And how it went.
struct Answer {
    ward: Ward,
    registration: u64,
    question: u64,
    passed: bool,
}

/// An actor that is to be registered.
pub(super) struct Registration {
    pub(super) name: EntryName,
    pub(super) actor: Arc<dyn Deliver>,
    pub(super) entry: Entry,
    pub(super) check: HealthCheck,
    pub(super) config: HealthConfig,
}

impl Wards {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), started: Instant::now() }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl NodeHome {
    /// Registers an actor, and looks after its health from now on.
    pub(super) fn take_in(&self, registration: Registration) -> Result<(), super::RegisterError> {
        let Registration { name, actor, entry, check, config } = registration;
        let now = self.wards.now();
        let mut checkup = match check {
            HealthCheck::None => None,
            _ => Some(Checkup::new(now, config)?),
        };
        if let (HealthCheck::Mailbox, Some(checkup)) = (&check, &mut checkup)
            && actor.clone().gets_on().now_or_never().is_some()
        {
            // The usual actor is healthy from the beginning.
            checkup.step(now, CheckupInput::Tick);
            checkup.step(now, CheckupInput::Answered { question: 1, passed: true });
        }
        let health = checkup.as_ref().map_or(Health::Healthy, Checkup::health);
        let ward = (actor.id(), name.clone());
        let mut state = self.wards.state.lock();
        if state.closed {
            return Err(super::RegisterError::Leaving);
        }
        let input = RegistryInput::Register { name, actor: ward.0, entry: entry.in_health(health) };
        self.registry(input)?;
        state.registrations += 1;
        let registration = state.registrations;
        let kept = Kept { registration, actor, check, checkup, wake: None, running: None };
        let replaced = state.forget(&ward);
        state.kept.insert(ward.clone(), kept);
        state.set_wake(&ward);
        drop(state);
        // What a check has captured is the user's: it goes outside the lock, here and below.
        drop(replaced);
        self.wards.changed.notify_one();
        Ok(())
    }

    /// The registered actors, and how many messages wait for each.
    pub(super) fn unread(&self) -> Vec<(EntryName, u64)> {
        let state = self.wards.state.lock();
        state.kept.iter().map(|((_, name), kept)| (name.clone(), kept.actor.depth())).collect()
    }

    /// An actor is to be given no more work under a name. False where it is not registered so.
    pub(super) fn drain(&self, actor: u64, name: EntryName) -> bool {
        let mut state = self.wards.state.lock();
        let ward = (actor, name);
        let Some(kept) = state.kept.get_mut(&ward) else { return false };
        match &mut kept.checkup {
            Some(_) => self.step(&mut state, &ward, CheckupInput::Drain).is_none(),
            None => self.tell(&ward, Health::Draining).is_ok(),
        }
    }

    /// An actor is no longer registered under a name.
    pub(super) fn let_go(&self, actor: u64, name: EntryName) {
        let mut state = self.wards.state.lock();
        let forgotten = state.forget(&(actor, name.clone()));
        // Taking away what is there cannot fail for want of room; nor below.
        let _ = self.registry(RegistryInput::Unregister { name, actor });
        drop(state);
        drop(forgotten);
    }

    /// An actor is gone.
    pub(super) fn let_go_of_all(&self, actor: u64) {
        let mut state = self.wards.state.lock();
        let its = state.kept.range((actor, EntryName::cut(""))..).take_while(|it| it.0.0 == actor);
        let its: Vec<_> = its.map(|(ward, _)| ward.clone()).collect();
        let forgotten: Vec<_> = its.iter().map(|ward| state.forget(ward)).collect();
        let _ = self.registry(RegistryInput::ActorEnded { actor });
        drop(state);
        drop(forgotten);
    }

    /// This node is about to leave: nothing of it is to be found any more, now and later.
    pub(crate) fn withdraw(&self) {
        let mut state = self.wards.state.lock();
        state.closed = true;
        state.wakes.clear();
        let kept = std::mem::take(&mut state.kept);
        let _ = self.registry(RegistryInput::Withdraw);
        drop(state);
        drop(kept);
    }

    /// Takes note, and does what is said; a question is left to the caller.
    fn step(&self, state: &mut State, ward: &Ward, input: CheckupInput) -> Option<Question> {
        let now = self.wards.now();
        let kept = state.kept.get_mut(ward)?;
        let mut question = None;
        for output in kept.checkup.as_mut()?.step(now, input) {
            match output {
                CheckupOutput::Ask { question: number } => {
                    question = Some(Question {
                        ward: ward.clone(),
                        registration: kept.registration,
                        number,
                        actor: kept.actor.clone(),
                        check: kept.check.clone(),
                    });
                }
                CheckupOutput::GiveUp { .. } => kept.running = None,
                CheckupOutput::Became(health) => {
                    let name = &ward.1;
                    match health {
                        Health::Unhealthy => {
                            metrics::counter!("umbel_instances_unhealthy_total").increment(1);
                            tracing::warn!(target: "umbel", %name, actor = ward.0, "unhealthy");
                        }
                        _ => tracing::debug!(target: "umbel", %name, actor = ward.0, %health),
                    }
                    let _ = self.tell(ward, health);
                }
                CheckupOutput::Restart => {
                    kept.actor.kill();
                }
            }
        }
        state.set_wake(ward);
        question
    }

    fn tell(&self, ward: &Ward, health: Health) -> Result<(), ReplicaError> {
        let (actor, name) = ward.clone();
        self.registry(RegistryInput::Health { name, actor, health })
    }

    fn answered(&self, answer: Answer) -> Option<Question> {
        let Answer { ward, registration, question, passed } = answer;
        let mut state = self.wards.state.lock();
        let kept = state.kept.get_mut(&ward).filter(|kept| kept.registration == registration)?;
        kept.running = None;
        self.step(&mut state, &ward, CheckupInput::Answered { question, passed })
    }

    /// The questions that are due, [`ROUND`] of them at most, and when there is more to do.
    fn due(&self) -> (Vec<Question>, Option<Duration>) {
        let mut state = self.wards.state.lock();
        let mut questions = Vec::new();
        let now = self.wards.now();
        for _ in 0..ROUND {
            match state.wakes.first().cloned() {
                Some((at, ward)) if at <= now => {
                    questions.extend(self.step(&mut state, &ward, CheckupInput::Tick));
                }
                next => return (questions, next.map(|(at, _)| at)),
            }
        }
        (questions, Some(now))
    }

    /// A check takes its time.
    fn runs(&self, ward: &Ward, registration: u64, handle: AbortHandle) {
        let running = Running(handle);
        let mut state = self.wards.state.lock();
        let kept = state.kept.get_mut(ward).filter(|kept| kept.registration == registration);
        if let Some(kept) = kept {
            kept.running = Some(running);
        }
    }

    fn tell_loads(&self) {
        let state = self.wards.state.lock();
        if state.kept.is_empty() {
            return;
        }
        let depths = state.kept.iter().map(|((id, _), kept)| (*id, kept.actor.depth())).collect();
        let _ = self.registry(RegistryInput::Depths { depths });
    }
}

impl State {
    fn forget(&mut self, ward: &Ward) -> Option<Kept> {
        let kept = self.kept.remove(ward)?;
        if let Some(wake) = kept.wake {
            self.wakes.remove(&(wake, ward.clone()));
        }
        Some(kept)
    }

    fn set_wake(&mut self, ward: &Ward) {
        let Some(kept) = self.kept.get_mut(ward) else { return };
        let wake = kept.checkup.as_ref().and_then(Checkup::next_wakeup);
        if let Some(before) = std::mem::replace(&mut kept.wake, wake) {
            self.wakes.remove(&(before, ward.clone()));
        }
        if let Some(at) = wake {
            self.wakes.insert((at, ward.clone()));
        }
    }
}

/// Asks this node's actors how they do, and tells how much waits for them. All checks end with it.
pub(crate) async fn look_after(home: Arc<NodeHome>) {
    let mut checks = JoinSet::new();
    let mut loads = tokio::time::interval(LOADS_EVERY);
    loads.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        home.peers_keep_up(KEEP_UP_MAX).await;
        let (questions, next) = home.due();
        for question in questions {
            ask(&home, &mut checks, question);
        }
        let due = async {
            match next.and_then(|next| home.wards.started.checked_add(next)) {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = loads.tick() => home.tell_loads(),
            Some(done) = checks.join_next() => {
                // One that was given up was aborted.
                if let Ok(answer) = done && let Some(question) = home.answered(answer) {
                    ask(&home, &mut checks, question);
                }
            }
            () = home.wards.changed.notified() => {}
            () = due => {}
        }
    }
}

fn ask(home: &NodeHome, checks: &mut JoinSet<Answer>, question: Question) {
    let Question { ward, registration, number, actor, check } = question;
    let answer = move |ward, passed| Answer { ward, registration, question: number, passed };
    // It takes a task of its own only where there is something to wait for.
    if matches!(check, HealthCheck::Mailbox) && actor.clone().gets_on().now_or_never().is_some() {
        let next = home.answered(answer(ward, true));
        debug_assert!(next.is_none(), "who has passed is asked again later");
        return;
    }
    let of = ward.clone();
    let handle = checks.spawn(async move {
        let passed = AssertUnwindSafe(check.run(actor)).catch_unwind().await;
        answer(of, passed.unwrap_or(false))
    });
    home.runs(&ward, registration, handle);
}
