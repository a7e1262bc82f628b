//! One trace over the services that a request goes through. In a file of its own, as there is one
//! subscriber for a process.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Span, Subscriber, info_span};
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};
use umbel_actors::{System, TraceContext, Traces};
use umbel_services::{
    Context, Failure, Handle, Method, Methods, Service, ServiceHost, ServiceManager,
};

/// Gives every span ids, as a tracer does: a child has its parent's trace.
#[derive(Clone, Default)]
struct Tracer(Arc<Mutex<Vec<(Id, TraceContext)>>>);

impl Tracer {
    fn of(&self, id: &Id) -> Option<TraceContext> {
        let spans = self.0.lock();
        // The last: ids are used again.
        spans.iter().rev().find(|(seen, _)| seen == id).map(|(_, context)| context.clone())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tracer {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let current = || context.lookup_current().map(|parent| parent.id());
        let parent = match span.is_contextual() {
            true => current(),
            false => span.parent().cloned(),
        };
        let parent = parent.and_then(|parent| self.of(&parent));
        let mut spans = self.0.lock();
        let span = spans.len() as u64 + 1;
        let trace = parent.map_or(u128::from(span) << 64, |parent| parent.trace());
        spans.push((id.clone(), TraceContext::new(trace, span, 1).unwrap()));
    }
}

impl Traces for Tracer {
    fn current(&self) -> Option<TraceContext> {
        self.of(&Span::current().id()?)
    }

    fn go_on(&self, span: &Span, with: &TraceContext) {
        let Some(id) = span.id() else { return };
        let mut spans = self.0.lock();
        let (_, context) = spans.iter_mut().rev().find(|(seen, _)| *seen == id).unwrap();
        *context = TraceContext::new(with.trace(), context.span(), with.flags()).unwrap();
    }
}

/// Answers in which traces it was executed, in all services that it went through.
#[derive(Clone, Serialize, Deserialize)]
struct Trace {
    through: Vec<String>,
}

impl Method for Trace {
    const NAME: &'static str = "trace";
    type Answer = Vec<Option<u64>>;
}

struct Stage {
    tracer: Tracer,
    services: ServiceManager,
}

impl Service for Stage {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Trace>()
    }
}

impl Handle<Trace> for Stage {
    async fn handle(
        &self,
        Trace { mut through }: Trace,
        _: &Context,
    ) -> Result<Vec<Option<u64>>, Failure> {
        tokio::task::yield_now().await;
        let mut traces = match through.pop() {
            Some(next) => self.services.call(&next, Trace { through }).await?,
            None => Vec::new(),
        };
        traces.push(self.tracer.current().map(|context| (context.trace() >> 64) as u64));
        Ok(traces)
    }
}

#[tokio::test]
async fn one_trace_goes_through_all_services_and_no_other_request_is_in_it() {
    let tracer = Tracer::default();
    tracing::subscriber::set_global_default(Registry::default().with(tracer.clone())).unwrap();
    let system = System::builder("test").seed(1).traces(tracer.clone()).start();
    let services = ServiceManager::new(&system);
    for name in ["a", "b", "c"] {
        let (tracer, manager) = (tracer.clone(), services.clone());
        let make = move || Stage { tracer: tracer.clone(), services: manager.clone() };
        services.start(ServiceHost::new(name, make)).await.unwrap();
    }
    let request = |span: Span| {
        let trace = tracer.of(&span.id().unwrap()).unwrap().trace() >> 64;
        let services = services.clone();
        let call = async move {
            let through = vec!["c".to_owned(), "b".to_owned()];
            (trace as u64, services.call("a", Trace { through }).await.unwrap())
        };
        call.instrument(span)
    };
    let requests = [(); 5].map(|()| tokio::spawn(request(info_span!(parent: None, "request"))));
    let mut seen = std::collections::BTreeSet::new();
    for request in requests {
        let (trace, traces) = request.await.unwrap();
        assert_eq!(traces, [Some(trace); 3]);
        assert!(seen.insert(trace));
    }
}
