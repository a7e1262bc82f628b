//! One instance of a module.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};
use umbel_actors::supervision::Intensity;
use umbel_actors::{ChildSpec, Restart, Supervisor};
use umbel_services::{Failure, ServiceView};

use super::Shared;
use super::lifecycle::{Door, Lifecycle, Standing, Start};
use super::pump::{Pump, Source, Subscribed};
use crate::context::ModuleContext;
use crate::error::LoadError;
use crate::module::Made;
use crate::offers::Offers;
use crate::registration::Registration;

/// After how long a new instance that is not healthy is asked again, at first and at most.
const LOOK_AFTER: Duration = Duration::from_millis(20);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(500);

/// One instance of a module: what its `on_register` declared, as a supervisor that can be started.
pub(crate) struct Instance {
    pub(super) module: Made,
    pub(crate) context: ModuleContext,
    pub(crate) offers: Offers,
    pub(super) views: Vec<ServiceView>,
    declaration: Supervisor,
    standing: Arc<Standing>,
    /// Whether it is the one that is given work.
    serves: watch::Sender<bool>,
    /// How many of its handlers may have an event in hand.
    busy: watch::Sender<usize>,
    /// What its handlers of events read, by topic and number.
    sources: BTreeMap<(&'static str, usize), Source>,
}

impl Instance {
    /// Has a module register. Its handlers of events take over the subscriptions of `before`.
    pub(super) fn prepare(
        runtime: &Arc<Shared>,
        module: Made,
        generation: u64,
        before: Option<&Self>,
    ) -> Result<Self, LoadError> {
        let name = module.name().to_owned();
        let (requires, needs_database) = (module.requires(), module.needs_database());
        let context =
            ModuleContext::new(runtime.clone(), &name, requires, needs_database, generation);
        let refused = |why| LoadError::Register { module: name.clone(), why };
        let mut registration = Registration::new(context.clone());
        module.on_register(&mut registration).map_err(refused)?;
        if let Some(why) = registration.wrong.take() {
            return Err(refused(why));
        }
        let views = registration.views;
        if let Some(why) = runtime.taken(&name, &views) {
            return Err(refused(why));
        }
        let (serves, busy) = (watch::Sender::new(false), watch::Sender::new(0));
        let standing = Arc::new(Standing::default());
        let Intensity { restarts, period } = registration.intensity;
        let mut declaration = Supervisor::new(child_name(&name, generation), registration.strategy)
            .intensity(restarts, period);
        let (shown, standing_of) = (context.clone(), standing.clone());
        let door =
            Door { context: shown.clone(), views: views.clone(), standing: standing_of.clone() };
        declaration = declaration.child(door.child());
        for child in registration.children {
            declaration = declaration.child(child);
        }
        let lifecycle = Lifecycle {
            module: module.clone(),
            context: shown,
            views: views.clone(),
            standing: standing_of,
        };
        declaration = declaration.child(lifecycle.child());
        let mut sources = BTreeMap::new();
        for (topic, handler) in registration.handlers {
            let nth = sources.keys().filter(|(other, _)| *other == topic).count();
            let taken_over = before.and_then(|before| before.sources.get(&(topic, nth)));
            let source = match taken_over {
                Some(source) => source.clone(),
                None => {
                    let events = context.events().source(topic);
                    let events = events.map_err(|why| refused(Failure::from(why)))?;
                    Arc::new(Mutex::new(Subscribed { events, told: 0 }))
                }
            };
            sources.insert((topic, nth), source.clone());
            let (serves, busy, context) = (serves.subscribe(), busy.clone(), context.clone());
            let pump = Pump { topic, handler, source, serves, busy, context };
            declaration = declaration.child(pump.child(nth));
        }
        let offers = registration.offers;
        Ok(Self { module, context, offers, views, declaration, standing, serves, busy, sources })
    }

    pub(super) fn name(&self) -> &str {
        self.context.name()
    }

    /// What its supervisor is called among its siblings.
    pub(super) fn child_name(&self) -> String {
        child_name(self.name(), self.context.generation())
    }

    /// Never started again by itself: its end is the module's, if it is the one that serves.
    pub(super) fn child(&self) -> ChildSpec<()> {
        let declaration = self.declaration.clone();
        ChildSpec::supervisor(self.child_name(), move || declaration.clone())
            .restart(Restart::Temporary)
    }

    pub(super) fn is_up(&self) -> bool {
        self.standing.is_up()
    }

    /// How far its start has come.
    pub(super) fn start(&self) -> Start {
        self.standing.start()
    }

    #[cfg(feature = "http")]
    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// What it says of itself, and whether its services are well.
    ///
    /// # Errors
    /// Why it cannot do its work.
    pub(super) async fn health(&self) -> Result<(), Failure> {
        if !self.is_up() {
            return Err(Failure::new("it is not up"));
        }
        if let Some(ill) = self.views.iter().find(|view| !view.is_well()) {
            return Err(Failure::new(format!("service '{}' is not well", ill.name())));
        }
        let within = self.context.runtime().options.health;
        let said = timeout(within, self.module.health(&self.context)).await;
        said.unwrap_or_else(|_| {
            Err(Failure::new(format!("its health check did not end within {within:?}")))
        })
    }

    /// Waits until it is healthy, for `within` at most.
    ///
    /// # Errors
    /// What it said last.
    pub(super) async fn until_healthy(&self, within: Duration) -> Result<(), Failure> {
        let until = Instant::now() + within;
        let mut pause = LOOK_AFTER;
        loop {
            match self.health().await {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => sleep(pause.min(until.saturating_duration_since(Instant::now()))).await,
            }
            pause = (2 * pause).min(LOOK_EVERY_MAX);
        }
    }

    /// Makes its services known, and waits until they are handed out. They stay known over its restarts.
    pub(super) async fn make_known(&self, within: Duration) -> Result<(), LoadError> {
        let services = self.context.services();
        self.standing.publish(true);
        for view in &self.views {
            let unlisted = |why: String| LoadError::Unlisted {
                module: self.name().to_owned(),
                service: view.name().to_owned(),
                why,
            };
            services.register(view).await.map_err(|why| unlisted(why.to_string()))?;
            if !services.until_handed_out(view, within).await {
                return Err(unlisted(format!("it was not handed out within {within:?}")));
            }
        }
        Ok(())
    }

    /// Has its handlers take events, or take no more.
    pub(super) fn set_serves(&self, serves: bool) {
        self.serves.send_replace(serves);
    }

    /// Has it be given no more work.
    pub(super) async fn withdraw(&self) {
        self.set_serves(false);
        self.standing.publish(false);
        for view in &self.views {
            self.context.services().deregister(view).await;
        }
    }

    /// Waits until it has finished what it was given. Whether it has, before `until`.
    pub(super) async fn finish(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let mut busy = self.busy.subscribe();
        let (idle, rested) = tokio::join!(
            join_all(self.views.iter().map(|view| view.until_idle(left))),
            timeout(left, async { busy.wait_for(|busy| *busy == 0).await.is_ok() }),
        );
        idle.into_iter().all(|idle| idle) && rested.is_ok()
    }
}

fn child_name(module: &str, generation: u64) -> String {
    format!("{module}#{generation}")
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.child_name()).finish()
    }
}
