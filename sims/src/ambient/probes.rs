//! One question for each way to the operating system, whose answer shows where it came from.

#![allow(unsafe_code, reason = "libc's functions are asked as C programs ask them")]
#![allow(
    clippy::disallowed_methods,
    reason = "what std's own clocks answer is the question that is asked here"
)]

use std::collections::hash_map::RandomState;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::hash::BuildHasher;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libc::{size_t, ssize_t};

use super::{AMBIENT, Ambient, Breach, NotInForce, real, set_now, take_breaches};

/// Not a multiple of what is drawn at a time, so that the rest is tried, too.
const BYTES: usize = 21;

/// How far the clocks are moved, to see them follow.
const STEP: Duration = Duration::from_nanos(1_234_567_891);

/// A question to a function.
pub(super) struct Probe {
    pub(super) function: &'static str,
    /// Whether the answer came from this ambient, which the thread is in if it is in any.
    pub(super) answered: fn(Ambient) -> bool,
}

/// In the order in which they are asked.
pub(super) const PROBES: &[Probe] = &[
    Probe { function: "getrandom (called by std)", answered: random_state },
    Probe { function: "getrandom", answered: |from| draws(from, by_getrandom) },
    Probe { function: "getrandom (found by name)", answered: |from| draws(from, by_its_name) },
    Probe { function: "getentropy", answered: |from| draws(from, by_getentropy) },
    Probe { function: "syscall(SYS_getrandom)", answered: |from| draws(from, by_syscall) },
    Probe { function: "clock_gettime (called by Instant)", answered: instant },
    Probe { function: "clock_gettime (called by SystemTime)", answered: system_time },
    Probe { function: "gettimeofday", answered: gettimeofday },
    Probe { function: "time", answered: time },
    Probe { function: "pthread_create", answered: pthread_create },
    Probe { function: "sched_getaffinity", answered: sched_getaffinity },
];

/// Asks all of them on a thread that is simulated.
pub(super) fn try_all() -> Result<(), NotInForce> {
    let ask = || {
        PROBES.iter().find(|probe| !AMBIENT.get().is_some_and(|ambient| (probe.answered)(ambient)))
    };
    let silent = real(|| {
        let thread = thread::Builder::new().spawn(move || Ambient::new(0).enter(ask))?;
        Ok::<_, NotInForce>(thread.join().expect("no probe panics"))
    })?;
    silent.map_or(Ok(()), |probe| Err(NotInForce::Passed { function: probe.function }))
}

/// std draws the keys once a thread, so this is asked of a thread that has none yet, and once.
fn random_state(from: Ambient) -> bool {
    let _ = RandomState::new().hash_one(0);
    AMBIENT.get().is_some_and(|ambient| ambient.drawn > from.drawn)
}

/// Whether what `fill` fills in is what comes next.
fn draws(mut from: Ambient, fill: fn(&mut [u8; BYTES]) -> bool) -> bool {
    let (mut wanted, mut drawn) = ([0; BYTES], [0; BYTES]);
    from.draw(&mut wanted);
    fill(&mut drawn) && drawn == wanted
}

fn by_getrandom(bytes: &mut [u8; BYTES]) -> bool {
    // SAFETY: so many bytes can be written there.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), BYTES, 0) == BYTES as ssize_t }
}

/// As the crate getrandom does it from 0.3 on.
fn by_its_name(bytes: &mut [u8; BYTES]) -> bool {
    const NAME: &CStr = c"getrandom";
    type Getrandom = unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t;
    // SAFETY: the name is a C string; whatever has this name has this type (`getrandom(2)`), and null is
    // `None`; so many bytes can be written there.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr());
        let found = std::mem::transmute::<*mut c_void, Option<Getrandom>>(found);
        found.is_some_and(|found| found(bytes.as_mut_ptr().cast(), BYTES, 0) == BYTES as ssize_t)
    }
}

fn by_getentropy(bytes: &mut [u8; BYTES]) -> bool {
    // SAFETY: so many bytes can be written there.
    unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), BYTES) == 0 }
}

/// As the crate getrandom does it in 0.2.
fn by_syscall(bytes: &mut [u8; BYTES]) -> bool {
    let flags: c_int = 0;
    // SAFETY: these are the arguments of `getrandom(2)`, and so many bytes can be written there.
    unsafe {
        let drawn = libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), BYTES, flags);
        drawn == BYTES as libc::c_long
    }
}

fn instant(from: Ambient) -> bool {
    let before = Instant::now();
    set_now(from.now + STEP);
    let after = Instant::now();
    after.checked_duration_since(before) == Some(STEP) && Instant::now() == after
}

fn system_time(from: Ambient) -> bool {
    SystemTime::now() == UNIX_EPOCH + from.wall_now()
}

fn gettimeofday(from: Ambient) -> bool {
    let mut now = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: the time can be written there, and the zone may be null.
    let told = unsafe { libc::gettimeofday(&raw mut now, std::ptr::null_mut()) };
    let micros = Duration::from_secs(now.tv_sec as u64) + Duration::from_micros(now.tv_usec as u64);
    told == 0 && micros.as_micros() == from.wall_now().as_micros()
}

fn time(from: Ambient) -> bool {
    // SAFETY: it may be null, if the time is not to be written anywhere.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    now as u64 == from.wall_now().as_secs()
}

fn pthread_create(_: Ambient) -> bool {
    let started = thread::Builder::new().spawn(|| ()).map(thread::JoinHandle::join);
    let noted = |breach: &Breach| matches!(breach, Breach::Thread { .. });
    started.is_ok() && take_breaches().iter().any(noted)
}

/// On a machine with one CPU, this cannot be told apart, and need not be.
fn sched_getaffinity(_: Ambient) -> bool {
    thread::available_parallelism().is_ok_and(|cpus| cpus == NonZero::<usize>::MIN)
}
