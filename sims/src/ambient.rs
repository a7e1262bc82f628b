//! What a simulated thread gets when code on it asks the operating system for time, chance or threads.
//!
//! Umbel has its clock and its chance handed in, but not so all that runs beside it: a `HashMap` seeds its
//! hasher, `rand::rng()` itself, `Instant::now()` reads a clock. So this crate defines the functions of
//! libc that they end in, and the linker takes these for libc's in every binary that the crate is part
//! of. On a thread that is simulated they answer from its [`Ambient`]; on all others they hand on to libc.
//!
//! Not everything goes through libc: the instructions `rdrand` and `rdtsc`, system calls made by
//! assembly (rustix makes them so) and addresses (which hashbrown's own default hasher draws its seed from)
//! are not answered. Nor is what a process counts (`ThreadId`, ids of tokio's tasks, ractor's `ActorId`),
//! but for the count that tokio draws its chance from: that is seeded by [`Runtimes`]. Nor is what the thread
//! drew before it was simulated: std draws the keys of `RandomState` once a thread, rand the seed of its
//! generator. So a run takes a fresh thread.
//!
//! **Invariant:** all state is thread-local, in cells without a destructor, so that the functions can be
//! called at any time: before `main`, from an allocator, while a thread ends. They do not allocate,
//! panic, or call themselves.

mod force;
// All of this is made of libc's functions as they are where Linux is 64 bits wide, and of the dynamic
// linker, which finds the functions that these hide.
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    not(target_feature = "crt-static")
))]
mod libc_names;
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    not(target_feature = "crt-static")
))]
mod probes;
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    not(target_feature = "crt-static")
)))]
#[path = "ambient/elsewhere.rs"]
mod probes;
mod runtimes;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::chance::Chance;

pub use force::{NotInForce, in_force};
pub(crate) use runtimes::Runtimes;

/// 2026-01-01T00:00:00Z, since 1970: simulated runs begin some time after it.
const WALL_LEAST: Duration = Duration::from_secs(1_767_225_600);

/// Eight and a half years, which keeps runs before 2038.
const WALL_SPAN_SECONDS: u64 = 1 << 28;

/// 34 years of uptime. Linux counts `CLOCK_MONOTONIC` from boot, so no machine is ahead of this, and an
/// `Instant` of before the simulation is never later than one in it.
const MONOTONIC_LEAST: Duration = Duration::from_secs(1 << 30);

/// Two years; in nanoseconds, all of it stays well within 63 bits.
const MONOTONIC_SPAN_SECONDS: u64 = 1 << 26;

/// What a simulated thread takes for the operating system: a function of a seed.
///
/// The clocks stand still but for [`set_now`]; there is one CPU. A thread that is started is a breach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ambient {
    /// Where the draws begin.
    entropy: u64,
    /// How much was drawn, in steps of 8 bytes.
    drawn: u64,
    /// The wall clock at the start, since 1970.
    wall: Duration,
    /// The monotonic clock at the start.
    monotonic: Duration,
    /// How far the clocks have come since.
    now: Duration,
}

impl Ambient {
    /// What all runs of `seed` get.
    pub(crate) fn new(seed: u64) -> Self {
        Self::drawn_from(Chance::new(seed))
    }

    /// Other chance and other clocks than [`new`](Self::new) gives: a run may not depend on either.
    pub(crate) fn perturbed(seed: u64) -> Self {
        let mut apart = Chance::new(!seed);
        Self::drawn_from(Chance::new(apart.next()))
    }

    fn drawn_from(mut chance: Chance) -> Self {
        let entropy = chance.next();
        let mut after = |least: Duration, span_seconds| {
            let seconds = chance.next() % span_seconds;
            least + Duration::new(seconds, (chance.next() % 1_000_000_000) as u32)
        };
        Self {
            entropy,
            drawn: 0,
            wall: after(WALL_LEAST, WALL_SPAN_SECONDS),
            monotonic: after(MONOTONIC_LEAST, MONOTONIC_SPAN_SECONDS),
            now: Duration::ZERO,
        }
    }

    /// Runs `work` with this thread simulated, from the start of the clocks and of chance. Afterwards,
    /// also if it panics, the thread is again what it was. What it did that it must not is for
    /// [`take_breaches`], until the next `enter`.
    ///
    /// On leaving, the monotonic clock goes *back*, so an `Instant` of within is of no use outside.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        take_breaches();
        let _after = Restored(AMBIENT.replace(Some(*self)));
        work()
    }

    fn wall_now(&self) -> Duration {
        self.wall.saturating_add(self.now)
    }

    fn monotonic_now(&self) -> Duration {
        self.monotonic.saturating_add(self.now)
    }

    fn draw(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(size_of::<u64>()) {
            let word = Chance::new(self.entropy.wrapping_add(self.drawn)).next();
            self.drawn += 1;
            for (byte, drawn) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *byte = drawn;
            }
        }
    }
}

thread_local! {
    /// Of a thread that is simulated.
    static AMBIENT: Cell<Option<Ambient>> = const { Cell::new(None) };
    static THREADS_STARTED: Cell<u64> = const { Cell::new(0) };
    static WALL_CLOCK_READS: Cell<u64> = const { Cell::new(0) };
}

/// Puts back what the thread was.
struct Restored(Option<Ambient>);

impl Drop for Restored {
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

/// Sets both clocks of this thread to `since_start`. On a thread that is not simulated, nothing happens.
pub(crate) fn set_now(since_start: Duration) {
    if let Some(ambient) = AMBIENT.get() {
        AMBIENT.set(Some(Ambient { now: since_start, ..ambient }));
    }
}

/// Runs `work` with the operating system's own time, chance and threads, on whatever thread: to measure,
/// or to write to a file.
pub(crate) fn real<T>(work: impl FnOnce() -> T) -> T {
    let _after = Restored(AMBIENT.take());
    work()
}

/// What simulated code did that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// It started threads. They are real ones, which nothing here drives.
    Thread {
        /// How often.
        times: u64,
    },
    /// It read the wall clock of the machine, not that of its node: it got the simulation's, which no
    /// node's faults apply to.
    WallClock {
        /// How often.
        reads: u64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread { times } => write!(
                f,
                "simulated code has started a thread ({times}x), whose time is not the world's: use \
                 tokio::spawn, and no spawn_blocking"
            ),
            Self::WallClock { reads } => write!(
                f,
                "simulated code read the machine's wall clock ({reads}x): ask the node's Clock, not \
                 SystemTime::now"
            ),
        }
    }
}

/// What was done on this thread since it was asked last, or since [`Ambient::enter`].
pub(crate) fn take_breaches() -> Vec<Breach> {
    let (times, reads) = (THREADS_STARTED.take(), WALL_CLOCK_READS.take());
    let mut breaches = Vec::new();
    if times > 0 {
        breaches.push(Breach::Thread { times });
    }
    if reads > 0 {
        breaches.push(Breach::WallClock { reads });
    }
    breaches
}

// What follows is what libc's functions ask.

fn is_simulated() -> bool {
    AMBIENT.get().is_some()
}

/// Fills `bytes` if this thread is simulated; says whether it is.
fn draw(bytes: &mut [u8]) -> bool {
    let Some(mut ambient) = AMBIENT.get() else { return false };
    ambient.draw(bytes);
    AMBIENT.set(Some(ambient));
    true
}

/// The wall clock of a simulated thread; asking it is noted.
fn read_wall_clock() -> Option<Duration> {
    let ambient = AMBIENT.get()?;
    WALL_CLOCK_READS.set(WALL_CLOCK_READS.get().saturating_add(1));
    Some(ambient.wall_now())
}

/// The monotonic clock of a simulated thread.
fn read_monotonic_clock() -> Option<Duration> {
    AMBIENT.get().map(|ambient| ambient.monotonic_now())
}

/// A thread that is simulated may start none. One that does gets it, for tokio would wait for ever for
/// a thread that it was refused; that it did is noted.
fn note_thread() {
    if is_simulated() {
        THREADS_STARTED.set(THREADS_STARTED.get().saturating_add(1));
    }
}
