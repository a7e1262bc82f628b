//! Services as actors: typed methods behind a bounded queue and workers, called by name from
//! wherever, with deadlines, retries and middleware.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//! use umbel_actors::System;
//! use umbel_services::{
//!     Context, Failure, Handle, Method, Methods, Service, ServiceHost, ServiceManager,
//! };
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
//! struct Catalog;
//!
//! impl Service for Catalog {
//!     fn methods(methods: Methods<Self>) -> Methods<Self> {
//!         methods.on::<Price>()
//!     }
//! }
//!
//! impl Handle<Price> for Catalog {
//!     async fn handle(&self, Price { item }: Price, _: &Context) -> Result<u64, Failure> {
//!         match item.as_str() {
//!             "tea" => Ok(250),
//!             item => Err(Failure::new(format!("there is no {item}"))),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let services = ServiceManager::new(&System::new("shop"));
//! services.start(ServiceHost::new("catalog", || Catalog)).await?;
//!
//! let price = services.call("catalog", Price { item: "tea".into() }).await?;
//! assert_eq!(price, 250);
//! let price = services.call_json("catalog", "price", json!({ "item": "tea" })).await?;
//! assert_eq!(price, json!(250));
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! | start here | for |
//! |---|---|
//! | [`Method`], [`Service`], [`Handle`], [`HandleBatch`] | what a service is |
//! | [`ServiceHost`], [`HostOptions`] | running it: queue, workers, deadlines, health, restarts |
//! | [`Figures`] | how it does, in numbers |
//! | [`ServiceManager`], [`ServiceHandle`], [`CallOptions`] | calling it |
//! | [`BlockingServices`] | calling it from code that blocks |
//! | [`CallError`], [`Executed`] | what became of a request that was not answered |
//! | [`Chain`], [`Middleware`] | what calls go through, any [`tower::Layer`] included |
//! | [`CircuitBreaker`], [`Bulkhead`], [`RateLimit`], [`Cache`], [`Fallback`], [`Metering`], [`Logging`] | ready-made middleware |
//! | [`ServicesConfig`] | all of it in one file, and by environment |
//! | [`Directory`] | the seam to where services are found: [`LocalDirectory`], or a cluster's registry by `umbel-cluster-services` |
//!
//! # What is guaranteed
//! Every call ends with an answer, or with an error that says whether the request was
//! [executed](CallError::executed), at its deadline at the latest. One that may have been executed is
//! tried again only where its method is [idempotent](Method::IDEMPOTENT); the attempts of one call
//! have one [id](RequestId), and an instance that has executed it answers the next attempt with what
//! came of the first, for [so long](HostOptions::remember), over one life.
//!
//! Work that nobody waits for any more is not begun; when its deadline passes while it is under way, it
//! is dropped where it next waits.
//!
//! # Bounds
//! A host holds the requests of its [workers](HostOptions::workers), a queue of so many
//! [requests](HostOptions::queue) and [bytes](HostOptions::queue_bytes), and so many remembered
//! [outcomes](HostOptions::remembered), which are as large as the service makes them. A request that
//! would not be served within its caller's deadline, by how long requests take of late, is refused as
//! [busy](CallError::Busy) when it comes: so under overload what is done is done in time. A manager
//! holds the instances of so many [services](HANDLES_MAX).
//!
//! # Traces
//! A call has a span at its caller and one where it is executed ([`tracing`] target `umbel::service`, level
//! debug), with what OpenTelemetry's conventions for remote procedure calls have; an attempt that failed is an
//! event in the first. In a system with [`Traces`](umbel_actors::Traces) both are part of one trace, whichever
//! node the service is on.
//!
//! What is measured of it is in `cargo bench -p umbel-services`. Beside SAGE's runtime service, feature
//! by feature, with the tests that show it: [`comparison`].

mod call;
mod chain;
pub mod comparison;
mod config;
mod directory;
mod error;
mod failure;
mod figures;
mod host;
mod message;
mod method;
mod middleware;
mod payload;
mod policy;
mod service;
mod services;
mod spans;

pub use call::{Call, Context, RequestId};
pub use chain::{Chain, Next};
pub use config::{
    CONFIG_BYTES_MAX, ConfigError, ConfigFormat, ConfigReader, ENVIRONMENT_PREFIX, ServicesConfig,
};
pub use directory::{Directory, DirectoryError, Follow, Instance, LocalDirectory};
pub use error::{CallError, Executed};
pub use failure::Failure;
pub use figures::{Figures, ResponseTimes};
pub use host::{HostOptions, ServiceChild, ServiceHost, ServiceRef, ServiceView};
pub use message::{Request, ServiceMessage};
pub use method::Method;
pub use middleware::{
    BreakerChange, BreakerOptions, BreakerState, Bulkhead, Cache, CacheOptions, CircuitBreaker,
    Fallback, Flow, Logging, Metering, Middleware, RateLimit,
};
pub use payload::{Payload, PayloadError};
pub use policy::{Placement, Policy};
pub use service::{Handle, HandleBatch, Methods, Service};
pub use services::{
    BlockingHandle, BlockingServices, CallOptions, HANDLES_IDLE, HANDLES_MAX, Hosted,
    ServiceHandle, ServiceManager, ServiceManagerBuilder, ServiceOptions, StartServiceError,
};
