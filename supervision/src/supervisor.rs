use std::{sync::Arc, time::Duration};

use ractor::ActorCell;

use crate::{
    AutoShutdown, ChildSpec, EventStream, Intensity, StartError, Strategy, SupervisorRef,
    event::Audience,
    shell::{self, Lineage},
    spec::Spec,
};

/// The declaration of a supervisor: a value, until it is [started](Self::start).
///
/// See the [crate's front page](crate) for an example. Cheap to clone: the declarations of its
/// children are shared, and dropped with the last clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) dynamic: bool,
    pub(crate) children_max: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) events_kept: usize,
    pub(crate) children: Vec<Arc<Spec>>,
    pub(crate) audience: Audience,
}

impl Supervisor {
    /// How many children a supervisor has at most unless [`children_max`](Self::children_max)
    /// says otherwise: 1,048,576.
    pub const CHILDREN_MAX: usize = 1 << 20;

    /// How many events are kept for a slow reader unless [`events_kept`](Self::events_kept) says
    /// otherwise: 1,024.
    pub const EVENTS_KEPT: usize = 1 << 10;

    /// A supervisor without children.
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        let name = name.into();
        Self {
            seed: None,
            name,
            strategy,
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            dynamic: false,
            children_max: Self::CHILDREN_MAX,
            events_kept: Self::EVENTS_KEPT,
            children: Vec::new(),
            audience: Audience::default(),
        }
    }

    /// A supervisor for many children that come and go, added by
    /// [`start_child`](SupervisorRef::start_child): OTP's `simple_one_for_one`, except that the
    /// children need not be alike and have names.
    ///
    /// It is one-for-one. A child that has ended for good, or was terminated, is forgotten, and
    /// its name is free again. When the supervisor stops, it stops all children at once.
    pub fn dynamic(name: impl Into<Arc<str>>) -> Self {
        Self { dynamic: true, ..Self::new(name, Strategy::OneForOne) }
    }

    /// How many restarts within how long it bears before it gives up: it stops its children in
    /// reverse order and fails. Default: OTP's, 1 in 5 s.
    #[must_use]
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        self.intensity = Intensity { restarts, period };
        self
    }

    /// Whether it stops by itself once significant children have ended. Default: it does not.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// How many children it may have; one more is refused. Default:
    /// [`CHILDREN_MAX`](Self::CHILDREN_MAX).
    #[must_use]
    pub fn children_max(mut self, children: usize) -> Self {
        self.children_max = children;
        self
    }

    /// How many events are kept for a reader that lags behind, at least 1. Counts at the root of
    /// a tree, whose events all go one way. Default: [`EVENTS_KEPT`](Self::EVENTS_KEPT).
    #[must_use]
    pub fn events_kept(mut self, events: usize) -> Self {
        self.events_kept = events.max(1);
        self
    }

    /// The seed of the jitter of its children's back-offs. Default: the 64-bit FNV-1a hash of its
    /// name, so that the same program draws the same waits on each run. Give each process a seed
    /// of its own where many run side by side.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// As [`seed`](Self::seed), where none was set: for those who start declarations of others.
    #[must_use]
    pub fn seed_unless_set(mut self, seed: u64) -> Self {
        self.seed.get_or_insert(seed);
        self
    }

    /// Adds a child. Children are started in the order in which they were added, and stopped in
    /// the reverse order.
    #[must_use]
    pub fn child<H>(mut self, child: ChildSpec<H>) -> Self {
        self.children.push(Arc::new(child.into_spec()));
        self
    }

    /// The events of the tree that is started from this declaration, its first start included, also
    /// where that fails. What [`SupervisorRef::events`] shows begins later.
    ///
    /// It shows the one tree that is started first, from this declaration or a clone of it; where
    /// that is started under another supervisor, its part of the whole tree, over all its restarts.
    /// It ends with the tree, or when the last declaration is dropped unstarted.
    /// What a reader that lags behind misses is told to it: see [`events_kept`](Self::events_kept).
    ///
    /// ```
    /// use umbel_supervision::{ChildSpec, Observed, Strategy, Supervisor};
    /// # use ractor::{Actor, ActorProcessingErr, ActorRef};
    /// # struct Store;
    /// # impl Actor for Store {
    /// #     type Msg = String; type State = (); type Arguments = ();
    /// #     async fn pre_start(&self, _: ActorRef<String>, _: ()) -> Result<(), ActorProcessingErr> { Ok(()) }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shop = Supervisor::new("shop", Strategy::OneForOne)
    ///     .child(ChildSpec::actor("store", || (Store, ())));
    /// let mut events = shop.events();
    /// let shop = shop.start().await?;
    /// shop.stop().await;
    /// let mut seen = Vec::new();
    /// while let Some(Observed::Event(event)) = events.next().await {
    ///     println!("{event}");
    ///     seen.push(event.to_string().split_once("s ").map(|(_, what)| what.to_owned()).unwrap());
    /// }
    /// assert_eq!(seen, [
    ///     "shop/store: started",
    ///     "shop: started",
    ///     "shop/store: stopped by its supervisor",
    ///     "shop: stopped by its supervisor",
    /// ]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.audience.seat()
    }

    /// Starts it and its children, one after the other, and returns when all are up. It has no
    /// parent: when it gives up, its tree is gone.
    ///
    /// # Errors
    /// When a child does not start, those before it are stopped again in reverse order; nothing
    /// is left. Dropping the future undoes the start less gently: what was up is killed.
    pub async fn start(self) -> Result<SupervisorRef, StartError> {
        shell::launch(self, None).await
    }

    /// Like [`start`](Self::start), under an actor that gets to know how it ends: as
    /// `ActorTerminated` when it stops, as `ActorFailed` (with [`GaveUp`](crate::GaveUp) inside)
    /// when it gives up. When the parent goes, it is killed, and its children with it.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and when the parent is stopping.
    pub async fn start_linked(self, parent: ActorCell) -> Result<SupervisorRef, StartError> {
        shell::launch(self, Some((parent, None::<Lineage>))).await
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short, and the same everywhere and for ever.
pub(crate) fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_seed_is_the_published_hash_of_the_name() {
        // Test vectors of the FNV authors.
        assert_eq!(seed_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(seed_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(seed_of("foobar"), 0x8594_4171_f739_67e8);
    }
}
