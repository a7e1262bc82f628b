//! Traces over HTTP, services, actors and nodes, sent to an OpenTelemetry collector.
//!
//! A crate of its own: who wants no OpenTelemetry does not compile it. It connects three things that know
//! nothing of each other: the spans of [`tracing`], the [`Traces`](umbel_actors::Traces) that travel with
//! messages, and the headers of HTTP requests, by W3C Trace Context.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use umbel_actors::System;
//! use umbel_telemetry::{HttpTraces, Telemetry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::builder("shop").attribute("umbel.node", "a").init()?;
//! let system = System::builder("shop").traces(telemetry.traces()).start();
//! let router: axum::Router = axum::Router::new().layer(HttpTraces::new());
//! // ... serve the router, call services from it ...
//! # drop((router, system));
//! telemetry.shutdown(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With that, a request that comes in by HTTP is one trace over all that it causes:
//!
//! | span | kind | where |
//! |---|---|---|
//! | `GET /orders/{id}` | server | [`HttpTraces`], around a router |
//! | `catalog/price` | client | a call by `umbel-services`, over all its attempts, which are events in it |
//! | `handle umbel.ServiceMessage` | internal | a message at the actor that gets it, on whichever node; so for all actors |
//! | `catalog/price` | server | the request in a worker's hands, which says how long it waited |
//!
//! A message that belongs to no trace begins none.
//!
//! # Where things are
//! | start here | for |
//! |---|---|
//! | [`Telemetry`], [`TelemetryBuilder`] | sending spans: where to, which, how many wait; what the environment says |
//! | [`OpenTelemetryTraces`] | the traces of a [`System`](umbel_actors::System) |
//! | [`HttpTraces`] | requests that come in |
//! | [`inject_current`], [`inject`], [`extract`] | headers of requests that go out, and of others |
//! | [`TelemetryFigures`] | what has become of spans |
//!
//! # Bounds
//! So many spans [wait](TelemetryBuilder::queue) and so many are [under way](TelemetryBuilder::batch); what
//! comes beside that is lost, and counted (`umbel_telemetry_spans_total`, by outcome). That is logged once a
//! [minute](TELL_EVERY) at most. A span has at most 128 attributes, events and links each, by OpenTelemetry's
//! defaults. A collector that cannot be reached, or hangs, delays nobody but the thread that sends.
//!
//! Ids of traces are drawn from the operating system's randomness, and times are of the wall clock: neither
//! is the simulation's.

mod account;
mod bridge;
mod builder;
mod endpoint;
mod environment;
mod error;
mod headers;
mod http;
mod pipeline;
mod telemetry;

pub use self::account::{TELL_EVERY, TelemetryFigures};
pub use self::bridge::OpenTelemetryTraces;
pub use self::builder::{ENDPOINT, TelemetryBuilder};
pub use self::error::{ShutdownError, TelemetryError};
pub use self::headers::{extract, inject, inject_current};
pub use self::http::{HttpTraced, HttpTracedFuture, HttpTraces, PATH_BYTES_MAX};
pub use self::telemetry::Telemetry;
