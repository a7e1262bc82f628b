//! Answers come late and in any order, children die at any moment, requests cross one another:
//! what OTP's supervisor keeps out by doing one thing at a time. Here no model says what exactly
//! is done, but what is never done, and where it all must lead: `Ledger` says what OTP's rules
//! demand then.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*, strategy::Strategy as _};
use umbel_supervision::{
    AutoShutdown, Backoff, Exit, Intensity, Restart, Strategy,
    engine::{ChildId, ChildRules, Command, Config, Ending, Engine, Input, State, Ticket},
};

use crate::ledger::Ledger;

#[derive(Clone, Debug)]
enum Op {
    /// One of the answers that are owed comes.
    Answer {
        which: usize,
        well: bool,
    },
    /// One of the children that are up dies.
    Exit {
        which: usize,
        abnormal: bool,
    },
    Pass(u64),
    Start(usize, Restart),
    Terminate(usize),
    Restart(usize),
    Delete(usize),
}

/// A child as it is in the world, whatever the engine thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Starting,
    Up,
    /// With a stop under way; dead or not.
    Stopping,
}

struct World {
    engine: Engine,
    config: Config,
    now: Duration,
    lives: BTreeMap<ChildId, Life>,
    /// Forgotten children must not be heard of again.
    forgotten: Vec<ChildId>,
    /// Back-offs that are to be kept.
    not_before: BTreeMap<ChildId, Duration>,
    /// Somebody has interfered with the order of starts.
    by_hand: bool,
    ledger: Ledger,
    /// Ends that OTP too looks at only when all are started.
    early: Vec<(ChildId, Restart, bool)>,
    owed: Vec<Ticket>,
    /// Those of them that wait for a start.
    starts_owed: BTreeMap<Ticket, ChildId>,
    next_ticket: u64,
    booted: bool,
    /// It has given up, or been told to end.
    over: bool,
    /// Stops must come youngest first from now on.
    ending: bool,
    ended: bool,
}

impl World {
    fn feed(&mut self, input: Input) {
        assert!(!self.ended || self.lives.is_empty());
        let commands = self.engine.step(self.now, input);
        for command in commands {
            let refusal = matches!(command, Command::Answer(_, Err(_)) | Command::Forget(_));
            assert!(!self.ended || refusal, "{command:?} after the end");
            self.check(command);
        }
        if self.booted && !self.ended {
            let given_up = matches!(self.engine.ending(), Some(Ending::GaveUp(_)));
            assert_eq!(given_up, self.ledger.give_up_due().is_some(), "one restart too many");
        }
        if let Some(wake) = self.engine.next_wake() {
            let mut later = self.engine.clone();
            later.step(self.now.max(wake), Input::Tick);
            assert_ne!(later.next_wake(), Some(wake), "a wake-up that leads to nothing");
        }
    }

    fn check(&mut self, command: Command) {
        match command {
            Command::Start(id) => {
                assert!(!self.over, "nothing is started at the end");
                assert!(!self.forgotten.contains(&id));
                let before = self.lives.insert(id, Life::Starting);
                assert_eq!(before, None, "two incarnations of one child");
                self.ledger.started(id);
                let due = self.not_before.remove(&id).unwrap_or_default();
                assert!(self.now >= due, "started before its back-off is over");
                let in_group = self.config.strategy != Strategy::OneForOne && !self.by_hand;
                if in_group {
                    let younger = self.lives.range(id..).skip(1).count();
                    assert_eq!(younger, 0, "started although a younger one lives");
                }
            }
            Command::Stop(id) => {
                let before = self.lives.insert(id, Life::Stopping);
                assert!(matches!(before, Some(Life::Starting | Life::Up)), "{before:?} stopped");
                let over = self.over || self.engine.ending().is_some();
                assert!(over || self.ledger.may_stop(id), "stopped for no reason");
                let in_order = !self.config.dynamic && self.ending;
                if in_order {
                    let younger = self.lives.range(id..).skip(1).count();
                    assert_eq!(younger, 0, "stopped before a younger one is gone");
                }
            }
            Command::Forget(id) => {
                assert!(!self.lives.contains_key(&id), "forgotten while it lives");
                assert!(!self.forgotten.contains(&id), "forgotten twice");
                self.forgotten.push(id);
            }
            Command::Answer(ticket, _) => {
                let position = self.owed.iter().position(|owed| *owed == ticket);
                self.owed.remove(position.expect("each request is answered once"));
                self.starts_owed.remove(&ticket);
            }
            Command::Wait(id, wait) => {
                assert!(!wait.is_zero());
                self.not_before.insert(id, self.now + wait);
            }
            Command::Ended(_) => {
                assert!(self.lives.is_empty(), "the end with children alive");
                assert_eq!(self.engine.children().count(), 0);
                self.ended = true;
            }
            Command::Booted => {
                self.booted = true;
                for (id, restart, abnormal) in std::mem::take(&mut self.early) {
                    self.ledger.ended(id, restart, abnormal, self.now);
                }
            }
            Command::GiveUp(id) => {
                assert_eq!(self.ledger.give_up_due(), Some(id));
                self.over = true;
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.owed.push(Ticket(self.next_ticket));
        Ticket(self.next_ticket)
    }

    /// Nobody but the ending may still have a child in the order of stops to be checked.
    fn note_ending(&mut self) {
        let stopping = self.lives.values().any(|life| *life == Life::Stopping);
        // Stops that were under way before the end are in no order.
        self.ending = self.engine.ending().is_some() && !stopping || self.ending;
    }

    fn answer(&mut self, which: usize, well: bool) -> bool {
        let owing: Vec<_> =
            self.lives.iter().filter(|(_, life)| **life != Life::Up).map(|(id, _)| *id).collect();
        if owing.is_empty() {
            return false;
        }
        let id = owing[which % owing.len()];
        match self.lives.remove(&id) {
            Some(Life::Starting) if well => {
                self.lives.insert(id, Life::Up);
                self.feed(Input::Started(id));
            }
            Some(Life::Starting) => {
                let asked_for = self.starts_owed.values().any(|child| *child == id);
                if self.booted && !self.is_ending() {
                    self.ledger.start_failed(id, asked_for, self.now);
                }
                self.feed(Input::StartFailed(id));
            }
            Some(Life::Stopping) => self.feed(Input::Stopped(id)),
            other => panic!("{other:?} owes nothing"),
        }
        true
    }

    fn exit(&mut self, which: usize, abnormal: bool) {
        let up: Vec<_> =
            self.lives.iter().filter(|(_, life)| **life == Life::Up).map(|(id, _)| *id).collect();
        if up.is_empty() {
            return;
        }
        let id = up[which % up.len()];
        self.lives.remove(&id);
        let restart = self.engine.child(id).expect("it is up").rules().restart;
        if !self.booted {
            self.early.push((id, restart, abnormal));
        } else if !self.is_ending() {
            self.ledger.ended(id, restart, abnormal, self.now);
        }
        self.feed(Input::Exited(id, if abnormal { Exit::Killed } else { Exit::Normal }));
    }

    fn add(&mut self, n: usize, restart: Restart, backoff: Backoff) {
        let (child, ticket) = (self.engine.fresh_id(), self.ticket());
        self.starts_owed.insert(ticket, child);
        let rules = ChildRules { restart, backoff, significant: false };
        self.feed(Input::Add { child, name: name(n), rules, ticket });
    }

    fn is_ending(&self) -> bool {
        self.ended || self.engine.ending().is_some()
    }

    /// All owed answers come, and all go well; time passes as it must.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.answer(0, true) {
                continue;
            }
            match self.engine.next_wake() {
                Some(wake) => {
                    self.now = self.now.max(wake);
                    self.feed(Input::Tick);
                }
                None => return,
            }
        }
        panic!("it does not come to rest");
    }
}

fn name(n: usize) -> std::sync::Arc<str> {
    format!("c{n}").into()
}

fn restart() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        1 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn op() -> impl proptest::strategy::Strategy<Value = Op> {
    let index = || 0..64_usize;
    prop_oneof![
        10 => (index(), prop::bool::weighted(0.8)).prop_map(|(which, well)| Op::Answer { which, well }),
        6 => (index(), prop::bool::weighted(0.7))
            .prop_map(|(which, abnormal)| Op::Exit { which, abnormal }),
        3 => (0..3000_u64).prop_map(Op::Pass),
        1 => (0..6_usize, restart()).prop_map(|(n, restart)| Op::Start(n, restart)),
        1 => (0..6_usize).prop_map(Op::Terminate),
        1 => (0..6_usize).prop_map(Op::Restart),
        1 => (0..6_usize).prop_map(Op::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn in_any_disorder_there_is_one_incarnation_and_all_comes_to_rest_and_to_an_end(
        kind in prop_oneof![
            Just((Strategy::OneForOne, false)),
            Just((Strategy::OneForOne, true)),
            Just((Strategy::OneForAll, false)),
            Just((Strategy::RestForOne, false)),
        ],
        declared in vec((restart(), 0..3_u64), 0..5),
        restarts in prop_oneof![0..4_u32, Just(1000)],
        ops in vec(op(), 0..60),
        seed in any::<u64>(),
    ) {
        let config = Config {
            strategy: kind.0,
            intensity: Intensity { restarts, period: Duration::from_secs(5) },
            auto_shutdown: AutoShutdown::Never,
            dynamic: kind.1,
            children_max: 8,
            seed,
        };
        let backoff = |seconds| match seconds {
            0 => Backoff::none(),
            1 => Backoff::constant(Duration::from_secs(1)),
            _ => Backoff::exponential(Duration::from_millis(100), Duration::from_secs(4)),
        };
        let mut world = World {
            engine: Engine::new(config),
            config,
            now: Duration::ZERO,
            lives: BTreeMap::new(),
            forgotten: vec![],
            not_before: BTreeMap::new(),
            by_hand: false,
            ledger: Ledger::new(config),
            early: vec![],
            owed: vec![],
            starts_owed: BTreeMap::new(),
            next_ticket: 0,
            booted: false,
            over: false,
            ending: false,
            ended: false,
        };
        for (n, (restart, seconds)) in declared.into_iter().enumerate() {
            world.add(n, restart, backoff(seconds));
        }
        world.feed(Input::Boot);
        for op in ops {
            world.note_ending();
            match op {
                Op::Answer { which, well } => {
                    world.answer(which, well);
                }
                Op::Exit { which, abnormal } => world.exit(which, abnormal),
                Op::Pass(millis) => {
                    world.now += Duration::from_millis(millis);
                    world.feed(Input::Tick);
                }
                // A supervisor that is starting hears no requests.
                Op::Start(..) | Op::Terminate(_) | Op::Restart(_) | Op::Delete(_)
                    if !world.booted => {}
                Op::Start(n, restart) => world.add(n, restart, backoff(n as u64 % 3)),
                Op::Terminate(n) => {
                    let ticket = world.ticket();
                    // A termination by hand is in no order.
                    world.ending = false;
                    if let Some((id, _)) = world.engine.find(&name(n)) {
                        world.ledger.terminated(id);
                    }
                    world.feed(Input::Terminate { name: name(n), ticket });
                }
                Op::Restart(n) => {
                    let ticket = world.ticket();
                    world.by_hand = true;
                    world.not_before.clear();
                    if let Some((id, _)) = world.engine.find(&name(n)) {
                        world.starts_owed.insert(ticket, id);
                    }
                    world.feed(Input::Restart { name: name(n), ticket });
                }
                Op::Delete(n) => {
                    let ticket = world.ticket();
                    world.feed(Input::Delete { name: name(n), ticket });
                }
            }
        }
        world.ending = false;
        world.settle();
        prop_assert!(world.owed.is_empty(), "all requests are answered");
        for (id, child) in world.engine.children() {
            let up = world.lives.get(&id) == Some(&Life::Up);
            prop_assert_eq!(child.state(), if up { State::Up } else { State::Down });
            prop_assert!(world.ledger.may_rest(id, up), "{} rests too early", child.name());
        }
        if !world.ended {
            (world.over, world.ending) = (true, true);
            world.feed(Input::End);
            world.settle();
        }
        prop_assert!(world.ended && world.lives.is_empty() && world.owed.is_empty());
    }
}
