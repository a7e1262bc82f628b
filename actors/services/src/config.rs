//! Everything about services that can be set, in one file and by environment.

mod apply;
mod error;
mod read;
mod step;
mod value;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::error::ConfigError;
pub use self::read::{ConfigFormat, ConfigReader};
use self::step::Step;
use self::value::{Count, Number, Span};
use crate::policy::{Placement, Policy};

/// The prefix of the variables that go before what a file says.
pub const ENVIRONMENT_PREFIX: &str = "UMBEL_SERVICES_";

/// The most bytes of a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How services are called and run, as a file and the environment tell it.
///
/// What is said here goes before what the program says. Keys that there are not, and values that
/// cannot be, are refused, with the file, the line, and what was expected.
///
/// ```
/// use umbel_services::{ConfigFormat, ServicesConfig};
///
/// let config = r#"
///     [default]                        # every service
///     deadline = "10s"
///     middleware = [{ logging = {} }, { metrics = {} }]
///
///     [services.catalog]
///     placement = "remote"             # or "local", "anywhere"
///     policy = "least_loaded"
///     retries = 5
///     middleware = [
///         { circuit_breaker = { open_for = "5s" } },
///         { cache = { within = "30s", entries = 1000 } },
///     ]
///
///     [services.orders.host]           # how it is run, where it is started
///     workers = 4
///     queue = 500
/// "#;
/// ServicesConfig::parse(config, ConfigFormat::Toml, [])?;
///
/// let wrong = ServicesConfig::parse("[default]\ndeadline = 10", ConfigFormat::Toml, []);
/// assert_eq!(
///     wrong.unwrap_err().to_string(),
///     "configuration, line 2: invalid type: integer, expected a duration as text, such as \
///      \"30s\", with ms, s, m or h",
/// );
/// # Ok::<(), umbel_services::ConfigError>(())
/// ```
///
/// The same in YAML. In the environment, the catalog's retries are
/// `UMBEL_SERVICES_SERVICES__CATALOG__RETRIES`: [`ENVIRONMENT_PREFIX`], and the path to the key with
/// two underscores between its parts, all in upper case. (So a service whose name has upper case
/// letters can be set in a file only.)
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct ServicesConfig {
    #[serde(default)]
    pub(crate) handles: HandlesConfig,
    #[serde(default)]
    default: ServiceConfig,
    #[serde(default)]
    services: BTreeMap<String, ServiceConfig>,
}

/// What is kept of the services that are called.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(crate) struct HandlesConfig {
    pub(crate) max: Option<Count>,
    pub(crate) idle: Option<Span>,
}

/// How a service is called, and in `host`, how it is run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ServiceConfig {
    deadline: Option<Span>,
    attempt_deadline: Option<Span>,
    retries: Option<Number>,
    retry_after: Option<Span>,
    hedge_after: Option<Span>,
    resolve_within: Option<Span>,
    policy: Option<Policy>,
    placement: Option<Placement>,
    middleware: Option<Vec<Step>>,
    #[serde(default)]
    host: HostConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct HostConfig {
    workers: Option<Count>,
    queue: Option<Count>,
    queue_bytes: Option<Count>,
    queue_wait: Option<Span>,
    deadline: Option<Span>,
    remember: Option<Span>,
    remembered: Option<Count>,
    max_restarts: Option<Number>,
    restart_period: Option<Span>,
    health_interval: Option<Span>,
    health_timeout: Option<Span>,
    health_failures: Option<Count>,
    drain: Option<Span>,
    middleware: Option<Vec<Step>>,
}
