//! Collectors that are not there, that hang, that refuse. In a file of its own: what is logged about them
//! comes from the thread that sends, so there is one subscriber for the process.

mod receiver;

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use receiver::{Receiver, SOON};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};
use umbel_telemetry::{ShutdownError, Telemetry, TelemetryBuilder, TelemetryFigures};

/// What was logged about telemetry.
#[derive(Clone, Copy)]
struct Log(&'static Mutex<Vec<String>>);

impl Log {
    fn new() -> Self {
        static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| {
            let subscriber = Registry::default().with(Log(&LINES));
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        Self(&LINES)
    }

    fn about(self, collector: &str) -> Vec<String> {
        self.0.lock().iter().filter(|line| line.contains(collector)).cloned().collect()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "umbel::telemetry" {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
    }
}

fn builder(url: &str) -> TelemetryBuilder {
    Telemetry::builder("front").endpoint(url).export_every(Duration::from_millis(10))
}

/// Ends so many spans.
fn work(telemetry: &Telemetry, spans: usize) {
    tracing::subscriber::with_default(Registry::default().with(telemetry.layer()), || {
        for _ in 0..spans {
            tracing::info_span!("work").in_scope(|| ());
        }
    });
}

async fn until(telemetry: &Telemetry, holds: impl Fn(TelemetryFigures) -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds(telemetry.figures()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {}", telemetry.figures());
}

#[tokio::test]
async fn without_a_collector_work_goes_on_what_is_lost_is_counted_and_that_is_logged_once() {
    let log = Log::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let telemetry = builder(&format!("http://{nobody}")).queue(8).batch(4).start().unwrap();
    let mut spans = 0;
    while telemetry.figures().failed < 12 || telemetry.figures().dropped == 0 {
        work(&telemetry, 100);
        spans += 100;
        assert!(telemetry.figures().waiting <= 8);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until(&telemetry, |figures| figures.waiting == 0 && figures.failed + figures.dropped == spans)
        .await;
    let lines = log.about(&nobody);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("failed="), "{lines:?}");

    work(&telemetry, 3);
    let begun = Instant::now();
    let outcome = telemetry.shutdown(SOON).await;
    assert!(begun.elapsed() < SOON);
    // What the thread had in hands before was counted before.
    assert!(matches!(outcome, Ok(()) | Err(ShutdownError::Lost { spans: 1..=3 })), "{outcome:?}");
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_work_nor_the_end() {
    Log::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = listener.local_addr().unwrap();
    // Takes connections, and answers nothing.
    let connections = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    let telemetry = builder(&format!("http://{hangs}")).queue(8).start().unwrap();
    work(&telemetry, 1);
    until(&telemetry, |figures| figures.waiting == 0).await;
    work(&telemetry, 100_000);
    let figures = telemetry.figures();
    assert_eq!((figures.waiting, figures.dropped), (8, 100_000 - 8), "{figures}");

    let (begun, within) = (Instant::now(), Duration::from_millis(200));
    assert_eq!(telemetry.shutdown(within).await, Err(ShutdownError::TimedOut { within }));
    // The exporter itself would wait for ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    connections.abort();
}

#[tokio::test]
async fn when_a_collector_takes_spans_again_that_is_logged_too() {
    let log = Log::new();
    let receiver = Receiver::start().await;
    let collector = receiver.url();
    let telemetry = builder(&collector).start().unwrap();
    receiver.refuse(true);
    work(&telemetry, 3);
    until(&telemetry, |figures| figures.failed == 3).await;
    receiver.refuse(false);
    work(&telemetry, 2);
    until(&telemetry, |figures| figures.exported == 2).await;
    telemetry.shutdown(SOON).await.unwrap();
    let lines = log.about(&collector);
    let levels: Vec<_> = lines.iter().map(|line| &line[..4]).collect();
    assert_eq!(levels, ["WARN", "INFO"], "{lines:#?}");
    assert_eq!(receiver.spans().len(), 2);
}
