use std::{collections::VecDeque, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index, strategy::Strategy as _};
use umbel_supervision::{
    AutoShutdown, Backoff, Exit, Intensity, Restart, Strategy,
    engine::{ChildRules, Command, Config, Ending, Engine, Input, Refusal, State, Ticket},
};

use crate::model::{Kid, Model};

/// What happens to a supervisor, one thing after the other.
#[derive(Clone, Debug)]
enum Op {
    Exit { who: usize, abnormal: bool },
    Pass(Duration),
    Start(usize, Restart, bool),
    Terminate(usize),
    Restart(usize),
    Delete(usize),
    End,
}

const NAMES: usize = 7;

fn name(n: usize) -> String {
    format!("c{n}")
}

fn restart() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn op() -> impl proptest::strategy::Strategy<Value = Op> {
    let who = 0..NAMES;
    prop_oneof![
        10 => (who.clone(), any::<bool>()).prop_map(|(who, abnormal)| Op::Exit { who, abnormal }),
        5 => (0..4_u64).prop_map(|seconds| Op::Pass(Duration::from_secs(seconds))),
        2 => (who.clone(), restart(), any::<bool>()).prop_map(|(n, r, s)| Op::Start(n, r, s)),
        2 => who.clone().prop_map(Op::Terminate),
        2 => who.clone().prop_map(Op::Restart),
        1 => who.prop_map(Op::Delete),
        1 => Just(Op::End),
    ]
}

fn config() -> impl proptest::strategy::Strategy<Value = Config> {
    let kind = prop_oneof![
        Just((Strategy::OneForOne, false)),
        Just((Strategy::OneForOne, true)),
        Just((Strategy::OneForAll, false)),
        Just((Strategy::RestForOne, false)),
    ];
    let auto_shutdown = prop_oneof![
        Just(AutoShutdown::Never),
        Just(AutoShutdown::AnySignificant),
        Just(AutoShutdown::AllSignificant),
    ];
    (kind, auto_shutdown, 0..6_u32, 3..8_usize).prop_map(
        |((strategy, dynamic), auto_shutdown, restarts, children_max)| Config {
            strategy,
            intensity: Intensity { restarts, period: Duration::from_secs(5) },
            auto_shutdown,
            dynamic,
            children_max,
            seed: 0,
        },
    )
}

fn kids() -> impl proptest::strategy::Strategy<Value = Vec<(Restart, bool)>> {
    vec((restart(), any::<bool>()), 0..6)
}

/// The engine with a driver that carries out each command before it looks at anything else.
struct Rig<'a> {
    engine: Engine,
    trace: Vec<String>,
    over: bool,
    start_succeeds: Box<dyn FnMut() -> bool + 'a>,
}

impl Rig<'_> {
    fn feed(&mut self, now: Duration, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for command in self.engine.step(now, input) {
                inputs.extend(self.carry_out(command));
            }
        }
        assert_eq!(self.engine.next_wake(), None, "without back-offs nothing waits");
    }

    fn carry_out(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::Start(id) => {
                let succeeds = (self.start_succeeds)();
                let name = self.engine.child(id).unwrap().name().clone();
                self.trace.push(format!("start {name}{}", if succeeds { "" } else { " fails" }));
                return Some(if succeeds { Input::Started(id) } else { Input::StartFailed(id) });
            }
            Command::Stop(id) => {
                let name = self.engine.child(id).unwrap().name();
                self.trace.push(format!("stop {name}"));
                return Some(Input::Stopped(id));
            }
            Command::Forget(_) | Command::Wait(..) | Command::GiveUp(_) => {}
            // Declarations before the boot are not answered in OTP.
            Command::Answer(Ticket(0), _) => {}
            Command::Answer(_, answer) => self.trace.push(format!(
                "answer: {}",
                match answer {
                    Ok(_) => "ok",
                    Err(Refusal::NotFound) => "not found",
                    Err(Refusal::AlreadyPresent) => "already present",
                    Err(Refusal::Full) => "full",
                    Err(Refusal::Significant) => "significant",
                    Err(Refusal::Running) => "running",
                    Err(Refusal::StartFailed) => "start failed",
                    Err(other) => panic!("{other:?}, although nothing is ever under way"),
                }
            )),
            Command::Booted => self.trace.push("booted".into()),
            Command::Ended(ending) => {
                self.over = true;
                self.trace.push(format!(
                    "ended: {}",
                    match ending {
                        Ending::Asked => "asked",
                        Ending::StartFailed(_) => "start failed",
                        Ending::GaveUp(_) => "gave up",
                        Ending::Automatic(_) => "automatic",
                    }
                ));
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn one_thing_after_the_other_the_engine_does_what_otp_documents(
        config in config(),
        declared in kids(),
        failing in vec(any::<Index>(), 0..4),
        ops in vec(op(), 0..40),
    ) {
        // Which starts fail: the same ones for both, counted from the beginning.
        let failing: Vec<usize> = failing.iter().map(|index| index.index(40)).collect();
        let script = || {
            let (mut count, failing) = (0, failing.clone());
            move || {
                count += 1;
                !failing.contains(&count)
            }
        };
        let kid = |n: usize, restart, significant| {
            let significant = significant
                && restart != Restart::Permanent
                && config.auto_shutdown != AutoShutdown::Never;
            Kid { name: name(n), restart, significant, running: false }
        };
        let declared: Vec<Kid> = declared
            .into_iter()
            .take(config.children_max)
            .enumerate()
            .map(|(n, (restart, significant))| kid(n, restart, significant))
            .collect();

        let mut model = Model::new(config, declared.clone(), script());
        let mut rig = Rig {
            engine: Engine::new(config),
            trace: vec![],
            over: false,
            start_succeeds: Box::new(script()),
        };
        let rules = |kid: &Kid| ChildRules {
            restart: kid.restart,
            backoff: Backoff::none(),
            significant: kid.significant,
        };
        for kid in &declared {
            let (child, ticket) = (rig.engine.fresh_id(), Ticket(0));
            let name = kid.name.as_str().into();
            let input = Input::Add { child, name, rules: rules(kid), ticket };
            rig.feed(Duration::ZERO, input);
        }
        model.boot();
        rig.feed(Duration::ZERO, Input::Boot);

        let (mut now, ticket) = (Duration::ZERO, Ticket(1));
        for op in ops {
            if model.over {
                break;
            }
            match op.clone() {
                Op::Exit { who, abnormal } => {
                    model.exit(&name(who), abnormal, now);
                    let exit = if abnormal { Exit::Killed } else { Exit::Normal };
                    if let Some((id, _)) = rig.engine.find(&name(who)) {
                        rig.feed(now, Input::Exited(id, exit));
                    }
                }
                Op::Pass(time) => now += time,
                Op::Start(n, restart, significant) => {
                    let kid = Kid { name: name(n), restart, significant, running: false };
                    let child = rig.engine.fresh_id();
                    let (rules, name) = (rules(&kid), kid.name.as_str().into());
                    model.start_child(kid);
                    rig.feed(now, Input::Add { child, name, rules, ticket });
                }
                Op::Terminate(n) => {
                    model.terminate_child(&name(n));
                    rig.feed(now, Input::Terminate { name: name(n).into(), ticket });
                }
                Op::Restart(n) => {
                    model.restart_child(&name(n));
                    rig.feed(now, Input::Restart { name: name(n).into(), ticket });
                }
                Op::Delete(n) => {
                    model.delete_child(&name(n));
                    rig.feed(now, Input::Delete { name: name(n).into(), ticket });
                }
                Op::End => {
                    model.end("asked");
                    rig.feed(now, Input::End);
                }
            }
            prop_assert_eq!(&rig.trace, &model.trace, "after {:?}", op);
            let seen: Vec<_> = rig
                .engine
                .children()
                .map(|(_, child)| (child.name().to_string(), child.state() == State::Up))
                .collect();
            let expected: Vec<_> =
                model.kids.iter().map(|kid| (kid.name.clone(), kid.running)).collect();
            prop_assert_eq!(seen, expected, "after {:?}", op);
        }
        prop_assert_eq!(rig.trace, model.trace);
        prop_assert_eq!(rig.over, model.over);
    }
}
