//! Counters.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
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
