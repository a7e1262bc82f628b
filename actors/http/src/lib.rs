//! One HTTP server whose routes come and go while it runs.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use umbel_http::{HttpServer, Readiness, Routes};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let routes = Routes::new();
//! let server = HttpServer::builder(routes.clone())
//!     .listen("127.0.0.1:0")
//!     .ready(|| async { Readiness::new().ready("catalog") })
//!     .start()
//!     .await?;
//!
//! let catalog = Router::new().route("/tea", get(|| async { "250" }));
//! let mut mounted = routes.mount("/catalog", catalog)?;       // GET /catalog/tea
//!
//! let better = Router::new().route("/tea", get(|| async { "240" }));
//! let retired = mounted.replace(better);                      // no request fails
//! assert!(retired.idle(Duration::from_secs(5)).await);        // nor does one under way
//!
//! let cut = server.shutdown(Duration::from_secs(5)).await;
//! assert_eq!(cut, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! | start here | for |
//! |---|---|
//! | [`Routes`], [`Mounted`], [`Retired`] | what is mounted where, and changing it |
//! | [`HttpServer`], [`HttpServerBuilder`], [`HttpOptions`] | serving it |
//! | [`Readiness`], [`Metrics`] | what `/readyz` and `/metrics` tell |
//! | [`Problem`] | errors as RFC 9457 has them |
//! | [`Bearer`], [`Secret`] | letting in who has a token |
//!
//! # What handlers can rely on
//! A request goes to the router that was mounted when it came, and to the end: a replacement, an unmount or
//! a shutdown leave it alone, until the time that the latter was given is over. A handler is dropped
//! where it next waits when its client is gone or its [deadline](HttpOptions::deadline) has passed; if it
//! panics, 500 is answered, and the connection goes on. Errors without a body, or with one of at most 4 KiB
//! of plain text, are answered as problems with that text as the detail; all others as they are. The
//! client's address is there as axum's [`ConnectInfo`](axum::extract::ConnectInfo).
//!
//! # Bounds
//! Connections, heads, bodies, and the time that each may take: [`HttpOptions`]. There are at most
//! [`ROUTES_MAX`] routers, under prefixes of at most [`PREFIX_BYTES_MAX`] bytes.
//!
//! # What is counted
//! By [`metrics`](::metrics): `umbel_http_requests_total` by `prefix`, `method` and `status` (`2xx` and the like;
//! `gone` where the client was before there was an answer), `umbel_http_request_seconds` by `prefix` and
//! `method`, until the last of the answer is handed on, `umbel_http_requests_under_way` by `prefix`, and
//! `umbel_http_connections`. What nobody answers has the prefix `none`, methods of one's own are `other`:
//! clients cannot make labels. Each request is told to [`tracing`] once, at debug.

mod account;
mod asked;
mod bearer;
mod connection;
mod dispatch;
mod metrics;
mod options;
mod phase;
mod problem;
mod readiness;
mod routes;
mod server;
mod stream;

pub use bearer::{Bearer, BearerError, Guarded};
pub use metrics::{InstallError, Metrics};
pub use options::HttpOptions;
pub use problem::Problem;
pub use readiness::Readiness;
pub use routes::{MountError, Mounted, PREFIX_BYTES_MAX, RESERVED, ROUTES_MAX, Retired, Routes};
pub use server::{HttpServer, HttpServerBuilder, StartError};
pub use umbel_secret::Secret;
