use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::call::Call;
use crate::chain::{Chain, Link};
use crate::payload::Payload;
use crate::service::Outcome;

/// How answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How many at most; those that are seldom asked for go first. Default: 10,000.
    pub entries_max: u64,
    /// For how long. Default: 60 s.
    pub within: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { entries_max: 10_000, within: Duration::from_secs(60) }
    }
}

/// Answers of idempotent methods, kept for those who ask the same again: by service, method, headers
/// and request. By `moka`; its ages are told by tokio's clock.
///
/// Errors are not kept. Add it by [`Chain::cache`].
#[derive(Clone)]
pub struct Cache {
    within: Duration,
    kept: moka::sync::Cache<Key, Kept, BuildHasherDefault<DefaultHasher>>,
}

type Key = (Arc<str>, String, Vec<(String, String)>, Vec<u8>);

#[derive(Clone)]
struct Kept {
    answer: Payload,
    until: Instant,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: CacheOptions) -> Self {
        let kept = moka::sync::Cache::builder()
            .max_capacity(options.entries_max)
            .build_with_hasher(BuildHasherDefault::default());
        Self { within: options.within, kept }
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.kept.invalidate_all();
    }

    /// How many answers there are, those included that are too old.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.entry_count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Chain {
    /// Adds a cache, inside of what was added before.
    #[must_use]
    pub fn cache(self, cache: Cache) -> Self {
        self.link(move |next| Arc::new(Cached { cache: cache.clone(), next }))
    }
}

struct Cached {
    cache: Cache,
    next: Arc<dyn Link>,
}

impl Link for Cached {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        let Some(key) = key(&call) else { return self.next.call(call) };
        Box::pin(async move {
            let Cache { within, kept } = &self.cache;
            let labels = [("service", call.context.service.to_string())];
            if let Some(kept) = kept.get(&key).filter(|kept| Instant::now() < kept.until) {
                metrics::counter!("umbel_service_cache_hits_total", &labels).increment(1);
                return Ok(kept.answer);
            }
            metrics::counter!("umbel_service_cache_misses_total", &labels).increment(1);
            let answer = self.next.call(call).await?;
            let until = Instant::now() + *within;
            kept.insert(key, Kept { answer: answer.clone(), until });
            Ok(answer)
        })
    }
}

/// `None` where the answer may not be kept, or the request cannot be told from others.
fn key(call: &Call) -> Option<Key> {
    let context = &call.context;
    if !context.is_idempotent {
        return None;
    }
    let headers = context.headers.clone().into_iter().collect();
    let request = call.request.text().ok()?;
    Some((context.service.clone(), context.method.to_string(), headers, request))
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("within", &self.within).finish_non_exhaustive()
    }
}
