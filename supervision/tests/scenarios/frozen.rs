use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;
use umbel_supervision::{
    ChildError, ChildSpec, ChildState, Exit, Happening, Observed, Probe, Restart, Senseless,
    StartError, Strategy, Supervisor, SupervisorRef,
};

use crate::probe::{Act, Lab, SECOND, Script, cell_of, poke, state_of, until, until_state};

/// Asked each second, with five to answer.
const PROBE: Probe = Probe::within(Duration::from_secs(5)).every(SECOND);

async fn root(child: ChildSpec) -> SupervisorRef {
    Supervisor::new("root", Strategy::OneForOne).child(child).start().await.unwrap()
}

async fn restarts(root: &SupervisorRef) -> u64 {
    root.which_children().await.unwrap()[0].restarts
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_is_failed_after_the_stated_time_and_restarted() {
    let lab = Lab::default();
    let root = root(lab.child("it").probe(PROBE)).await;
    let mut events = root.events();
    tokio::time::sleep(Duration::from_millis(500)).await;
    poke(&root, "it", Act::Hang).await;
    let told = async |events: &mut umbel_supervision::EventStream| match events.next().await {
        Some(Observed::Event(event)) => (event.at, event.what),
        other => panic!("{other:?}"),
    };
    let within = 5 * SECOND;
    assert_eq!(told(&mut events).await, (6 * SECOND, Happening::Unresponsive { within }));
    let ended = Happening::Ended { exit: Exit::Unresponsive(within) };
    assert_eq!(told(&mut events).await, (6 * SECOND, ended));
    let restarted = Happening::Restarted { restarts: 1 };
    assert_eq!(told(&mut events).await, (6 * SECOND, restarted));
    let it = root.which_children().await.unwrap().remove(0);
    assert_eq!(it.last_failure.unwrap(), "killed: it had not answered for 5s");
    assert_eq!((it.state, lab.alive()), (ChildState::Running, 1));
    // The new incarnation is asked like the one before it.
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(restarts(&root).await, 1);
    poke(&root, "it", Act::Hang).await;
    until("it is restarted again", async || restarts(&root).await == 2).await;
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_merely_idle_is_not_failed() {
    let lab = Lab::default();
    let root = root(lab.child("it").probe(PROBE)).await;
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!((restarts(&root).await, lab.traces()), (0, "+it".to_owned()));
    assert!(lab.pings() > 900, "{}", lab.pings());
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_answers_late_but_within_the_time_is_not_failed() {
    let lab = Lab::default();
    let root = root(lab.child("it").probe(PROBE)).await;
    for _ in 0..100 {
        let it = poke(&root, "it", Act::Take(Duration::from_millis(4900))).await;
        ActorRef::from(it).call(crate::probe::Poke::Answer, None).await.unwrap();
    }
    assert_eq!(restarts(&root).await, 0);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_child_with_a_long_queue_that_is_served_within_the_time_is_not_failed() {
    let lab = Lab::default();
    let root = root(lab.child("it").probe(PROBE)).await;
    for _ in 0..20 {
        for _ in 0..400 {
            poke(&root, "it", Act::Take(Duration::from_millis(10))).await;
        }
        tokio::time::sleep(4 * SECOND).await;
    }
    assert_eq!(restarts(&root).await, 0);
    assert!(lab.pings() > 10);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_probe_a_child_that_hangs_is_left_alone() {
    let lab = Lab::default();
    let root = root(lab.child("it")).await;
    poke(&root, "it", Act::Hang).await;
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Running));
    assert_eq!((restarts(&root).await, lab.pings()), (0, 0));
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn freezes_count_towards_the_intensity() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(2, 60 * SECOND)
        .child(lab.child("it").probe(PROBE))
        .start()
        .await
        .unwrap();
    for freezes in 1..=3 {
        poke(&root, "it", Act::Hang).await;
        if freezes <= 2 {
            until("it is back", async || restarts(&root).await == freezes).await;
        }
    }
    root.ended().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_is_an_abnormal_end() {
    let lab = Lab::default();
    let root = root(lab.child("it").restart(Restart::Transient).probe(PROBE)).await;
    root.start_child(lab.child("once").restart(Restart::Temporary).probe(PROBE)).await.unwrap();
    poke(&root, "it", Act::Hang).await;
    poke(&root, "once", Act::Hang).await;
    until("it is back", async || restarts(&root).await == 1).await;
    assert_eq!(state_of(&root, "once").await, None);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_child_is_not_asked_any_more() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(3600 * SECOND), ..Script::default() };
    let slow = lab.scripted("it", slow).shutdown(umbel_supervision::Shutdown::Infinity);
    let root = root(slow.probe(PROBE)).await;
    let mut events = root.events();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 3, "the supervisor, the child, its probing");
    let asked = Instant::now();
    root.terminate_child("it").await.unwrap();
    assert_eq!(asked.elapsed(), 3600 * SECOND);
    until("its tasks are gone", async || tasks() == 1).await;
    let stopped = Happening::Stopped { killed: false };
    assert!(
        matches!(events.next().await, Some(Observed::Event(event)) if event.what == stopped),
        "an hour in `post_stop` is no freeze"
    );
    let pings = lab.pings();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(lab.pings(), pings);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_in_its_post_stop_is_left_to_it() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(60 * SECOND), ..Script::default() };
    let root = root(lab.scripted("it", slow).probe(PROBE)).await;
    // The question lies in the mailbox when the child turns to its end.
    let it = poke(&root, "it", Act::Take(2 * SECOND)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    it.stop(None);
    until("it is back", async || restarts(&root).await == 1).await;
    assert_eq!(lab.traces(), "+it -it +it");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_whole_program_stood_still_no_child_is_to_blame() {
    let lab = Lab::default();
    let root = root(lab.child("it").probe(PROBE)).await;
    poke(&root, "it", Act::Take(3 * SECOND)).await;
    // The question is on its way; then an hour is gone at once, as for a stopped process.
    tokio::time::sleep(1500 * Duration::from_millis(1)).await;
    tokio::time::advance(3600 * SECOND).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(restarts(&root).await, 0);
    assert!(lab.pings() > 1);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_probed_children_do_not_hold_up_their_supervisor() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool").intensity(1000, SECOND).start().await.unwrap();
    for n in 0..10_000 {
        let name = Box::leak(format!("c{n}").into_boxed_str());
        pool.start_child(lab.child(name).probe(PROBE)).await.unwrap();
    }
    let hung = 10;
    for n in 0..hung {
        poke(&pool, &format!("c{n}"), Act::Hang).await;
    }
    for _ in 0..10 {
        tokio::time::sleep(SECOND).await;
        let asked = Instant::now();
        pool.which_children().await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    let restarted = pool.which_children().await.unwrap();
    assert_eq!(restarted.iter().map(|child| child.restarts).sum::<u64>(), hung);
    pool.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_answers_while_its_children_hang() {
    let lab = Lab::default();
    let inner = lab.clone();
    let sub = ChildSpec::supervisor("sub", move || {
        Supervisor::new("sub", Strategy::OneForOne).child(inner.child("a"))
    });
    let root = root(sub.probe(PROBE)).await;
    let sub = root.supervisor("sub").await.unwrap().unwrap();
    poke(&sub, "a", Act::Hang).await;
    let hangs = lab.scripted("b", Script { start: Act::Hang, ..Script::default() });
    let starting = tokio::spawn(async move { sub.start_child(hangs).await.map(drop) });
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(restarts(&root).await, 0);
    root.stop().await;
    starting.await.unwrap().unwrap_err();
    lab.assert_empty().await;
}

/// What can be told to block its thread until the other end sends or goes.
pub(crate) type Gate = Arc<Mutex<mpsc::Receiver<()>>>;

pub(crate) fn gate() -> (mpsc::Sender<()>, Gate) {
    let (opener, gate) = mpsc::channel();
    (opener, Arc::new(Mutex::new(gate)))
}

// A thread that is blocked makes no progress on the paused clock, so here time is real.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_below_that_hangs_is_failed() {
    let (opener, gate) = gate();
    let root = root(
        ChildSpec::supervisor("sub", || Supervisor::dynamic("sub"))
            .probe(Probe::within(Duration::from_millis(500)).every(Duration::from_millis(10))),
    )
    .await;
    let sub = root.supervisor("sub").await.unwrap().unwrap();
    let blocks = ChildSpec::new("blocks", move |_| {
        let _ = gate.lock().unwrap().recv();
        async { Err(ractor::SpawnErr::StartupFailed("as told".into())) }
    });
    let starting = tokio::spawn(async move { sub.start_child(blocks).await.map(drop) });
    until_state(&root, "sub", ChildState::Unresponsive).await;
    opener.send(()).unwrap();
    until("it is back", async || restarts(&root).await == 1).await;
    starting.await.unwrap().unwrap_err();
    let sub = root.which_children().await.unwrap().remove(0);
    assert!(sub.last_failure.unwrap().contains("had not answered for 500ms"));
    root.stop().await;
}

pub(crate) struct Blocker(pub(crate) Gate);

pub(crate) enum Order {
    Block,
    Ping(RpcReplyPort<()>),
}

impl ractor::Message for Order {}

impl Actor for Blocker {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Order>,
        order: Order,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Block => {
                let _ = self.0.lock().unwrap().recv();
            }
            Order::Ping(reply) => reply.send(())?,
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_never_awaits_is_shown_as_unresponsive_until_it_is_really_gone() {
    let (opener, gate) = gate();
    let root = root(
        ChildSpec::actor("it", move || (Blocker(gate.clone()), ()))
            .ping(|it| async {
                let _ = ActorRef::<Order>::from(it).call(Order::Ping, None).await;
            })
            .probe(Probe::within(Duration::from_millis(500)).every(Duration::from_millis(10))),
    )
    .await;
    let first = cell_of(&root, "it").await;
    first.send_message(Order::Block).unwrap();
    until_state(&root, "it", ChildState::Unresponsive).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let it = root.which_children().await.unwrap().remove(0);
    assert_eq!((it.state, it.restarts), (ChildState::Unresponsive, 0));
    assert!(it.state_for >= Duration::from_millis(200));
    assert_eq!(it.actor, Some(first.get_id().to_string()));
    assert!(root.snapshot().await.unwrap().to_string().contains("it unresponsive for"));
    opener.send(()).unwrap();
    until_state(&root, "it", ChildState::Running).await;
    assert_eq!(restarts(&root).await, 1);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_makes_no_sense_is_refused() {
    async fn refused(child: impl Fn() -> ChildSpec) -> Senseless {
        let pool = Supervisor::dynamic("pool").start().await.unwrap();
        let late = match pool.start_child(child()).await {
            Err(ChildError::Declaration { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        pool.stop().await;
        match Supervisor::new("root", Strategy::OneForOne).child(child()).start().await {
            Err(StartError::Declaration { why, .. }) => assert_eq!(why, late),
            other => panic!("{other:?}"),
        }
        late
    }
    let lab = Lab::default();
    let mute = || ChildSpec::actor("it", || (Blocker(gate().1), ())).probe(PROBE);
    assert_eq!(refused(mute).await, Senseless::ProbeWithoutPing);
    let hasty = || lab.child("it").probe(Probe::within(Duration::ZERO));
    assert_eq!(refused(hasty).await, Senseless::ProbeWithoutTime);
    let busy = || lab.child("it").probe(PROBE.every(Duration::ZERO));
    assert_eq!(refused(busy).await, Senseless::ProbeWithoutTime);
    lab.assert_empty().await;
}
