//! Keeping the machine's cores awake while latencies are measured.
//!
//! A core with nothing to do is halted, and how long it then takes to wake belongs to the machine: in a
//! virtual one, where its host takes the core away, that is more than a message takes. What measures
//! latencies usually keeps cores from that, by the kernel's `idle=poll` or by `/dev/cpu_dma_latency`, which
//! both need privileges. This does without: another process has one thread on each core that spins, and
//! that gives way to whatever else there is to do (`SCHED_IDLE`).

#![allow(
    unsafe_code,
    reason = "no safe interface to `sched_setscheduler` is among our dependencies"
)]

use std::io::Read;
use std::process::{Child, Command, Stdio};

/// The hidden argument that makes the benchmark the process that spins.
pub(crate) const FLAG: &str = "--spin";

/// Keeps all cores awake until it is dropped. A process of its own, so that its CPU time is not taken for
/// the benchmark's; it ends with its input, so also with the benchmark, however that ends.
pub(crate) struct Awake(Child);

impl Awake {
    pub(crate) fn keep() -> Self {
        let program = std::env::current_exe().expect("the benchmark has a path");
        let mut process = Command::new(program)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the benchmark can be run once more");
        let output = process.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut [0]).expect("it says when it spins");
        Self(process)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The process that spins.
#[cfg(target_os = "linux")]
pub(crate) fn run() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let allowed = sched_getaffinity(None).expect("a thread may ask where it may run");
    for core in (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)) {
        std::thread::spawn(move || {
            let mut only = CpuSet::new();
            only.set(core);
            sched_setaffinity(None, &only).expect("it may run there");
            let priority = libc::sched_param { sched_priority: 0 };
            // SAFETY: the pointer is to a value that outlives the call, and 0 is the calling thread.
            let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const priority) };
            assert_eq!(set, 0, "a thread may lower its own priority");
            loop {
                std::hint::spin_loop();
            }
        });
    }
    println!();
    // Until the benchmark is done.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The process that would spin; elsewhere nothing is known that gives way as it must.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run() {
    eprintln!("error: --awake is for Linux only");
    std::process::exit(2);
}
