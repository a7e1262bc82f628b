//! Spans. In a file of its own: `tracing` remembers for the whole process whether anybody wants a
//! span, and another test that wants none could have asked first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, System};

#[derive(Message)]
struct Nothing;

struct Worker;

impl Actor for Worker {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// Counts the spans of messages, and enables nothing else.
struct Spans {
    entered: Arc<AtomicU64>,
    next: AtomicU64,
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "umbel::message"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        assert_eq!(span.metadata().name(), "handle");
        let fields: Vec<_> = span.metadata().fields().iter().map(|field| field.name()).collect();
        assert_eq!(fields, ["actor", "message"]);
        self.entered.fetch_add(1, Ordering::Relaxed);
        Id::from_u64(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn each_message_has_one_span_where_spans_are_wanted() {
    let entered = Arc::new(AtomicU64::new(0));
    let spans = Spans { entered: entered.clone(), next: AtomicU64::new(0) };
    tracing::subscriber::with_default(spans, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let system = System::new("test");
            let worker = system.spawn(Worker, ()).await.unwrap();
            for _ in 0..10 {
                worker.tell(Nothing).await.unwrap();
            }
            while worker.depth() != Some(0) {
                tokio::task::yield_now().await;
            }
        });
    });
    assert_eq!(entered.load(Ordering::Relaxed), 10);
}
