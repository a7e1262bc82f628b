//! What runtimes draw is their seed's.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::sync::watch;
use tokio::task::LocalSet;

use super::*;

/// Which branch was tried first, of two that are always ready.
async fn picks() -> u64 {
    let mut picks = 0;
    for _ in 0..64 {
        let first = tokio::select! {
            () = std::future::ready(()) => 1,
            () = std::future::ready(()) => 0,
        };
        picks = picks << 1 | first;
    }
    picks
}

/// In which order those who wait are woken.
async fn woken() -> Vec<usize> {
    let order = Rc::new(RefCell::new(Vec::new()));
    let (change, watched) = watch::channel(());
    let all = LocalSet::new();
    for waiter in 0..32 {
        let (order, mut watched) = (Rc::clone(&order), watched.clone());
        all.spawn_local(async move {
            watched.changed().await.expect("it is sent");
            order.borrow_mut().push(waiter);
        });
    }
    all.run_until(tokio::task::yield_now()).await;
    change.send(()).expect("they wait");
    all.await;
    order.take()
}

/// What two runtimes of one seed draw, entered twice each.
fn drawn(runtimes: &mut Runtimes, seed: u64) -> Vec<(u64, Vec<usize>)> {
    let builder = runtimes.seeded(seed);
    let both = [(); 2].map(|()| builder.build().expect("a runtime needs nothing"));
    let drawn = |turn: usize| {
        let runtime = &both[turn % 2];
        (runtime.block_on(picks()), runtime.block_on(woken()))
    };
    (0..4).map(drawn).collect()
}

fn fresh() -> Runtimes {
    Runtimes::new().expect("this is a tokio that it is known of")
}

#[test]
fn one_seed_is_one_course_in_every_runtime_and_thread() {
    let here = drawn(&mut fresh(), 7);
    // Other seeds are made beside, as other tests in this process make them.
    let beside =
        thread::spawn(|| (0..20).map(|seed| drawn(&mut fresh(), seed)).collect::<Vec<_>>());
    let mut again = fresh();
    assert_eq!(drawn(&mut again, 7), here);
    assert_ne!(drawn(&mut again, 8), here);
    assert_eq!(drawn(&mut again, 7), here);
    let beside = beside.join().expect("it does not panic");
    assert_eq!(beside[7], here);
    let told = Ambient::new(3).enter(|| drawn(&mut fresh(), 7));
    assert_eq!(told, here);
}

#[test]
fn runtimes_of_one_seed_and_turns_of_one_runtime_draw_differently() {
    let drawn = drawn(&mut fresh(), 7);
    for (index, one) in drawn.iter().enumerate() {
        assert!(one.0 != 0 && one.0 != u64::MAX);
        assert!(drawn[index + 1..].iter().all(|other| other != one), "{drawn:?}");
    }
}

#[test]
fn without_a_seed_each_builder_draws_differently() {
    // Which is why there are `Runtimes`. If this fails, tokio has changed, and they may not be needed.
    let ambient = Ambient::new(0);
    let unseeded = move || {
        let runtime = Builder::new_current_thread().build().expect("a runtime needs nothing");
        runtime.block_on(picks())
    };
    let draw = || on_a_fresh_thread(move || ambient.enter(unseeded)).expect("threads start");
    assert_ne!(draw(), draw());
}

#[test]
fn what_is_set_on_the_builder_stays_and_its_seed_is_nowhere_else() {
    let mut runtimes = fresh();
    let name: Arc<str> = Arc::from("stays");
    runtimes.seeded(1).enable_time().start_paused(true).name(&*name);
    let before = format!("{:?}", runtimes.builder);
    let words_before = words(&runtimes.builder).expect("there is a pipe");
    runtimes.seeded(2);
    let words_after = words(&runtimes.builder).expect("there is a pipe");
    assert_eq!(format!("{:?}", runtimes.builder), before);
    let changed = |(index, _): &(usize, _)| words_before[*index] != words_after[*index];
    let changed: Vec<_> =
        words_after.iter().enumerate().filter(changed).map(|(index, _)| index).collect();
    assert_eq!(changed, {
        let mut places = [runtimes.upper, runtimes.lower];
        places.sort_unstable();
        places
    });
}

#[test]
fn a_seed_that_is_not_there_is_not_found() {
    let keys = RandomState::new();
    let upper = |seed: u64| (seed >> 32) as u32;
    let [first, late] = [1_u32, 5_000].map(|made| keys.hash_one(made));
    assert_eq!(place(&[1, 2, upper(first), first as u32, 3], &keys), Some((2, 3)));
    assert_eq!(place(&[late as u32, upper(late), 3], &keys), Some((1, 0)));
}
