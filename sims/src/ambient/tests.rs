//! What simulated threads are told, and that nobody else is.

#![allow(
    clippy::disallowed_methods,
    reason = "what std's own clocks and rand's own generator answer is what is tested"
)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::RngCore;

use super::probes::PROBES;
use super::*;

/// On a thread of its own, as a run is.
fn fresh<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().expect("it does not panic")
}

fn within<T: Send + 'static>(ambient: Ambient, work: fn() -> T) -> T {
    fresh(move || ambient.enter(work))
}

/// Chance, by every way that there is to it.
fn chance() -> Vec<u64> {
    let mut words = [[0; 8]; 5];
    let [by_02, by_03, by_04, random_state, rng] = &mut words;
    getrandom_02::getrandom(by_02).expect("there is chance");
    getrandom_03::fill(by_03).expect("there is chance");
    getrandom_04::fill(by_04).expect("there is chance");
    *random_state = RandomState::new().hash_one("what").to_le_bytes();
    rand::rng().fill_bytes(rng);
    let hashes = (0..20).map(|item| RandomState::new().hash_one(item));
    words.into_iter().map(u64::from_le_bytes).chain(hashes).collect()
}

/// The clocks, before and after they are moved.
fn clocks() -> [(String, SystemTime); 2] {
    let both = || (format!("{:?}", Instant::now()), SystemTime::now());
    let before = both();
    set_now(Duration::from_millis(1_500));
    [before, both()]
}

fn all() -> String {
    format!("{:x?} {:?}", chance(), clocks())
}

#[test]
fn the_same_seed_is_told_the_same_on_every_thread() {
    assert_eq!(within(Ambient::new(7), all), within(Ambient::new(7), all));
    assert_eq!(within(Ambient::perturbed(7), all), within(Ambient::perturbed(7), all));
}

#[test]
fn another_seed_and_a_perturbed_one_are_told_otherwise_in_everything() {
    let told = |ambient| (within(ambient, chance), within(ambient, clocks));
    let (one, clocks_of_one) = told(Ambient::new(7));
    for other in [Ambient::new(8), Ambient::perturbed(7), Ambient::perturbed(8)] {
        let (other, clocks_of_other) = told(other);
        assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:x?} {other:x?}");
        for (one, other) in clocks_of_one.iter().zip(&clocks_of_other) {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1, other.1);
        }
    }
}

#[test]
fn two_processes_are_told_the_same() {
    const IN_CHILD: &str = "UMBEL_SIMS_TOLD";
    let told = || within(Ambient::new(11), all);
    if std::env::var_os(IN_CHILD).is_some() {
        println!("\ntold: {}", told());
        return;
    }
    let child = || {
        let mut command = Command::new(std::env::current_exe().expect("this is a program"));
        let name = "ambient::tests::two_processes_are_told_the_same";
        let output = command.args(["--exact", name, "--nocapture"]).env(IN_CHILD, "1").output();
        let output = output.expect("it can be run");
        let text = String::from_utf8(output.stdout).expect("it prints text");
        text.lines().find_map(|line| line.strip_prefix("told: ")).expect("it tells").to_owned()
    };
    let here = told();
    assert_eq!(child(), here);
    assert_eq!(child(), here);
}

#[test]
fn clocks_move_only_when_they_are_set() {
    fresh(|| {
        Ambient::new(3).enter(|| {
            let (instant, wall) = (Instant::now(), SystemTime::now());
            real(|| thread::sleep(Duration::from_millis(2)));
            assert_eq!(Instant::now(), instant);
            assert_eq!(SystemTime::now(), wall);
            for nanos in [1, 2, 10_000_000_000] {
                let now = Duration::from_nanos(nanos);
                set_now(now);
                assert_eq!(instant.elapsed(), now);
                assert_eq!(wall.elapsed().ok(), Some(now));
            }
        });
    });
}

#[test]
fn no_instant_of_before_is_later_than_one_within() {
    let before = Instant::now();
    for seed in 0..100 {
        for ambient in [Ambient::new(seed), Ambient::perturbed(seed)] {
            ambient.enter(|| {
                assert!(Instant::now() > before);
                let year = Duration::from_secs(365 * 86_400);
                // Far enough for what tokio takes for "never".
                assert!(Instant::now().checked_add(100 * year).is_some());
                let after_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after");
                assert!((56 * year..68 * year).contains(&after_1970), "{after_1970:?}");
            });
        }
    }
}

#[test]
fn a_thread_beside_is_told_the_truth() {
    let turns = Arc::new(Barrier::new(2));
    let simulated = {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            Ambient::new(5).enter(|| {
                let first = all();
                turns.wait();
                turns.wait();
                first
            })
        })
    };
    turns.wait();
    let wall = SystemTime::now();
    let told = fresh(|| (chance(), Instant::now(), SystemTime::now()));
    let again = fresh(chance);
    // It can start threads, has as many CPUs as it had, its clocks move.
    assert!(told.0.iter().zip(&again).all(|(one, other)| one != other));
    assert!(told.2 >= wall);
    assert!(told.1.elapsed() > Duration::ZERO);
    assert_eq!(take_breaches(), []);
    turns.wait();
    assert_eq!(simulated.join().expect("it does not panic"), within(Ambient::new(5), all));
}

#[test]
fn simulated_threads_do_not_disturb_one_another() {
    const THREADS: u64 = 8;
    let alone: Vec<_> = (0..THREADS).map(|seed| within(Ambient::new(seed), all)).collect();
    let start = Arc::new(Barrier::new(THREADS as usize));
    let run = |seed| {
        let start = Arc::clone(&start);
        thread::spawn(move || {
            Ambient::new(seed).enter(|| {
                start.wait();
                let first = all();
                for millis in 0..2_000 {
                    set_now(Duration::from_millis(millis * seed));
                    let since = SystemTime::now().duration_since(UNIX_EPOCH);
                    let wall = Ambient::new(seed).wall + Duration::from_millis(millis * seed);
                    assert_eq!(since.expect("it is after"), wall);
                }
                first
            })
        })
    };
    let together: Vec<_> = (0..THREADS).map(run).collect();
    let together: Vec<_> =
        together.into_iter().map(|run| run.join().expect("it does not panic")).collect();
    assert_eq!(together, alone);
}

#[test]
fn a_thread_is_noted_and_is_not_simulated() {
    fresh(|| {
        Ambient::new(1).enter(|| {
            assert_eq!(take_breaches(), []);
            let threads = [thread::spawn(is_simulated), thread::spawn(is_simulated)];
            let simulated = threads.map(|thread| thread.join().expect("it does not panic"));
            assert_eq!(simulated, [false, false]);
            let breaches = take_breaches();
            assert_eq!(breaches, [Breach::Thread { times: 2 }]);
            assert!(breaches[0].to_string().contains("has started a thread (2x"));
            assert_eq!(take_breaches(), []);
        });
        thread::spawn(|| ()).join().expect("it does not panic");
        assert_eq!(take_breaches(), []);
    });
}

#[test]
fn reading_the_wall_clock_is_noted_unless_it_is_the_real_one() {
    Ambient::new(1).enter(|| {
        let _ = Instant::now();
        let real_one = real(SystemTime::now);
        assert_eq!(take_breaches(), []);
        let since = real_one.duration_since(UNIX_EPOCH).expect("it is after");
        assert_ne!(since, Ambient::new(1).wall);
        let _ = (SystemTime::now(), SystemTime::now(), SystemTime::now());
        assert_eq!(take_breaches(), [Breach::WallClock { reads: 3 }]);
    });
}

#[test]
fn a_panic_within_leaves_the_thread_real_and_what_it_did_known() {
    fresh(|| {
        let before = SystemTime::now();
        let panicked = catch_unwind(|| {
            Ambient::new(1).enter(|| {
                let _ = SystemTime::now();
                panic!("as it does when simulated code is wrong")
            })
        });
        assert!(panicked.is_err());
        assert!(AMBIENT.get().is_none());
        assert_eq!(take_breaches(), [Breach::WallClock { reads: 1 }]);
        assert!(SystemTime::now() >= before);
        assert_eq!(take_breaches(), []);
        thread::spawn(|| ()).join().expect("threads start");

        // Likewise the other way round: what panics for real is simulated afterwards.
        Ambient::new(1).enter(|| {
            let now = Instant::now();
            let panicked = catch_unwind(AssertUnwindSafe(|| real(|| panic!("writing failed"))));
            assert!(panicked.is_err());
            assert_eq!(Instant::now(), now);
        });
    });
}

#[test]
fn the_start_of_a_run_forgets_what_the_last_one_did() {
    Ambient::new(1).enter(SystemTime::now);
    Ambient::new(1).enter(|| assert_eq!(take_breaches(), []));
}

#[test]
fn everything_is_in_force_here() {
    in_force().expect("this is a platform on which it is");
    // Nor does it matter who asks, and where.
    Ambient::new(9).enter(|| {
        in_force().expect("it asks on a thread of its own");
        assert_eq!(take_breaches(), []);
    });
}

#[test]
fn no_probe_takes_the_operating_systems_answer_for_ours() {
    let one_cpu = thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
    for probe in PROBES.iter().filter(|probe| !(one_cpu && probe.function == "sched_getaffinity")) {
        let answered = probe.answered;
        assert!(!fresh(move || answered(Ambient::new(0))), "{}", probe.function);
    }
    let error = NotInForce::Passed { function: "getentropy" }.to_string();
    assert!(error.starts_with("`getentropy` is answered by the operating system"), "{error}");
}

#[test]
fn what_is_asked_wrongly_is_answered_as_the_kernel_does() {
    Ambient::new(1).enter(|| {
        // A look whether there is chance at all, as the crate getrandom takes it.
        getrandom_03::fill(&mut []).expect("nothing is asked for");
        let mut much = vec![0; 100_000];
        getrandom_02::getrandom(&mut much).expect("there is chance");
        assert!(much.chunks(1_000).all(|part| part.iter().any(|byte| *byte != 0)));
    });
}

#[test]
fn tokios_paused_runtime_lives_within() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime needs nothing");
        let told = runtime.block_on(async {
            let start = tokio::time::Instant::now();
            let other = tokio::spawn(async {
                tokio::time::sleep(Duration::from_secs(30)).await;
                chance()
            });
            let forever = tokio::time::timeout(Duration::from_secs(60), std::future::pending());
            let late: Result<(), _> = forever.await;
            assert!(late.is_err());
            let chance = other.await.expect("it does not panic");
            let told = (start.elapsed(), chance);
            tokio::task::spawn_blocking(|| ()).await.expect("it does not panic");
            told
        });
        drop(runtime);
        assert_eq!(take_breaches(), [Breach::Thread { times: 1 }]);
        told
    };
    let told = within(Ambient::new(2), run);
    assert_eq!(told.0, Duration::from_secs(60));
    assert_eq!(told, within(Ambient::new(2), run));
}
