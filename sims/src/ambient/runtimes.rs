//! Runtimes whose own chance is seeded.
//!
//! tokio draws, too: which branch of an unbiased `select!` is tried first, which of those who wait for a
//! `watch` is woken first. All runtimes of one [`Builder`] draw from the seed that it was made with. That is
//! a hash of how many seeds the *process* has made, so the same run a second time, or beside another test,
//! would be another run. The method that sets it, `Builder::rng_seed`, exists only where the whole
//! program is compiled with `--cfg tokio_unstable`, which is not for a library to ask for.
//!
//! So the seed is found where it lies in the builder, and written over. That cannot go wrong silently: the
//! hasher's keys are ours (they come from an [`Ambient`]), so it is known what it can be, and it is found
//! by all of its 64 bits or not at all. This is known of tokio 1.54.

#![allow(unsafe_code, reason = "a field of tokio's, private without `tokio_unstable`, is set")]

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::thread;

use tokio::runtime::Builder;

use super::{Ambient, NotInForce, real};
use crate::chance::Chance;

/// So many seeds may the process have made: a few for each run, which takes milliseconds at least.
const MADE_MAX: u32 = 1 << 24;

/// tokio takes a seed of 64 bits as two words.
#[cfg(unix)]
const WORD: usize = size_of::<u32>();

/// A builder of current-thread runtimes, of whose chance a seed decides.
#[derive(Debug)]
pub(crate) struct Runtimes {
    builder: Builder,
    /// Where the upper word of the seed lies in the builder, and the lower one, counted in words.
    upper: usize,
    lower: usize,
}

impl Runtimes {
    /// Starts two threads, so a program that runs many seeds keeps what it gets.
    pub(crate) fn new() -> Result<Self, NotInForce> {
        // Two threads that are told the same draw the same keys for their first hasher (before anything
        // else is drawn, as by an allocator), and count them up for their second: one lets us have that,
        // the other has tokio take it.
        let ambient = Ambient::new(0);
        let keys = on_a_fresh_thread(move || {
            ambient.enter(|| {
                let _ = RandomState::new();
                RandomState::new()
            })
        })?;
        let builder = on_a_fresh_thread(move || {
            ambient.enter(|| {
                let _ = RandomState::new();
                Builder::new_current_thread()
            })
        })?;
        let words = words(&builder)?;
        let (upper, lower) = place(&words, &keys).ok_or(NotInForce::Tokio)?;
        Ok(Self { builder, upper, lower })
    }

    /// The builder. The runtimes that it builds from here on draw what `seed` has them draw, each something
    /// else; what else is set on it stays set.
    pub(crate) fn seeded(&mut self, seed: u64) -> &mut Builder {
        let drawn = Chance::new(seed).next();
        // tokio's generator stands still at zero.
        let drawn = if drawn == 0 { 1 } else { drawn };
        let builder = (&raw mut self.builder).cast::<u32>();
        // SAFETY: `place` has found both words within the builder, which nobody else has, and they are a
        // seed: two integers, of which any will do that are not both zero.
        unsafe {
            builder.add(self.upper).write((drawn >> 32) as u32);
            builder.add(self.lower).write(drawn as u32);
        }
        &mut self.builder
    }
}

fn on_a_fresh_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let done = real(|| thread::Builder::new().spawn(work))?.join();
    Ok(done.expect("making a hasher or a builder does not panic"))
}

/// What the builder consists of. Some of it has no value, as padding has none, so that it cannot be read
/// here; the kernel takes whatever lies there.
#[cfg(unix)]
fn words(builder: &Builder) -> io::Result<Vec<u32>> {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    const { assert!(align_of::<Builder>().is_multiple_of(WORD)) };
    let mut bytes = vec![0; size_of::<Builder>()];
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: so many bytes lie there as long as the builder is borrowed.
    let written =
        unsafe { libc::write(writer.as_raw_fd(), std::ptr::from_ref(builder).cast(), bytes.len()) };
    if written < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(writer);
    reader.read_exact(&mut bytes)?;
    let (words, _) = bytes.as_chunks::<WORD>();
    Ok(words.iter().copied().map(u32::from_ne_bytes).collect())
}

/// Nothing is simulated there, whatever the builder consists of.
#[cfg(not(unix))]
fn words(_: &Builder) -> Result<Vec<u32>, NotInForce> {
    Err(NotInForce::Platform)
}

/// Where a seed lies that a hasher with these keys makes: its upper and its lower word.
fn place(words: &[u32], keys: &RandomState) -> Option<(usize, usize)> {
    let seed = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
    let mut places = BTreeMap::new();
    for (index, pair) in words.windows(2).enumerate() {
        places.insert(seed(pair[0], pair[1]), (index, index + 1));
        places.insert(seed(pair[1], pair[0]), (index + 1, index));
    }
    (1..MADE_MAX).find_map(|made| places.get(&keys.hash_one(made)).copied())
}

#[cfg(test)]
#[path = "runtimes_tests.rs"]
mod tests;
