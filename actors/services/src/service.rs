//! What a service is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::Context;
use crate::error::CallError;
use crate::failure::Failure;
use crate::method::Method;
use crate::payload::Payload;

/// A service: methods on one value, which all workers share.
///
/// It is run by a [`ServiceHost`](crate::ServiceHost), which makes a new value for each life of it.
pub trait Service: Send + Sync + Sized + 'static {
    /// Names the methods that it has.
    fn methods(methods: Methods<Self>) -> Methods<Self>;

    /// Called once, before the first request. A failure is one of the service: its supervisor tries
    /// again.
    fn on_start(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// Called once, after the last request, where the service ends in order.
    fn on_stop(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether all is well: asked once when it has started, before the first request, and then again and
    /// again. As long as it is not well it is given no work where there are others. A service that is not
    /// well several times in a row is ended and started anew; the first answer does not count for that.
    fn health(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }
}

/// How a service executes one of its methods.
pub trait Handle<M: Method>: Service {
    /// Executes a request. The future is dropped when nobody waits for the answer any more.
    ///
    /// A panic is told to the caller; the service goes on.
    fn handle(
        &self,
        request: M,
        context: &Context,
    ) -> impl Future<Output = Result<M::Answer, Failure>> + Send;
}

/// How a service executes several requests of a method at once.
pub trait HandleBatch<M: Method>: Service {
    /// Executes the requests, at least one; answers them in their order. For a request without an
    /// answer it is said that there was none.
    fn handle_batch(
        &self,
        requests: Vec<M>,
    ) -> impl Future<Output = Vec<Result<M::Answer, Failure>>> + Send;
}

/// The methods of a service, by name.
pub struct Methods<S> {
    by_name: BTreeMap<&'static str, usize>,
    entries: Vec<Entry<S>>,
    /// A name that was given twice.
    twice: Option<&'static str>,
}

pub(crate) struct Entry<S> {
    pub(crate) name: &'static str,
    pub(crate) execute: Execute<S>,
}

pub(crate) type Outcome = Result<Payload, CallError>;

/// The outcomes of a batch, in the order of its requests.
type Outcomes<'a> = BoxFuture<'a, Vec<Outcome>>;

pub(crate) enum Execute<S> {
    One(fn(&S, Context, Payload) -> BoxFuture<'_, Outcome>),
    Batch { max: usize, execute: fn(Arc<S>, Vec<Payload>) -> Outcomes<'static> },
}

impl<S: Service> Methods<S> {
    pub(crate) fn of_service() -> Self {
        S::methods(Self { by_name: BTreeMap::new(), entries: Vec::new(), twice: None })
    }

    /// Adds a method. A service that has two of the same name does not start.
    #[must_use]
    pub fn on<M: Method>(self) -> Self
    where
        S: Handle<M>,
    {
        self.add(Entry { name: M::NAME, execute: Execute::One(one::<S, M>) })
    }

    /// Adds a method that executes up to `max` requests at once (at least one): those that wait
    /// when a worker becomes free. None is waited for.
    #[must_use]
    pub fn on_batch<M: Method>(self, max: usize) -> Self
    where
        S: HandleBatch<M>,
    {
        let execute = Execute::Batch { max: max.max(1), execute: batch::<S, M> };
        self.add(Entry { name: M::NAME, execute })
    }

    fn add(mut self, entry: Entry<S>) -> Self {
        if self.by_name.insert(entry.name, self.entries.len()).is_some() {
            self.twice = Some(entry.name);
        }
        self.entries.push(entry);
        self
    }

    /// A name that was given twice.
    pub(crate) fn twice(&self) -> Option<&'static str> {
        self.twice
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn entry(&self, index: usize) -> &Entry<S> {
        &self.entries[index]
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<S> fmt::Debug for Methods<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

fn one<S: Handle<M>, M: Method>(
    service: &S,
    context: Context,
    request: Payload,
) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let request = request.take::<M>().map_err(bad::<M>)?;
        answered::<M>(service.handle(request, &context).await)
    })
}

fn batch<S: HandleBatch<M>, M: Method>(
    service: Arc<S>,
    requests: Vec<Payload>,
) -> Outcomes<'static> {
    Box::pin(async move {
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(requests.len());
        let mut good = Vec::with_capacity(requests.len());
        for request in requests {
            match request.take::<M>() {
                Ok(request) => {
                    good.push(request);
                    outcomes.push(None);
                }
                Err(why) => outcomes.push(Some(Err(bad::<M>(why)))),
            }
        }
        let answers = match good.is_empty() {
            true => Vec::new(),
            false => service.handle_batch(good).await,
        };
        let mut answers = answers.into_iter().map(answered::<M>);
        let next = |outcome: Option<Outcome>| {
            outcome.or_else(|| answers.next()).unwrap_or_else(|| {
                let why = "the batch had no answer for it".into();
                Err(CallError::BadAnswer { why })
            })
        };
        outcomes.into_iter().map(next).collect()
    })
}

fn bad<M: Method>(why: crate::payload::PayloadError) -> CallError {
    CallError::BadRequest { method: M::NAME.into(), why: why.to_string() }
}

fn answered<M: Method>(answer: Result<M::Answer, Failure>) -> Outcome {
    answer.map(Payload::new).map_err(CallError::Failed)
}
