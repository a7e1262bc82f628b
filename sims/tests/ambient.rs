//! That simulated code can be answered in any program that this crate is linked into, and that all other
//! code of the program runs as before, at any time of its life.

#![allow(
    unsafe_code,
    reason = "an allocator that asks is the proof that the functions never allocate"
)]
#![allow(clippy::disallowed_methods, reason = "std's own clock is what the allocator asks")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Asks for time and chance whenever memory is wanted or given back: before `main`, while threads begin and
/// end, within the standard library's own start.
struct Curious;

fn ask() {
    let mut chance = [0; 9];
    getrandom_02::getrandom(&mut chance).expect("there is chance");
    getrandom_03::fill(&mut chance).expect("there is chance");
    assert!(Instant::now().elapsed() < Duration::from_secs(86_400));
    assert!(SystemTime::UNIX_EPOCH.elapsed().is_ok());
}

// SAFETY: all is `System`'s; the questions between allocate nothing, or this would not end.
unsafe impl GlobalAlloc for Curious {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ask();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Curious = Curious;

#[test]
fn everything_is_in_force_in_a_program_that_links_the_crate() {
    umbel_sims::in_force().expect("this is a platform on which it is");
}

#[test]
fn a_thread_that_ends_can_still_ask() {
    struct AsksAtTheEnd(Cell<Option<Box<u8>>>);
    impl Drop for AsksAtTheEnd {
        fn drop(&mut self) {
            ask();
            self.0.take();
        }
    }
    thread_local! {
        static LAST: AsksAtTheEnd = const { AsksAtTheEnd(Cell::new(None)) };
    }
    for _ in 0..50 {
        let asks = thread::spawn(|| LAST.with(|last| last.0.set(Some(Box::new(1)))));
        asks.join().expect("it does not panic");
    }
}
