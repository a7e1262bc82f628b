//! Spans and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply, System};

#[derive(Message)]
enum Work {
    Nothing,
    Fail,
    Done(Reply<()>),
}

struct Worker;

impl Actor for Worker {
    type Msg = Work;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Work>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Work>,
        work: Work,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match work {
            Work::Nothing => {}
            Work::Fail => return Err("told to".into()),
            Work::Done(reply) => reply.send(()),
        }
        Ok(())
    }
}

/// Sends ten messages, asks once, then lets the worker fail with two more behind.
fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let system = System::new("test");
        let worker = system.spawn(Worker, ()).await.unwrap();
        for _ in 0..10 {
            worker.tell(Work::Nothing).await.unwrap();
        }
        worker.ask(Work::Done).await.unwrap();
        let end = worker.watch();
        for work in [Work::Fail, Work::Nothing, Work::Nothing] {
            worker.tell(work).await.unwrap();
        }
        end.await;
    });
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
    tracing::subscriber::with_default(spans, run);
    assert_eq!(entered.load(Ordering::Relaxed), 12);
}

#[test]
fn messages_starts_failures_and_dead_letters_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, run);
    let counted = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let DebugValue::Counter(count) = value else { return None };
        Some((key.key().name().to_owned(), count))
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort();
    let counted: Vec<_> = counted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(
        counted,
        [
            ("umbel_actors_failed_total", 1),
            ("umbel_actors_started_total", 1),
            ("umbel_dead_letters_total", 2),
            ("umbel_messages_handled_total", 12),
        ]
    );
}
