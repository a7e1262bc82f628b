//! One trace over several nodes. In a file of its own, as there is one subscriber for a process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Span, Subscriber, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, System, TraceContext, Traces,
};
use umbel_cluster::{Authority, IssueOptions, Node};

/// Far beyond what anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// A span as it was collected.
#[derive(Clone, Debug)]
struct Seen {
    name: &'static str,
    actor: String,
    context: TraceContext,
    parent: Option<u64>,
}

/// Gives every span ids, as a tracer does, and keeps them.
#[derive(Clone, Default)]
struct Collector(Arc<Collected>);

#[derive(Default)]
struct Collected {
    spans: Mutex<Vec<(Id, Seen)>>,
    next: AtomicU64,
}

impl Collector {
    fn of(&self, id: &Id) -> Option<Seen> {
        let spans = self.0.spans.lock();
        // The last: ids are used again.
        spans.iter().rev().find(|(seen, _)| seen == id).map(|(_, seen)| seen.clone())
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        let spans = self.0.spans.lock();
        spans.iter().map(|(_, seen)| seen.clone()).filter(|seen| seen.name == name).collect()
    }
}

struct Actors(String);

impl tracing::field::Visit for Actors {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "actor" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut actor = Actors(String::new());
        attributes.record(&mut actor);
        let span = self.0.next.fetch_add(1, Ordering::SeqCst) + 1;
        // As usual: a child of the span around it, or the root of a new trace.
        let parent = context.lookup_current().and_then(|parent| self.of(&parent.id()));
        let trace = parent.as_ref().map_or(u128::from(span) << 64, |parent| parent.context.trace());
        let seen = Seen {
            name: attributes.metadata().name(),
            actor: actor.0,
            context: TraceContext::new(trace, span, 1).unwrap(),
            parent: parent.map(|parent| parent.context.span()),
        };
        self.0.spans.lock().push((id.clone(), seen));
    }
}

impl Traces for Collector {
    fn current(&self) -> Option<TraceContext> {
        let seen = self.of(&Span::current().id()?)?;
        Some(seen.context.with_state("house=umbel").unwrap())
    }

    fn go_on(&self, span: &Span, with: &TraceContext) {
        let Some(id) = span.id() else { return };
        assert_eq!(with.state(), "house=umbel");
        let mut spans = self.0.spans.lock();
        let (_, seen) = spans.iter_mut().rev().find(|(seen, _)| *seen == id).unwrap();
        seen.context = TraceContext::new(with.trace(), seen.context.span(), with.flags()).unwrap();
        seen.parent = Some(with.span());
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Hop {
    /// Tells the next, which answers.
    Through(Vec<Address<Hop>>, Reply<()>),
    /// Is large.
    Carry(Vec<u8>, Reply<()>),
    /// Was published.
    Heard(News),
}

#[derive(Clone, Message, Serialize, Deserialize)]
#[message(remote)]
struct News(Vec<u8>);

struct Hopper;

impl Actor for Hopper {
    type Msg = Hop;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Hop>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Hop>,
        hop: Hop,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match hop {
            Hop::Through(mut rest, reply) => match rest.pop() {
                Some(next) => next.tell(Hop::Through(rest, reply)).await?,
                None => reply.send(()),
            },
            Hop::Carry(_, reply) => reply.send(()),
            Hop::Heard(News(_)) => {}
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_spans_the_nodes_that_a_message_goes_through() {
    let collector = Collector::default();
    let subscriber = Registry::default().with(collector.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let authority = Authority::create("house".parse().unwrap()).unwrap();
    let start = async |name: &str, traces: bool, seeds: Option<String>| {
        let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
        let system = System::builder(name);
        let system = if traces { system.traces(collector.clone()) } else { system };
        let node = Node::builder().credentials(credentials).system(system.start());
        node.listen("127.0.0.1:0").join(seeds).start().await.unwrap()
    };
    let a = start("a", true, None).await;
    let b = start("b", true, a.address()).await;
    let plain = start("plain", false, a.address()).await;
    assert!(a.wait_for_peers(2, Duration::from_secs(20)).await);
    let on = async |node: &Node, name: &str| {
        let options = umbel_actors::SpawnOptions { name: Some(name.into()), ..Default::default() };
        let hopper = node.spawn_with(options, Hopper, ()).await.unwrap();
        node.register(name, &hopper).await.unwrap();
        a.resolve::<Hop>(name).await.unwrap()
    };
    let (first, second) = (on(&b, "first").await, on(&b, "second").await);
    let (home, aside) = (on(&a, "home").await, on(&plain, "aside").await);
    let heard = b.resolve::<Hop>("second").await.unwrap();
    let told = b.resolve::<Hop>("home").await.unwrap();

    // From a to b, there from one actor to another, and back to a.
    let request = info_span!("request");
    let asking = first.ask(|reply| Hop::Through(vec![home.clone(), second], reply));
    asking.instrument(request).await.unwrap();
    let request = collector.named("request").pop().unwrap();
    assert_eq!(request.parent, None);
    let handled: Vec<_> = collector
        .named("handle")
        .into_iter()
        .filter(|seen| seen.context.trace() == request.context.trace())
        .collect();
    let actors: Vec<_> = handled.iter().map(|seen| seen.actor.as_str()).collect();
    assert_eq!(actors, ["first", "second", "home"]);
    let mut cause = request.context.span();
    for seen in handled {
        assert_eq!(seen.parent, Some(cause), "{seen:?}");
        cause = seen.context.span();
    }

    // A message that is no frame of the data lane takes it along, too.
    let request = info_span!("carried");
    // (Large messages have threads of low priority, which a busy machine keeps waiting.)
    let asking = first.ask_within(SOON, |reply| Hop::Carry(vec![0; 2 << 20], reply));
    asking.instrument(request).await.unwrap();
    let request = collector.named("carried").pop().unwrap();
    let handled = collector.named("handle").pop().unwrap();
    assert_eq!(handled.context.trace(), request.context.trace());
    assert_eq!(handled.parent, Some(request.context.span()));

    // So does what is published: to an actor on the other node, and one that is told from there.
    let (news, there) = (a.topic::<News>("news").unwrap(), b.topic::<News>("news").unwrap());
    let _heard = there.forward(&heard, Hop::Heard).unwrap();
    let _told = there.forward(&told, Hop::Heard).unwrap();
    for (name, span, bytes) in
        [("small", info_span!("small"), 1), ("large", info_span!("large"), 2 << 20)]
    {
        let publish = async {
            while news.publish(News(vec![0; bytes])).await.unwrap().nodes == 0 {
                // It has not heard of the subscription yet.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        publish.instrument(span).await;
        let published = collector.named(name).pop().unwrap();
        let handled = || -> BTreeSet<_> {
            let handled = collector.named("handle").into_iter();
            let of = handled.filter(|seen| seen.context.trace() == published.context.trace());
            of.map(|seen| (seen.actor, seen.parent)).collect()
        };
        let wanted = ["home", "second"].map(|it| (it.to_owned(), Some(published.context.span())));
        let wait = async {
            while handled() != BTreeSet::from(wanted.clone()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(SOON, wait).await;
        assert!(waited.is_ok(), "{name}: {:?}", handled());
    }

    // A node that knows nothing of traces takes the message all the same, and loses the trace.
    let request = info_span!("aside");
    let asking = aside.ask(|reply| Hop::Through(vec![home], reply));
    asking.instrument(request).await.unwrap();
    let request = collector.named("aside").pop().unwrap();
    let handled = collector.named("handle");
    assert!(handled.iter().all(|seen| seen.context.trace() != request.context.trace()));
}
