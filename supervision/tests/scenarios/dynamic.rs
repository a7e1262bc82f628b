use umbel_supervision::{ChildError, ChildState, Restart, Strategy, Supervisor};

use crate::probe::{Act, Lab, SECOND, Script, cell_of, fail, poke, state_of, until};

fn name(n: usize) -> &'static str {
    Box::leak(format!("c{n}").into_boxed_str())
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_forgets_children_that_have_ended_for_good() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").start().await.unwrap();
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let it = pool.start_child(lab.child("it").restart(restart)).await.unwrap();
        if restart == Restart::Permanent {
            pool.terminate_child("it").await.unwrap();
        } else {
            it.stop(None);
        }
        until("it is forgotten", async || state_of(&pool, "it").await.is_none()).await;
    }
    pool.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_supervisor_refuses_one_more_until_there_is_room() {
    let lab = Lab::default();
    for pool in [Supervisor::dynamic("pool"), Supervisor::new("pool", Strategy::RestForOne)] {
        let pool = pool.children_max(2).start().await.unwrap();
        pool.start_child(lab.child("a")).await.unwrap();
        pool.start_child(lab.child("b").restart(Restart::Temporary)).await.unwrap();
        let full = pool.start_child(lab.child("c")).await.unwrap_err();
        assert!(matches!(full, ChildError::Full { children_max: 2, .. }));
        pool.terminate_child("b").await.unwrap();
        pool.start_child(lab.child("c")).await.unwrap();
        pool.stop().await;
    }
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_dynamic_supervisor_are_stopped_all_at_once() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").start().await.unwrap();
    let slow = Script { stop: Act::Take(SECOND), ..Script::default() };
    for n in 0..100 {
        pool.start_child(lab.scripted(name(n), slow)).await.unwrap();
    }
    let asked = tokio::time::Instant::now();
    pool.stop().await;
    assert_eq!(asked.elapsed(), SECOND);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_children_that_die_at_once_are_all_restarted() {
    const MANY: usize = 10_000;
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").intensity(MANY as u32, SECOND).start().await.unwrap();
    for n in 0..MANY {
        pool.start_child(lab.child(name(n))).await.unwrap();
    }
    pool.cell().get_children().iter().for_each(|child| child.kill());
    until("all were restarted", async || {
        let children = pool.which_children().await.unwrap();
        children.len() == MANY
            && children.iter().all(|c| c.restarts == 1 && c.state == ChildState::Running)
    })
    .await;
    until("no old one is left", async || lab.alive() == MANY).await;
    pool.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_under_a_dynamic_supervisor_takes_it_down() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").start().await.unwrap();
    for n in 0..10 {
        pool.start_child(lab.child(name(n))).await.unwrap();
    }
    fail(&pool, name(3)).await;
    poke(&pool, name(3), Act::Panic).await;
    pool.ended().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_hinders_no_other_request() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").intensity(10, SECOND).start().await.unwrap();
    let hangs = Script { stop: Act::Hang, ..Script::default() };
    pool.start_child(lab.scripted("hangs", hangs)).await.unwrap();
    pool.start_child(lab.child("it")).await.unwrap();
    let stopping = tokio::spawn({
        let pool = pool.clone();
        async move { pool.terminate_child("hangs").await }
    });
    until("it is being stopped", async || {
        state_of(&pool, "hangs").await == Some(ChildState::Stopping)
    })
    .await;
    let now = tokio::time::Instant::now();
    fail(&pool, "it").await;
    cell_of(&pool, "it").await;
    pool.start_child(lab.child("another")).await.unwrap();
    assert!(now.elapsed() < SECOND);
    stopping.await.unwrap().unwrap();
    pool.stop().await;
    lab.assert_empty().await;
}
