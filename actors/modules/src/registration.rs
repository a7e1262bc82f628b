//! What a module declares that it consists of.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use umbel_actors::supervision::Intensity;
use umbel_actors::{Actor, Address, ChildOptions, ChildSpec, Message, Strategy};
use umbel_services::{Failure, Service, ServiceHost, ServiceView};

use crate::context::ModuleContext;
use crate::events::{Event, Occurrence, read};
use crate::offers::Offers;

/// Collects what a module consists of, while its [`on_register`](crate::Module::on_register) runs.
/// It is the module's [`ModuleContext`], too.
pub struct Registration {
    context: ModuleContext,
    pub(crate) children: Vec<ChildSpec<()>>,
    pub(crate) views: Vec<ServiceView>,
    pub(crate) offers: Offers,
    pub(crate) handlers: Vec<(&'static str, Handler)>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    /// The first thing that cannot be.
    pub(crate) wrong: Option<Failure>,
}

/// What is done with the events of a topic.
pub(crate) type Handler =
    Arc<dyn Fn(Occurrence) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

impl Registration {
    pub(crate) fn new(context: ModuleContext) -> Self {
        let intensity = context.runtime().options.intensity;
        Self {
            context,
            children: Vec::new(),
            views: Vec::new(),
            offers: Offers::default(),
            handlers: Vec::new(),
            strategy: Strategy::OneForOne,
            intensity,
            wrong: None,
        }
    }

    /// The module's context, to be kept.
    #[must_use]
    pub fn context(&self) -> &ModuleContext {
        &self.context
    }

    /// A service of the module, which is made known when the module is up. Where the configuration has
    /// it run on other nodes only, it is left out.
    pub fn service<S: Service>(&mut self, host: ServiceHost<S>) -> &mut Self {
        let (module, generation) = (self.context.name(), self.context.generation());
        let host = host.instance(format!("{module}#{generation}"));
        if let Some(child) = self.context.services().child(host) {
            if self.views.iter().any(|view| view.name() == child.view.name()) {
                self.refuse(format!("it has two services '{}'", child.view.name()));
                return self;
            }
            self.children.push(child.spec.with_handle(()));
            self.views.push(child.view);
        }
        self
    }

    /// An actor of the module, under a name that is unique in it. `make` is called for each of its
    /// lives; the address holds over them, until the module is reloaded or unloaded.
    pub fn actor<A: Actor<Msg: Message>>(
        &mut self,
        name: &str,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Address<A::Msg> {
        self.actor_with(name, ChildOptions::default(), |child| child, make)
    }

    /// As [`Registration::actor`], with options, and with what `declare` says of its restarts, its
    /// shutdown and its probes.
    pub fn actor_with<A: Actor<Msg: Message>>(
        &mut self,
        name: &str,
        options: ChildOptions,
        declare: impl FnOnce(ChildSpec<Address<A::Msg>>) -> ChildSpec<Address<A::Msg>>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Address<A::Msg> {
        let name = self.context.actor_name(name);
        let child = declare(self.context.system().child_with(name, options, make));
        let address = child.handle().clone();
        self.children.push(child.with_handle(()));
        address
    }

    /// A child of another kind, such as a supervisor. Actors in it take their names from
    /// [`ModuleContext::actor_name`], so that those of the next instance have room beside them.
    pub fn child<H>(&mut self, child: ChildSpec<H>) -> &mut Self {
        self.children.push(child.with_handle(()));
        self
    }

    /// Something that modules which require this one may use, in this process.
    pub fn offer<T: Send + Sync + 'static>(
        &mut self,
        key: impl Into<String>,
        value: T,
    ) -> &mut Self {
        let key = key.into();
        if !self.offers.add(key.clone(), value) {
            self.refuse(format!("it offers '{key}' twice"));
        }
        self
    }

    /// Has each event of a topic handled, one after the other, from when the module is up until it is
    /// to stop. A failure or a panic is logged, and the next event is taken. When the module is reloaded, each
    /// event is handled by the old instance or by the new one: the first handler of a topic takes over from
    /// the first, the second from the second.
    pub fn on_event<E, F>(
        &mut self,
        handle: impl Fn(E, ModuleContext) -> F + Send + Sync + 'static,
    ) -> &mut Self
    where
        E: Event,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (context, handle) = (self.context.clone(), Arc::new(handle));
        let handler = Arc::new(move |event| -> BoxFuture<'static, Result<(), Failure>> {
            let (context, handle) = (context.clone(), handle.clone());
            Box::pin(async move {
                match read(event) {
                    Ok(event) => handle(event, context).await,
                    // It was logged.
                    Err(_) => Ok(()),
                }
            })
        });
        self.handlers.push((E::TOPIC, handler));
        self
    }

    /// Which children are restarted along with one that fails. Default: none.
    pub fn strategy(&mut self, strategy: Strategy) -> &mut Self {
        self.strategy = strategy;
        self
    }

    /// How many restarts of its children within how long the module bears before it fails itself.
    /// Then the runtime restarts it, and all modules after it. Default:
    /// [`RuntimeOptions::intensity`](crate::RuntimeOptions::intensity).
    pub fn intensity(&mut self, restarts: u32, within: Duration) -> &mut Self {
        self.intensity = Intensity { restarts, period: within };
        self
    }

    fn refuse(&mut self, why: String) {
        self.wrong.get_or_insert_with(|| Failure::new(why));
    }
}

impl Deref for Registration {
    type Target = ModuleContext;

    fn deref(&self) -> &ModuleContext {
        &self.context
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("context", &self.context)
            .field("children", &self.children.iter().map(ChildSpec::name).collect::<Vec<_>>())
            .field("offers", &self.offers)
            .finish_non_exhaustive()
    }
}
