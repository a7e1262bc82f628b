//! A tree that has to stop by a time.

use tokio::time::Instant;
use umbel_supervision::{ChildSpec, Shutdown, StopReport, Strategy, Supervisor, SupervisorRef};

use crate::probe::{Act, Lab, SECOND, Script};

/// `last` stops first and takes its time; in `sub`, `hung` never stops.
async fn tree(lab: &Lab, hung: Shutdown) -> SupervisorRef {
    let inner = lab.clone();
    let last = Script { stop: Act::Take(2 * SECOND), ..Script::default() };
    Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("first"))
        .child(ChildSpec::supervisor("sub", move || {
            let never = Script { stop: Act::Hang, ..Script::default() };
            Supervisor::new("sub", Strategy::OneForOne)
                .child(inner.child("second"))
                .child(inner.scripted("hung", never).shutdown(hung))
        }))
        .child(lab.scripted("last", last))
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_longer_than_its_own_time_is_named() {
    let lab = Lab::default();
    let root = tree(&lab, Shutdown::Timeout(3 * SECOND)).await;
    let asked = Instant::now();
    let report = root.stop_within(60 * SECOND).await;
    assert_eq!(asked.elapsed(), 5 * SECOND, "nobody is kept waiting for the deadline");
    assert_eq!(report, StopReport { overdue: vec!["root/sub/hung".into()], unasked: 0 });
    assert_eq!(report.to_string(), "did not stop in time: root/sub/hung");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_all_are_killed_and_the_one_that_held_them_up_is_named() {
    let lab = Lab::default();
    let root = tree(&lab, Shutdown::Infinity).await;
    let asked = Instant::now();
    let report = root.stop_within(10 * SECOND).await;
    assert!(asked.elapsed() < 11 * SECOND, "{:?}", asked.elapsed());
    assert_eq!(report, StopReport { overdue: vec!["root/sub/hung".into()], unasked: 2 });
    let text = "did not stop in time: root/sub/hung; 2 killed before it was their turn";
    assert_eq!(report.to_string(), text);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_in_time_has_a_clean_report_whatever_was_killed_before() {
    let lab = Lab::default();
    let never = Script { stop: Act::Hang, ..Script::default() };
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("hung", never))
        .child(lab.child("well"))
        .start()
        .await
        .unwrap();
    root.terminate_child("hung").await.unwrap();
    let report = root.stop_within(SECOND).await;
    assert!(report.is_clean());
    assert_eq!(report.to_string(), "all stopped in time");
    lab.assert_empty().await;
}
