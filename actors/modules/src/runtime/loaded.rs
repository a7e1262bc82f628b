//! A module's place among the others, whichever instance of it serves.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use umbel_actors::ractor::{ActorCell, SpawnErr};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, ChildSpec, Message, Strategy, Supervisor};

use super::Instance;
#[cfg(feature = "http")]
use super::http::Mount;

/// A module that is loaded, whichever instance of it serves.
pub(crate) struct Loaded {
    pub(super) name: String,
    instance: ArcSwap<Instance>,
    place: Mutex<Place>,
    /// The supervisor of the instance that serves, whose end is the module's.
    serving: watch::Sender<Option<ActorCell>>,
    #[cfg(feature = "http")]
    pub(super) mount: Mount,
}

#[derive(Default)]
struct Place {
    /// How many instances there were.
    generations: u64,
    /// How often the holder was started.
    starts: u64,
}

impl Loaded {
    pub(super) fn new(name: String, instance: Instance) -> Arc<Self> {
        Arc::new(Self {
            name,
            instance: ArcSwap::from_pointee(instance),
            place: Mutex::new(Place { generations: 1, starts: 0 }),
            serving: watch::Sender::new(None),
            #[cfg(feature = "http")]
            mount: Mount::default(),
        })
    }

    /// The instance that serves.
    pub(crate) fn current(&self) -> Arc<Instance> {
        self.instance.load_full()
    }

    pub(super) fn next_generation(&self) -> u64 {
        let mut place = self.place.lock();
        place.generations += 1;
        place.generations
    }

    /// How often the module was started, with whichever instance.
    pub(super) fn starts(&self) -> u64 {
        self.place.lock().starts
    }

    /// Has another instance serve, which was started under the holder that was started as the
    /// `starts`-th. False, and nothing has changed, where the module was started again since: with the
    /// instance that serves, and without the other.
    pub(super) fn switch(&self, starts: u64, instance: &Arc<Instance>, cell: ActorCell) -> bool {
        let place = self.place.lock();
        if place.starts != starts {
            return false;
        }
        self.instance.store(instance.clone());
        self.serving.send_replace(Some(cell));
        true
    }

    /// The supervisor that holds the module's place among the others. Instances come and go in it; the end of
    /// one is its own matter, unless it is the one that serves: then the module has failed, and the modules
    /// after it are to be started again, too.
    pub(super) fn holder(self: &Arc<Self>) -> ChildSpec<()> {
        let loaded = self.clone();
        ChildSpec::supervisor(self.name.clone(), move || {
            let instance = {
                let mut place = loaded.place.lock();
                place.starts += 1;
                loaded.current()
            };
            Supervisor::new(loaded.name.clone(), Strategy::OneForOne)
                .intensity(0, Duration::from_secs(1))
                .child(instance.child())
                .child(loaded.guard())
        })
    }

    fn guard(self: &Arc<Self>) -> ChildSpec<()> {
        let loaded = self.clone();
        ChildSpec::new("guard", move |holder: ActorCell| {
            let loaded = loaded.clone();
            async move {
                // The only child so far: the instance that was started before the guard.
                loaded.serving.send_replace(holder.get_children().into_iter().next());
                let guard = Guard { serving: loaded.serving.subscribe() };
                let (actor, _) = Actor::spawn_linked(None, guard, (), holder).await?;
                Ok::<_, SpawnErr>(actor.get_cell())
            }
        })
    }
}

/// Fails when the instance that serves has ended.
struct Guard {
    serving: watch::Receiver<Option<ActorCell>>,
}

#[derive(Message)]
struct Ended;

impl Actor for Guard {
    type Msg = Ended;
    type State = JoinSet<()>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Ended>,
        (): (),
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut serving = self.serving.clone();
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            loop {
                let instance = serving.borrow_and_update().clone();
                let ended = async {
                    if let Some(instance) = instance {
                        // Without a limit, it returns only when the actor has ended.
                        let _ = instance.wait(None).await;
                    }
                };
                tokio::select! {
                    biased;
                    changed = serving.changed() => if changed.is_err() { return },
                    () = ended => break,
                }
            }
            // Gone already, else.
            let _ = myself.cast(Ended);
        });
        Ok(watching)
    }

    async fn handle(
        &self,
        _: ActorRef<Ended>,
        Ended: Ended,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        Err("the instance that serves has ended".into())
    }
}
