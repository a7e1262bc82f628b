use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, Message, RpcReplyPort, SupervisionEvent,
};
use umbel_supervision::{ChildSpec, ChildState, SupervisorRef};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A place where probes live, and leave traces.
#[derive(Clone, Default)]
pub(crate) struct Lab {
    log: Arc<Mutex<Vec<String>>>,
    alive: Arc<AtomicUsize>,
    pings: Arc<AtomicUsize>,
}

/// What a probe does when.
#[derive(Clone, Copy, Default)]
pub(crate) struct Script {
    pub(crate) start: Act,
    pub(crate) stop: Act,
}

#[derive(Clone, Copy, Default)]
pub(crate) enum Act {
    #[default]
    Well,
    Fail,
    Panic,
    Hang,
    Take(Duration),
}

/// What a probe is told to do.
pub(crate) enum Poke {
    Do(Act),
    Answer(RpcReplyPort<()>),
}

impl Message for Poke {}

pub(crate) struct Probe {
    name: &'static str,
    script: Script,
    lab: Lab,
}

/// Counts as alive for as long as it is there.
pub(crate) struct Life(Lab);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Act {
    async fn perform(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Well => Ok(()),
            Self::Fail => Err("as told".into()),
            Self::Panic => panic!("as told"),
            Self::Hang => std::future::pending().await,
            Self::Take(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}

impl Actor for Probe {
    type Msg = Poke;
    type State = Life;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Poke>, (): ()) -> Result<Life, ActorProcessingErr> {
        self.lab.alive.fetch_add(1, Ordering::SeqCst);
        let life = Life(self.lab.clone());
        self.script.start.perform().await?;
        self.lab.note(format!("+{}", self.name));
        Ok(life)
    }

    async fn handle(
        &self,
        _: ActorRef<Poke>,
        poke: Poke,
        _: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        match poke {
            Poke::Do(act) => act.perform().await,
            Poke::Answer(reply) => {
                self.lab.pings.fetch_add(1, Ordering::SeqCst);
                Ok(reply.send(())?)
            }
        }
    }

    async fn post_stop(&self, _: ActorRef<Poke>, _: &mut Life) -> Result<(), ActorProcessingErr> {
        self.script.stop.perform().await?;
        self.lab.note(format!("-{}", self.name));
        Ok(())
    }
}

impl Lab {
    /// A child that does all well until it is told otherwise.
    pub(crate) fn child(&self, name: &'static str) -> ChildSpec {
        self.scripted(name, Script::default())
    }

    pub(crate) fn scripted(&self, name: &'static str, script: Script) -> ChildSpec {
        self.changing(name, move |_| script)
    }

    /// A child whose n-th incarnation (from 0) follows its own script.
    pub(crate) fn changing(
        &self,
        name: &'static str,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> ChildSpec {
        let (lab, incarnations) = (self.clone(), AtomicUsize::new(0));
        ChildSpec::actor(name, move || {
            let script = script(incarnations.fetch_add(1, Ordering::SeqCst));
            (Probe { name, script, lab: lab.clone() }, ())
        })
        .ping(|it| async {
            let _ = ActorRef::<Poke>::from(it).call(Poke::Answer, None).await;
        })
    }

    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    /// What probes did since the last call: `+name` when one is up, `-name` when one has stopped
    /// by itself or was stopped, nothing when it has failed or was killed.
    pub(crate) fn traces(&self) -> String {
        std::mem::take(&mut *self.log.lock().unwrap()).join(" ")
    }

    /// How often probes have answered whether they answer.
    pub(crate) fn pings(&self) -> usize {
        self.pings.load(Ordering::SeqCst)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// No probe and no task of any supervisor lives: counted.
    pub(crate) async fn assert_empty(&self) {
        let alive =
            || (self.alive(), tokio::runtime::Handle::current().metrics().num_alive_tasks());
        until("nothing is alive", async || alive() == (0, 0)).await;
    }
}

/// An actor that has children to look after, and remembers what becomes of them.
pub(crate) struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = Arc<Mutex<Vec<String>>>;
    type Arguments = Arc<Mutex<Vec<String>>>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        seen: Arc<Mutex<Vec<String>>>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(seen)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        seen: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let text = match event {
            SupervisionEvent::ActorTerminated(_, _, reason) => format!("terminated {reason:?}"),
            SupervisionEvent::ActorFailed(_, error) => format!("failed: {error}"),
            _ => return Ok(()),
        };
        seen.lock().unwrap().push(text);
        Ok(())
    }
}

/// Waits, on the paused clock, until it is so.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..100_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("in 100 s it has not come to this: {what}");
}

pub(crate) async fn state_of(supervisor: &SupervisorRef, name: &str) -> Option<ChildState> {
    let children = supervisor.which_children().await.unwrap();
    children.into_iter().find(|child| &*child.name == name).map(|child| child.state)
}

pub(crate) async fn until_state(supervisor: &SupervisorRef, name: &str, state: ChildState) {
    until(&format!("{name} is {state}"), async || state_of(supervisor, name).await == Some(state))
        .await;
}

/// The present incarnation of a child.
pub(crate) fn incarnation(supervisor: &SupervisorRef, id: &str) -> ActorCell {
    let children = supervisor.cell().get_children();
    children.into_iter().find(|child| child.get_id().to_string() == id).expect("it is linked")
}

pub(crate) async fn cell_of(supervisor: &SupervisorRef, name: &str) -> ActorCell {
    let children = supervisor.which_children().await.unwrap();
    let child = children.into_iter().find(|child| &*child.name == name).expect("it is declared");
    incarnation(supervisor, &child.actor.expect("it is up"))
}

/// Has a child do something, and waits until that has led to its end or its wait.
pub(crate) async fn poke(supervisor: &SupervisorRef, name: &str, act: Act) -> ActorCell {
    let actor = cell_of(supervisor, name).await;
    actor.send_message(Poke::Do(act)).unwrap();
    actor
}

/// Makes a child fail, and returns when that incarnation is gone and was dealt with.
pub(crate) async fn fail(supervisor: &SupervisorRef, name: &str) {
    let actor = poke(supervisor, name, Act::Panic).await;
    actor.wait(None).await.unwrap();
    // Events overtake messages, so what this answers comes after the failure was dealt with.
    let _ = supervisor.which_children().await;
}

impl Lab {
    /// The bare actor, for start functions of a test's own.
    pub(crate) fn probe(&self, name: &'static str) -> Probe {
        Probe { name, script: Script::default(), lab: self.clone() }
    }
}
