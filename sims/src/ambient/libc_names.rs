//! The functions of libc that this crate takes the place of.
//!
//! Each asks whether its thread is simulated, answers if so, and else calls the function that it hides,
//! which is looked up by name once a thread and function. (Once a *process* would need a `static`.)

#![allow(
    unsafe_code,
    reason = "these functions have C's interface, by pointers, and C's names, which have to be exported"
)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::time::Duration;

use libc::{
    clockid_t, cpu_set_t, pid_t, pthread_attr_t, pthread_t, size_t, ssize_t, time_t, timespec,
    timeval,
};

type Main = extern "C" fn(*mut c_void) -> *mut c_void;

/// libc's own functions, as far as this thread has called them.
struct Hidden {
    getrandom: Cell<Option<unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t>>,
    getentropy: Cell<Option<unsafe extern "C" fn(*mut c_void, size_t) -> c_int>>,
    syscall: Cell<Option<unsafe extern "C" fn(c_long, ...) -> c_long>>,
    clock_gettime: Cell<Option<unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int>>,
    gettimeofday: Cell<Option<unsafe extern "C" fn(*mut timeval, *mut c_void) -> c_int>>,
    time: Cell<Option<unsafe extern "C" fn(*mut time_t) -> time_t>>,
    pthread_create: Cell<
        Option<
            unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Main, *mut c_void) -> c_int,
        >,
    >,
    sched_getaffinity: Cell<Option<unsafe extern "C" fn(pid_t, size_t, *mut cpu_set_t) -> c_int>>,
}

thread_local! {
    static HIDDEN: Hidden = const {
        Hidden {
            getrandom: Cell::new(None),
            getentropy: Cell::new(None),
            syscall: Cell::new(None),
            clock_gettime: Cell::new(None),
            gettimeofday: Cell::new(None),
            time: Cell::new(None),
            pthread_create: Cell::new(None),
            sched_getaffinity: Cell::new(None),
        }
    };
}

/// The function `name` that comes after ours in the order in which names are looked up.
///
/// # Safety
///
/// `F` is the type of a pointer to the function that libc has by this name.
unsafe fn hidden<F: Copy>(
    cell: impl Fn(&Hidden) -> &Cell<Option<F>>,
    name: &'static CStr,
) -> Option<F> {
    const { assert!(size_of::<Option<F>>() == size_of::<*mut c_void>()) };
    HIDDEN.with(|all| {
        let known = cell(all);
        if known.get().is_none() {
            // SAFETY: the name is a C string. A null pointer says that there is none.
            let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast::<c_char>()) };
            // SAFETY: a pointer to a function has the size of any other (asserted above), is never null,
            // which is what `None` looks like, and is of type `F`, as the caller promises.
            known.set(unsafe { std::mem::transmute_copy::<*mut c_void, Option<F>>(&address) });
        }
        known.get()
    })
}

/// How a function of libc says that it failed.
fn fail(error: c_int) -> c_int {
    // SAFETY: libc's pointer to this thread's `errno` is valid as long as the thread is.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// Fills the buffer if this thread is simulated. `None` if it is not, else what `getrandom` returns.
///
/// # Safety
///
/// `length` bytes at `buffer` can be written, unless it is null.
unsafe fn drawn(buffer: *mut c_void, length: size_t) -> Option<ssize_t> {
    if !super::is_simulated() {
        return None;
    }
    if length == 0 {
        return Some(0);
    }
    if buffer.is_null() {
        return Some(fail(libc::EFAULT) as ssize_t);
    }
    // `draw` only writes, but a slice is of bytes that have a value, which the caller's may not.
    // SAFETY: not null, and the caller promises the rest; nobody else has the buffer meanwhile.
    let bytes = unsafe {
        buffer.write_bytes(0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    super::draw(bytes).then_some(length as ssize_t)
}

/// std's `RandomState` and all versions of the crate getrandom from 0.3 on come here.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: the caller's buffer, as `getrandom(2)` asks for it.
    if let Some(length) = unsafe { drawn(buffer, length) } {
        return length;
    }
    // SAFETY: the type is that of `getrandom(2)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.getrandom, c"getrandom") {
            Some(getrandom) => getrandom(buffer, length, flags),
            None => fail(libc::ENOSYS) as ssize_t,
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    /// What `getentropy(3)` gives at most.
    const BYTES_MAX: size_t = 256;
    if super::is_simulated() && length > BYTES_MAX {
        return fail(libc::EIO);
    }
    // SAFETY: the caller's buffer, as `getentropy(3)` asks for it.
    if let Some(length) = unsafe { drawn(buffer, length) } {
        return length.min(0) as c_int;
    }
    // SAFETY: the type is that of `getentropy(3)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.getentropy, c"getentropy") {
            Some(getentropy) => getentropy(buffer, length),
            None => fail(libc::ENOSYS),
        }
    }
}

/// The crate getrandom 0.2 comes here, with `SYS_getrandom`; all other calls are handed on.
///
/// In C it takes any number of arguments. Where Linux runs in 64 bits, these lie where those of a function
/// with seven longs do, and a call that has fewer leaves what happens to be there, which the kernel ignores:
/// libc's own `syscall` reads them so, too.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_getrandom {
        // SAFETY: the caller's buffer, as `getrandom(2)` asks for it.
        let drawn =
            unsafe { drawn(std::ptr::with_exposed_provenance_mut(a as usize), b as size_t) };
        if let Some(length) = drawn {
            return length as c_long;
        }
    }
    // SAFETY: the type is that of `syscall(2)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.syscall, c"syscall") {
            Some(syscall) => syscall(number, a, b, c, d, e, f),
            None => fail(libc::ENOSYS) as c_long,
        }
    }
}

/// The simulated clock of this number, if the thread is simulated and it is a clock that tells time. Those
/// that count the CPU's time are for measuring, and stay real.
fn simulated(clock: clockid_t) -> Option<Duration> {
    match clock {
        libc::CLOCK_REALTIME
        | libc::CLOCK_REALTIME_COARSE
        | libc::CLOCK_REALTIME_ALARM
        | libc::CLOCK_TAI => super::read_wall_clock(),
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME
        | libc::CLOCK_BOOTTIME_ALARM => super::read_monotonic_clock(),
        _ => None,
    }
}

/// `Instant::now` and `SystemTime::now` come here.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    if let Some(now) = simulated(clock) {
        if time.is_null() {
            return fail(libc::EFAULT);
        }
        let now = timespec {
            tv_sec: now.as_secs() as time_t,
            tv_nsec: c_long::from(now.subsec_nanos() as c_int),
        };
        // SAFETY: not null, and the caller's to be written, as `clock_gettime(2)` asks for it.
        unsafe { time.write(now) };
        return 0;
    }
    // SAFETY: the type is that of `clock_gettime(2)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.clock_gettime, c"clock_gettime") {
            Some(clock_gettime) => clock_gettime(clock, time),
            None => fail(libc::ENOSYS),
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    if let Some(now) = super::read_wall_clock() {
        if !time.is_null() {
            let now = timeval {
                tv_sec: now.as_secs() as time_t,
                tv_usec: c_long::from(now.subsec_micros() as c_int),
            };
            // SAFETY: not null, and the caller's to be written, as `gettimeofday(2)` asks for it.
            unsafe { time.write(now) };
        }
        return 0;
    }
    // SAFETY: the type is that of `gettimeofday(2)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.gettimeofday, c"gettimeofday") {
            Some(gettimeofday) => gettimeofday(time, zone),
            None => fail(libc::ENOSYS),
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(copy: *mut time_t) -> time_t {
    if let Some(now) = super::read_wall_clock() {
        let now = now.as_secs() as time_t;
        if !copy.is_null() {
            // SAFETY: not null, and the caller's to be written, as `time(2)` asks for it.
            unsafe { copy.write(now) };
        }
        return now;
    }
    // SAFETY: the type is that of `time(2)`, and the argument is the caller's.
    unsafe {
        match hidden(|all| &all.time, c"time") {
            Some(time) => time(copy),
            None => time_t::from(fail(libc::ENOSYS)),
        }
    }
}

/// All threads are started here, std's and C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    main: Main,
    argument: *mut c_void,
) -> c_int {
    super::note_thread();
    // SAFETY: the type is that of `pthread_create(3)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.pthread_create, c"pthread_create") {
            Some(pthread_create) => pthread_create(thread, attributes, main, argument),
            None => libc::ENOSYS,
        }
    }
}

/// `std::thread::available_parallelism` comes here: a simulated thread has one CPU, whatever the machine.
#[unsafe(no_mangle)]
unsafe extern "C" fn sched_getaffinity(
    process: pid_t,
    bytes: size_t,
    mask: *mut cpu_set_t,
) -> c_int {
    if super::is_simulated() {
        if bytes < size_of::<c_long>() {
            return fail(libc::EINVAL);
        }
        if mask.is_null() {
            return fail(libc::EFAULT);
        }
        // SAFETY: not null, and `bytes` of it are the caller's to be written, which are a long at least.
        // A mask is of longs, and the lowest bit of the first is the first CPU's.
        unsafe {
            mask.cast::<u8>().write_bytes(0, bytes);
            mask.cast::<std::ffi::c_ulong>().write_unaligned(1);
        }
        return 0;
    }
    // SAFETY: the type is that of `sched_getaffinity(2)`, and the arguments are the caller's.
    unsafe {
        match hidden(|all| &all.sched_getaffinity, c"sched_getaffinity") {
            Some(sched_getaffinity) => sched_getaffinity(process, bytes, mask),
            None => fail(libc::ENOSYS),
        }
    }
}
