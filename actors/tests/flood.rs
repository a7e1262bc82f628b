//! A flood of tells at a slow actor: its senders wait, and memory does not grow.
//!
//! The full flood has ten million messages. Without optimisation each costs several times the
//! microsecond that the actor takes for it, so a debug build sends a tenth of them;
//! `UMBEL_FLOOD=10000000` sets another number in any build.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, MAILBOX_CAPACITY, Message, System};

const MESSAGES: u64 = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
const WORK: Duration = Duration::from_micros(1);
const GROWTH_MAX: u64 = 64 << 20;
/// Memory is looked at after each so many messages, as that takes a system call or three.
const LOOK_EVERY: u64 = 4096;

#[derive(Message)]
struct Drop(#[expect(dead_code, reason = "it is there to take up room")] u64);

/// Takes its time over each drop, and counts them.
struct Bucket(Arc<AtomicU64>);

impl Actor for Bucket {
    type Msg = Drop;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Drop>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Drop>,
        _: Drop,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let begun = Instant::now();
        while begun.elapsed() < WORK {
            std::hint::spin_loop();
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The memory of this process that is in RAM; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[derive(Default)]
struct Seen {
    waits: u64,
    depth_max: u64,
    unhandled_max: u64,
    resident_max: Option<u64>,
}

async fn flood(messages: u64) -> Seen {
    let handled = Arc::new(AtomicU64::new(0));
    let system = System::builder("flood").seed(1).start();
    let bucket = system.spawn(Bucket(handled.clone()), ()).await.unwrap();
    let mut seen = Seen::default();
    for sent in 1..=messages {
        let mut tell = pin!(bucket.tell(Drop(sent)));
        let mut waited = false;
        let told = poll_fn(|cx| {
            let told = tell.as_mut().poll(cx);
            waited |= told.is_pending();
            told
        });
        told.await.unwrap();
        seen.waits += u64::from(waited);
        seen.depth_max = seen.depth_max.max(bucket.depth().unwrap());
        seen.unhandled_max = seen.unhandled_max.max(sent - handled.load(Ordering::Relaxed));
        if sent % LOOK_EVERY == 0 {
            seen.resident_max = seen.resident_max.max(resident_bytes());
        }
    }
    while handled.load(Ordering::Relaxed) < messages {
        tokio::task::yield_now().await;
    }
    assert_eq!(bucket.depth(), Some(0));
    system.shutdown(Duration::from_secs(5)).await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_makes_its_sender_wait_and_does_not_grow_memory() {
    let messages = match std::env::var("UMBEL_FLOOD") {
        Ok(number) => number.parse().expect("UMBEL_FLOOD is a number of messages"),
        Err(_) => MESSAGES,
    };
    let before = resident_bytes();
    let begun = Instant::now();
    // On a worker, as senders usually are.
    let seen = tokio::spawn(flood(messages)).await.unwrap();
    let took = begun.elapsed();
    let capacity = MAILBOX_CAPACITY as u64;
    println!(
        "{messages} messages in {took:?}; waited {} times; at most {} in the mailbox",
        seen.waits, seen.depth_max
    );
    assert!(seen.depth_max <= capacity, "{} messages in the mailbox", seen.depth_max);
    // Counted without the mailbox's own account: one more may be in the actor's hands, and one
    // told but not yet counted.
    assert!(seen.unhandled_max <= capacity + 2, "{} messages under way", seen.unhandled_max);
    if messages > 100 * capacity {
        assert!(seen.waits > 0, "the sender never waited");
    }
    match before.zip(seen.resident_max) {
        Some((before, most)) => {
            let growth = most.saturating_sub(before);
            println!(
                "resident memory: {} KiB before, {} KiB more at most",
                before >> 10,
                growth >> 10
            );
            assert!(growth <= GROWTH_MAX, "resident memory grew by {growth} bytes");
        }
        None => println!("this system does not tell resident memory: that figure is left out"),
    }
}
