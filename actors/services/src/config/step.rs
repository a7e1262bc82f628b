//! Middleware, as a configuration names it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::value::{Count, Number, Share, Span};
use crate::chain::Chain;
use crate::middleware::{
    BreakerOptions, Bulkhead, Cache, CacheOptions, CircuitBreaker, Fallback, Logging, Metering,
    RateLimit,
};

/// One middleware: a table with one key, its kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Logging,
    Metrics,
    RateLimit(RateLimitConfig),
    ConcurrencyLimit(ConcurrencyConfig),
    Bulkhead(BulkheadConfig),
    Cache(CacheConfig),
    Fallback(FallbackConfig),
    CircuitBreaker(BreakerConfig),
}

/// Not an enum of serde's: in YAML those need tags, and what they hold has no line in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kinds {
    logging: Option<Nothing>,
    metrics: Option<Nothing>,
    rate_limit: Option<RateLimitConfig>,
    concurrency_limit: Option<ConcurrencyConfig>,
    bulkhead: Option<BulkheadConfig>,
    cache: Option<CacheConfig>,
    fallback: Option<FallbackConfig>,
    circuit_breaker: Option<BreakerConfig>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an empty table")]
struct Nothing {}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RateLimitConfig {
    per_second: Count,
    burst: Option<Count>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ConcurrencyConfig {
    calls: Count,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct BulkheadConfig {
    concurrent: Option<Count>,
    waiting: Option<Number>,
    wait: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct CacheConfig {
    entries: Option<Count>,
    within: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct FallbackConfig {
    method: String,
    value: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct BreakerConfig {
    window: Option<Count>,
    calls_min: Option<Count>,
    failed_share: Option<Share>,
    open_for: Option<Span>,
    trials: Option<Count>,
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with the kind of a middleware, such as `logging`")
            }

            // Within the table: so an error has its line.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                let kinds = Kinds::deserialize(MapAccessDeserializer::new(map))?;
                Step::try_from(kinds).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl TryFrom<Kinds> for Step {
    type Error = String;

    fn try_from(kinds: Kinds) -> Result<Self, String> {
        let all = [
            kinds.logging.map(|Nothing {}| Kind::Logging),
            kinds.metrics.map(|Nothing {}| Kind::Metrics),
            kinds.rate_limit.map(Kind::RateLimit),
            kinds.concurrency_limit.map(Kind::ConcurrencyLimit),
            kinds.bulkhead.map(Kind::Bulkhead),
            kinds.cache.map(Kind::Cache),
            kinds.fallback.map(Kind::Fallback),
            kinds.circuit_breaker.map(Kind::CircuitBreaker),
        ];
        let mut all = all.into_iter().flatten();
        match (all.next(), all.next()) {
            (Some(kind), None) => Ok(Self(kind)),
            (None, _) => {
                Err("a middleware without its kind, expected one such as `logging`".into())
            }
            (Some(_), Some(_)) => {
                Err("two kinds of middleware in one, expected one: they have an order".into())
            }
        }
    }
}

/// The chain of these, for a service of this name.
pub(super) fn chain(steps: &[Step], service: &str) -> Chain {
    steps.iter().fold(Chain::new(), |chain, Step(kind)| match kind {
        Kind::Logging => chain.with(Logging::new()),
        Kind::Metrics => chain.with(Metering::new()),
        Kind::RateLimit(RateLimitConfig { per_second, burst }) => {
            let number = |count: &Count| u32::try_from(count.0).unwrap_or(u32::MAX);
            let limit = RateLimit::per_second(number(per_second));
            chain.with(match burst {
                Some(burst) => limit.burst(number(burst)),
                None => limit,
            })
        }
        Kind::ConcurrencyLimit(ConcurrencyConfig { calls }) => chain.concurrency_limit(calls.0),
        Kind::Bulkhead(BulkheadConfig { concurrent, waiting, wait }) => {
            let default = Bulkhead::default();
            chain.bulkhead(Bulkhead {
                concurrent_max: concurrent.map_or(default.concurrent_max, |count| count.0),
                waiting_max: waiting.map_or(default.waiting_max, |number| number.0 as usize),
                wait: wait.map_or(default.wait, |span| span.0),
            })
        }
        Kind::Cache(CacheConfig { entries, within }) => {
            let default = CacheOptions::default();
            chain.cache(Cache::new(CacheOptions {
                entries_max: entries.map_or(default.entries_max, |count| count.0 as u64),
                within: within.map_or(default.within, |span| span.0),
            }))
        }
        Kind::Fallback(FallbackConfig { method, value }) => {
            chain.with(Fallback::value(method, value.clone()))
        }
        Kind::CircuitBreaker(config) => {
            let default = BreakerOptions::default();
            let count = |count: Option<Count>, default| count.map_or(default, |count| count.0);
            chain.circuit_breaker(&CircuitBreaker::new(
                service,
                BreakerOptions {
                    window: count(config.window, default.window),
                    calls_min: count(config.calls_min, default.calls_min),
                    failed_share: config.failed_share.map_or(default.failed_share, |it| it.0),
                    open_for: config.open_for.map_or(default.open_for, |span| span.0),
                    trials: count(config.trials, default.trials),
                },
            ))
        }
    })
}
