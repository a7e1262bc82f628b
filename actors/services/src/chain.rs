//! What a call goes through before it is executed, and its answer after that.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use parking_lot::Mutex;
use tower::{Layer, ServiceExt};

use crate::call::Call;
use crate::error::CallError;
use crate::middleware::{CircuitBreaker, Flow, Middleware};
use crate::payload::Payload;
use crate::service::Outcome;

/// What executes a call, or hands it on to what does.
pub(crate) trait Link: Send + Sync {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome>;
}

/// The middleware that calls go through: [`Middleware`] and [`tower`] layers, the first that was
/// added outermost.
///
/// Cheap to clone. Clones share their middleware: two services with the same chain have one rate
/// limit, say.
///
/// ```
/// use std::time::Duration;
/// use umbel_services::{Bulkhead, Chain, Logging, RateLimit};
///
/// let chain = Chain::new()
///     .with(Logging::new())
///     .with(RateLimit::per_second(100).burst(200))
///     .bulkhead(Bulkhead { concurrent_max: 25, ..Bulkhead::default() })
///     .layer(tower::limit::GlobalConcurrencyLimitLayer::new(50));
/// assert_eq!(chain.len(), 4);
/// ```
#[derive(Clone, Default)]
pub struct Chain {
    makers: Vec<Maker>,
    pub(crate) breakers: Vec<CircuitBreaker>,
}

type Maker = Arc<dyn Fn(Arc<dyn Link>) -> Arc<dyn Link> + Send + Sync>;

impl Chain {
    /// A chain without middleware.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a middleware, inside of those that were added before.
    #[must_use]
    pub fn with(self, middleware: impl Middleware) -> Self {
        let middleware = Arc::new(middleware);
        self.link(move |next| Arc::new(Hooked { middleware: middleware.clone(), next }))
    }

    /// Adds a [`tower`] layer, inside of what was added before. What it makes must be `Clone`, as
    /// for axum: wrap what is not in a [`tower::buffer`](https://docs.rs/tower/latest/tower/buffer).
    ///
    /// An error of the layer's own becomes [`CallError::Layer`], where it holds no [`CallError`].
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Next> + Send + Sync + 'static,
        L::Service: tower::Service<Call, Response = Payload> + Clone + Send + 'static,
        <L::Service as tower::Service<Call>>::Error: Into<tower::BoxError>,
        <L::Service as tower::Service<Call>>::Future: Send + 'static,
    {
        self.link(move |next| Arc::new(Layered(Mutex::new(layer.layer(Next(next))))))
    }

    /// All of `inner`, inside of what was added before.
    #[must_use]
    pub fn then(mut self, inner: &Self) -> Self {
        self.makers.extend(inner.makers.iter().cloned());
        self.breakers.extend(inner.breakers.iter().cloned());
        self
    }

    /// The circuit breakers in it: their states, their events.
    #[must_use]
    pub fn circuit_breakers(&self) -> &[CircuitBreaker] {
        &self.breakers
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.makers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.makers.is_empty()
    }

    pub(crate) fn link(
        mut self,
        maker: impl Fn(Arc<dyn Link>) -> Arc<dyn Link> + Send + Sync + 'static,
    ) -> Self {
        self.makers.push(Arc::new(maker));
        self
    }

    /// The chain around what executes.
    pub(crate) fn around(&self, innermost: Arc<dyn Link>) -> Arc<dyn Link> {
        self.makers.iter().rev().fold(innermost, |next, maker| maker(next))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("len", &self.len()).finish()
    }
}

struct Hooked<M> {
    middleware: Arc<M>,
    next: Arc<dyn Link>,
}

impl<M: Middleware> Link for Hooked<M> {
    fn call(&self, mut call: Call) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            if let Flow::Answer(answer) = self.middleware.before(&mut call).await? {
                return Ok(answer);
            }
            let context = call.context.clone();
            match self.next.call(call).await {
                Ok(answer) => self.middleware.after(&context, answer).await,
                Err(why) => self.middleware.on_error(&context, why).await,
            }
        })
    }
}

/// The rest of a chain, as the [`tower::Service`] that layers are put around. It is always ready.
#[derive(Clone)]
pub struct Next(Arc<dyn Link>);

impl tower::Service<Call> for Next {
    type Response = Payload;
    type Error = CallError;
    type Future = BoxFuture<'static, Outcome>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let next = self.0.clone();
        Box::pin(async move { next.call(call).await })
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// Behind a lock, for a layer's service need not be `Sync`: each call has a clone.
struct Layered<S>(Mutex<S>);

impl<S> Link for Layered<S>
where
    S: tower::Service<Call, Response = Payload> + Clone + Send + 'static,
    S::Error: Into<tower::BoxError>,
    S::Future: Send + 'static,
{
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        let mut service = self.0.lock().clone();
        Box::pin(async move {
            service.ready().map(|ready| ready.map(drop).map_err(called)).await?;
            service.call(call).map_err(called).await
        })
    }
}

/// An error of a layer, as one of the call.
fn called(why: impl Into<tower::BoxError>) -> CallError {
    match why.into().downcast::<CallError>() {
        Ok(why) => *why,
        Err(why) => CallError::Layer { why: why.to_string() },
    }
}
