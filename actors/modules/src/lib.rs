//! Modules as supervised actors: parts of a program that are started in the order of their
//! dependencies, and loaded, reloaded and unloaded while the others run.
//!
//! ```
//! use std::time::Duration;
//!
//! use serde::{Deserialize, Serialize};
//! use umbel_modules::{Dependents, Failure, Module, ModuleContext, Registration, Runtime};
//! use umbel_services::{Context, Handle, Method, Methods, Service, ServiceHost};
//!
//! /// What an item costs, in cents.
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Price {
//!     item: String,
//! }
//!
//! impl Method for Price {
//!     const NAME: &'static str = "price";
//!     const IDEMPOTENT: bool = true;
//!     type Answer = u64;
//! }
//!
//! struct Prices;
//!
//! impl Service for Prices {
//!     fn methods(methods: Methods<Self>) -> Methods<Self> {
//!         methods.on::<Price>()
//!     }
//! }
//!
//! impl Handle<Price> for Prices {
//!     async fn handle(&self, _: Price, _: &Context) -> Result<u64, Failure> {
//!         Ok(250)
//!     }
//! }
//!
//! struct Catalog;
//!
//! impl Module for Catalog {
//!     fn name(&self) -> &str {
//!         "catalog"
//!     }
//!
//!     fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
//!         module.service(ServiceHost::new("prices", || Prices));
//!         Ok(())
//!     }
//! }
//!
//! struct Ordering;
//!
//! impl Module for Ordering {
//!     fn name(&self) -> &str {
//!         "ordering"
//!     }
//!
//!     fn requires(&self) -> &[&str] {
//!         &["catalog"]
//!     }
//!
//!     async fn on_startup(&self, context: &ModuleContext) -> Result<(), Failure> {
//!         let price = context.services().call("prices", Price { item: "tea".into() }).await?;
//!         println!("tea is {price}");
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::builder("shop").module(|| Ordering).module(|| Catalog).start().await?;
//! runtime.reload("catalog").await?; // no call fails
//! let why = runtime.unload("catalog", Dependents::Refuse).await.unwrap_err();
//! assert_eq!(
//!     why.to_string(),
//!     "module 'catalog' is required by 'ordering': unload them first, or cascade",
//! );
//! runtime.shutdown(Duration::from_secs(5)).await; // ordering, catalog
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! | start here | for |
//! |---|---|
//! | [`Module`], [`Registration`], [`ModuleContext`] | what a module is, declares, and finds around it |
//! | [`RuntimeBuilder`], [`Plan`], [`RuntimeConfig`], [`RuntimeOptions`] | what a runtime is made of |
//! | [`Secret`] | what a module's configuration has that is not to be shown |
//! | [`Runtime`], [`Dependents`] | running modules, and changing them while they run |
//! | [`ModuleView`], [`ModuleHealth`], [`ModuleChange`] | seeing what they do |
//! | [`Event`], [`Events`], [`EventStream`] | telling whoever listens |
//! | [`Directory`](umbel_services::Directory), [`EventBus`] | the seams to where services are found and events heard: one system, or a cluster's nodes by `umbel-cluster-modules` |
//!
//! # Features
//! None is on by default. `http`: modules have [`routes`](Module#method.routes) on one server, and there is an admin
//! API. `database`: the runtime has a database, and modules have [`migrations`](Module#method.migrations). Services
//! are those of `umbel-services`, which a program with services depends on itself.
//!
//! # What is guaranteed
//! A module is started when all that it requires is up, and stopped before any of it. One that fails
//! beyond what it bears is started again, and so are those that were started after it (rest-for-one).
//!
//! A reload starts the new instance beside the old one, waits until it is healthy, has it be given all
//! new calls, and lets the old one finish what it has. No call of a service fails for it, unless its
//! caller allows no second attempt, or the old instance does not finish within
//! [`RuntimeOptions::drain`]. Whatever goes wrong before the new one has taken over leaves the old one
//! serving. Each event is handled by one of the two; one that an instance was handling when it failed is lost.
//!
//! Between modules that may run on different nodes, use services and events: they are the same there.
//! What a module [offers](Registration::offer) is had in its own process only.
//!
//! # Bounds
//! One change of the modules is made at a time; others wait. Each hook has a time
//! ([`RuntimeOptions`]). A handler of events has [`SUBSCRIPTION_CAPACITY`](umbel_actors::SUBSCRIPTION_CAPACITY)
//! events waiting at most, and loses the oldest beyond that, which is counted
//! (`umbel_module_events_lost_total`, by module and topic) and logged.
//!
//! Beside Bento's runtime, feature by feature, with the tests that show it: [`comparison`].

mod builder;
pub mod comparison;
mod config;
mod context;
mod error;
mod events;
mod module;
mod offers;
mod options;
mod order;
mod registration;
mod runtime;
mod view;

pub use builder::{Plan, RuntimeBuilder};
#[cfg(feature = "database")]
pub use config::DatabaseConfig;
#[cfg(feature = "http")]
pub use config::{ADMIN_ADDRESS, AdminConfig, HttpConfig};
pub use config::{ENVIRONMENT_PREFIX, RuntimeConfig};
#[cfg(feature = "database")]
pub use context::NoDatabase;
pub use context::{ModuleContext, SectionError};
pub use error::{BuildError, LoadError, ReplaceError, StartRuntimeError, UnloadError};
pub use events::{
    Event, EventBus, EventError, EventSource, EventStream, Events, LocalEvents, Occurrence,
};
pub use module::{Module, Needs};
pub use offers::OfferError;
pub use options::RuntimeOptions;
pub use order::OrderError;
pub use registration::Registration;
pub use runtime::{Dependents, Ended, Runtime};
pub use umbel_secret::Secret;
pub use umbel_services::{ConfigError, ConfigFormat, Failure};
pub use view::{Change, MODULE_CHANGES, ModuleChange, ModuleHealth, ModuleState, ModuleView};
