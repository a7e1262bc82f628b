use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use proptest::{collection::vec, prelude::*, sample::Index, strategy::Strategy as _};
use umbel_supervision::{
    AutoShutdown, Backoff, Exit, Intensity, Restart, Strategy,
    engine::{ChildId, ChildRules, Command, Config, Ending, Engine, Input, Refusal, State, Ticket},
};

use crate::model::{Kid, Model, Script, Tree};

/// What happens in a tree, one thing after the other: under which of the supervisors that run, to
/// which name, and what.
type Op = (Index, String, What);

#[derive(Clone, Debug)]
enum What {
    /// A panic or a kill, if abnormal.
    Exit {
        abnormal: bool,
    },
    Pass(Duration),
    Start(Restart, bool),
    Terminate,
    Restart,
    Delete,
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
    let what = prop_oneof![
        20 => any::<bool>().prop_map(|abnormal| What::Exit { abnormal }),
        5 => (0..4_u64).prop_map(|seconds| What::Pass(Duration::from_secs(seconds))),
        2 => (restart(), any::<bool>()).prop_map(|(r, s)| What::Start(r, s)),
        2 => Just(What::Terminate),
        2 => Just(What::Restart),
        1 => Just(What::Delete),
        1 => Just(What::End),
    ];
    (any::<Index>(), (0..NAMES).prop_map(name), what)
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

/// A supervisor whose children are supervisors in turn: at most three levels of them.
fn tree() -> impl proptest::strategy::Strategy<Value = Tree> {
    let supervisor = |kids: BoxedStrategy<Vec<(Restart, bool, Option<Tree>)>>| {
        (config(), kids).prop_map(|(config, kids)| {
            let kids = kids.into_iter().take(config.children_max).enumerate().map(
                |(n, (restart, significant, below))| {
                    let significant = significant
                        && restart != Restart::Permanent
                        && config.auto_shutdown != AutoShutdown::Never;
                    Kid { name: name(n), restart, significant, below }
                },
            );
            Tree { config, kids: kids.collect() }
        })
    };
    let actor = || (restart(), any::<bool>(), Just(None));
    supervisor(vec(actor(), 0..5).boxed()).prop_recursive(2, 16, 4, move |inner| {
        let nested = (restart(), any::<bool>(), inner.prop_map(Some));
        supervisor(vec(prop_oneof![2 => actor(), 1 => nested], 0..6).boxed())
    })
}

/// Engines with a driver that carries out each command before it looks at anything else.
struct Rig {
    engine: Engine,
    path: String,
    trees: BTreeMap<ChildId, Tree>,
    below: BTreeMap<String, Rig>,
    over: Option<Ending>,
    script: Rc<RefCell<Script>>,
}

impl Rig {
    fn new(tree: &Tree, path: String, script: Rc<RefCell<Script>>) -> Self {
        let (engine, trees) = (Engine::new(tree.config), BTreeMap::new());
        let mut rig = Self { engine, path, trees, below: BTreeMap::new(), over: None, script };
        for kid in &tree.kids {
            rig.add(kid, Ticket(0), Duration::ZERO);
        }
        rig
    }

    fn add(&mut self, kid: &Kid, ticket: Ticket, now: Duration) {
        let child = self.engine.fresh_id();
        if let Some(tree) = &kid.below {
            self.trees.insert(child, tree.clone());
        }
        let (restart, significant) = (kid.restart, kid.significant);
        let rules = ChildRules { restart, backoff: Backoff::none(), significant };
        self.feed(now, Input::Add { child, name: kid.name.as_str().into(), rules, ticket });
    }

    fn at(&mut self, path: &[String], now: Duration, act: &mut dyn FnMut(&mut Self)) {
        let Some(rig) = path.first().and_then(|name| self.below.get_mut(name)) else {
            return act(self);
        };
        rig.at(&path[1..], now, act);
        if let Some(ending) = rig.over {
            let exit = match ending {
                Ending::GaveUp(_) => Exit::Failed("gave up".into()),
                _ => Exit::Stopped("shutdown".into()),
            };
            self.exit(&path[0], exit, now);
        }
    }

    fn exit(&mut self, name: &str, exit: Exit, now: Duration) {
        if let Some(mut rig) = self.below.remove(name)
            && rig.over.is_none()
            && !exit.is_abnormal()
        {
            rig.feed(now, Input::End);
        }
        if let Some((id, _)) = self.engine.find(name) {
            self.feed(now, Input::Exited(id, exit));
        }
    }

    fn who(&self) -> Vec<(String, bool)> {
        let mut who = vec![];
        for (_, child) in self.engine.children() {
            who.push((format!("{}/{}", self.path, child.name()), child.state() == State::Up));
            who.extend(self.below.get(&**child.name()).iter().flat_map(|rig| rig.who()));
        }
        who
    }

    fn feed(&mut self, now: Duration, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for command in self.engine.step(now, input) {
                inputs.extend(self.carry_out(command, now));
            }
        }
        assert_eq!(self.engine.next_wake(), None, "without back-offs nothing waits");
    }

    fn note(&self, what: String) {
        self.script.borrow_mut().note(format!("{}: {what}", self.path));
    }

    fn start(&mut self, id: ChildId, now: Duration) -> Input {
        let name = self.engine.child(id).unwrap().name().to_string();
        let rig = self.trees.get(&id).map(|tree| {
            let path = format!("{}/{name}", self.path);
            let mut rig = Self::new(tree, path, self.script.clone());
            rig.feed(now, Input::Boot);
            rig
        });
        let succeeds = match &rig {
            Some(rig) => rig.over.is_none(),
            None => self.script.borrow_mut().next_start_succeeds(),
        };
        self.note(format!("start {name}{}", if succeeds { "" } else { " fails" }));
        if let Some(rig) = rig.filter(|_| succeeds) {
            self.below.insert(name, rig);
        }
        if succeeds { Input::Started(id) } else { Input::StartFailed(id) }
    }

    fn carry_out(&mut self, command: Command, now: Duration) -> Option<Input> {
        match command {
            Command::Start(id) => return Some(self.start(id, now)),
            Command::Stop(id) => {
                let name = self.engine.child(id).unwrap().name().to_string();
                if let Some(mut rig) = self.below.remove(&name) {
                    rig.feed(now, Input::End);
                }
                self.note(format!("stop {name}"));
                return Some(Input::Stopped(id));
            }
            Command::Forget(_) | Command::Wait(..) | Command::GiveUp(_) => {}
            // Declarations before the boot are not answered in OTP.
            Command::Answer(Ticket(0), _) => {}
            Command::Answer(_, answer) => self.note(format!(
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
            Command::Booted => self.note("booted".into()),
            Command::Ended(ending) => {
                self.over = Some(ending);
                self.note(format!(
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

fn to_model(model: &mut Model, what: &What, name: &str, now: Duration) {
    match what {
        What::Exit { abnormal } => model.exit(name, *abnormal, now),
        What::Pass(_) => {}
        What::Start(restart, significant) => {
            model.start_child(newcomer(name, restart, significant))
        }
        What::Terminate => model.terminate_child(name),
        What::Restart => model.restart_child(name),
        What::Delete => model.delete_child(name),
        What::End => model.end("asked"),
    }
}

fn to_rig(rig: &mut Rig, what: &What, name: &str, now: Duration) {
    let ticket = Ticket(1);
    match what {
        What::Exit { abnormal: true } => rig.exit(name, Exit::Killed, now),
        What::Exit { abnormal: false } => rig.exit(name, Exit::Normal, now),
        What::Pass(_) => {}
        What::Start(restart, significant) => {
            rig.add(&newcomer(name, restart, significant), ticket, now);
        }
        What::Terminate => rig.feed(now, Input::Terminate { name: name.into(), ticket }),
        What::Restart => rig.feed(now, Input::Restart { name: name.into(), ticket }),
        What::Delete => rig.feed(now, Input::Delete { name: name.into(), ticket }),
        What::End => rig.feed(now, Input::End),
    }
}

fn newcomer(name: &str, restart: &Restart, significant: &bool) -> Kid {
    let (restart, significant) = (*restart, *significant);
    Kid { name: name.to_owned(), restart, significant, below: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn one_thing_after_the_other_the_engine_does_what_otp_documents(
        tree in tree(),
        failing in vec(any::<Index>(), 0..4),
        ops in vec(op(), 0..60),
    ) {
        // Which starts fail: the same ones for both, counted from the beginning.
        let failing = failing.iter().map(|index| index.index(60)).collect();
        let script = Script { failing, ..Script::default() };
        let scripts = [(); 2].map(|()| Rc::new(RefCell::new(script.clone())));
        let mut model = Model::new(&tree, "root".into(), scripts[0].clone());
        let mut rig = Rig::new(&tree, "root".into(), scripts[1].clone());
        model.boot();
        rig.feed(Duration::ZERO, Input::Boot);

        let mut now = Duration::ZERO;
        for (under, name, what) in ops {
            if model.over.is_some() {
                break;
            }
            if let What::Pass(time) = what {
                now += time;
            }
            let supervisors = model.supervisors();
            let path = under.get(&supervisors);
            model.at(path, now, &mut |model| to_model(model, &what, &name, now));
            rig.at(path, now, &mut |rig| to_rig(rig, &what, &name, now));
            let traces = scripts.each_ref().map(|script| script.borrow().trace.clone());
            prop_assert_eq!(&traces[1], &traces[0], "after {:?} to {} under {:?}", what, name, path);
            prop_assert_eq!(rig.who(), model.who(), "after {:?} to {} under {:?}", what, name, path);
        }
        prop_assert_eq!(rig.over.is_some(), model.over.is_some());
    }
}
