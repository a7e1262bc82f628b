//! Services as actors.
mod call;
mod chain;
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

pub use call::{Call, Context, RequestId};
pub use chain::{Chain, Next};
pub use config::{CONFIG_BYTES_MAX, ConfigError, ConfigFormat, ENVIRONMENT_PREFIX, ServicesConfig};
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
