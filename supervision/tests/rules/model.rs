//! OTP's supervisor as its documentation describes it: one thing after the other, each carried
//! through before the next one is looked at.
//!
//! Written from the documentation alone, which the numbers point to:
//!
//! * `[S..]` reference manual of the module `supervisor` in STDLIB (OTP 27),
//!   <https://www.erlang.org/doc/apps/stdlib/supervisor.html>
//! * `[P..]` design principles, "Supervisor Behaviour" (OTP 27),
//!   <https://www.erlang.org/doc/system/sup_princ.html>
//!
//! | rule | where | what it says |
//! |---|---|---|
//! | S1 | Supervision Principles | children are started in the order of their list, and terminated in reverse start order |
//! | S2 | `start_link/2,3` | if a child does not start, those already started are terminated, and the start fails |
//! | S3 | `one_for_one` | only the child that is to be restarted is affected |
//! | S4 | `one_for_all` | all other children are terminated, then all are restarted |
//! | S5 | `rest_for_one` | those after the child in start order are terminated; it and they are restarted |
//! | S6 | `restart` | permanent: always; temporary: never, not even for a sibling's sake; transient: after an abnormal end |
//! | S7 | intensity and period | more than MaxR restarts within MaxT: all children are terminated, then the supervisor ends |
//! | S8 | `auto_shutdown` | a significant child that ends for good (transient: normally; temporary: however) shuts the supervisor down: any, or the last active one |
//! | S9 | `significant` | refused for a permanent child, and under `never` |
//! | S10 | `start_child/2` | refused if the id is present; a child that does not start is discarded |
//! | S11 | `terminate_child/2` | the child is terminated; unless temporary, its specification stays, and it "can later be restarted by the supervisor", or by `restart_child/2` |
//! | S12 | `restart_child/2` | the child must exist and not run; its start's error is returned |
//! | S13 | `delete_child/2` | the child must exist and not run |
//! | S14 | `simple_one_for_one` | children are all shut down asynchronously; a child that ended is not kept |
//! | P1 | Tuning the Intensity and Period | a restart that fails is attempted again, and each attempt counts |
//! | P3 | Supervision Trees | a supervisor is a child like any other: it is started with all its children, stopped with all of them, and its end is an end |
//! | P2 | Automatic Shutdown | a termination by the supervisor, for a sibling's sake or by `terminate_child/2`, does not shut it down |

use std::{cell::RefCell, rc::Rc, time::Duration};

use umbel_supervision::{AutoShutdown, Restart, Strategy, engine::Config};

/// A supervisor as it is declared.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) config: Config,
    pub(crate) kids: Vec<Kid>,
}

/// A child as it is declared.
#[derive(Clone, Debug)]
pub(crate) struct Kid {
    pub(crate) name: String,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    /// If it is a supervisor.
    pub(crate) below: Option<Tree>,
}

/// What is done in the whole tree, in order, and which starts of actors fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) trace: Vec<String>,
    pub(crate) failing: Vec<usize>,
    pub(crate) starts: usize,
}

impl Script {
    pub(crate) fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    pub(crate) fn next_start_succeeds(&mut self) -> bool {
        self.starts += 1;
        !self.failing.contains(&self.starts)
    }
}

/// A child as it stands.
struct Place {
    kid: Kid,
    running: bool,
    model: Option<Box<Model>>,
}

pub(crate) struct Model {
    config: Config,
    kids: Vec<Place>,
    path: String,
    /// How it ended.
    pub(crate) over: Option<&'static str>,
    script: Rc<RefCell<Script>>,
    restarts: Vec<Duration>,
}

impl Model {
    pub(crate) fn new(tree: &Tree, path: String, script: Rc<RefCell<Script>>) -> Self {
        let place = |kid: &Kid| Place { kid: kid.clone(), running: false, model: None };
        let kids = tree.kids.iter().map(place).collect();
        Self { config: tree.config, kids, path, over: None, script, restarts: vec![] }
    }

    /// Who is declared, and who runs, in the whole tree.
    pub(crate) fn who(&self) -> Vec<(String, bool)> {
        let mut who = vec![];
        for Place { kid, running, model } in &self.kids {
            who.push((format!("{}/{}", self.path, kid.name), *running));
            who.extend(model.iter().flat_map(|model| model.who()));
        }
        who
    }

    /// The supervisors that run, as names from the root down.
    pub(crate) fn supervisors(&self) -> Vec<Vec<String>> {
        let mut paths = vec![vec![]];
        for Place { kid, model, .. } in &self.kids {
            for below in model.iter().flat_map(|model| model.supervisors()) {
                paths.push([vec![kid.name.clone()], below].concat());
            }
        }
        paths
    }

    /// Does something to the supervisor at the end of the path, and to those above it what
    /// follows if it ends.
    pub(crate) fn at(&mut self, path: &[String], now: Duration, act: &mut dyn FnMut(&mut Self)) {
        let below = path.first().and_then(|name| {
            let index = self.position(name)?;
            self.kids[index].model.as_mut()
        });
        let Some(model) = below else { return act(self) };
        model.at(&path[1..], now, act);
        if let Some(why) = model.over {
            // P3; that giving up is abnormal is not OTP's: ours
            self.exit(&path[0], why == "gave up", now);
        }
    }

    fn note(&self, what: String) {
        self.script.borrow_mut().note(format!("{}: {what}", self.path));
    }

    pub(crate) fn boot(&mut self) {
        // S1, S2
        for index in 0..self.kids.len() {
            if !self.start(index) {
                return self.end("start failed");
            }
        }
        self.note("booted".into());
    }

    pub(crate) fn exit(&mut self, name: &str, abnormal: bool, now: Duration) {
        let Some(index) = self.position(name).filter(|index| self.kids[*index].running) else {
            return;
        };
        self.kids[index].running = false;
        if let Some(mut model) = self.kids[index].model.take()
            && model.over.is_none()
            && !abnormal
        {
            model.end("asked"); // P3
        }
        let significant = self.kids[index].kid.significant;
        match (self.kids[index].kid.restart, abnormal) {
            // S6
            (Restart::Permanent, _) | (Restart::Transient, true) => self.restart(index, now),
            (Restart::Temporary, _) => {
                self.kids.remove(index);
                self.significant_end(significant);
            }
            (Restart::Transient, false) => {
                if self.config.dynamic {
                    self.kids.remove(index); // S14
                }
                self.significant_end(significant);
            }
        }
    }

    fn restart(&mut self, mut index: usize, now: Duration) {
        loop {
            // S7
            self.restarts.push(now);
            self.restarts.retain(|then| *then + self.config.intensity.period >= now);
            if self.restarts.len() > self.config.intensity.restarts as usize {
                return self.end("gave up");
            }
            let first = match self.config.strategy {
                Strategy::OneForOne => {
                    // S3, P1
                    if self.start(index) {
                        return;
                    }
                    continue;
                }
                Strategy::OneForAll => 0,      // S4
                Strategy::RestForOne => index, // S5
            };
            self.stop_from(first);
            // S6: not even for a sibling's sake
            let mut position = 0;
            self.kids.retain(|place| {
                position += 1;
                position <= first || place.kid.restart != Restart::Temporary
            });
            match (first..self.kids.len()).find(|index| !self.start(*index)) {
                None => return,
                Some(failed) => index = failed, // P1
            }
        }
    }

    fn significant_end(&mut self, significant: bool) {
        let active = self.kids.iter().any(|place| place.kid.significant && place.running);
        // S8
        match self.config.auto_shutdown {
            AutoShutdown::AnySignificant if significant => self.end("automatic"),
            AutoShutdown::AllSignificant if significant && !active => self.end("automatic"),
            _ => {}
        }
    }

    pub(crate) fn start_child(&mut self, kid: Kid) {
        let senseless =
            kid.restart == Restart::Permanent || self.config.auto_shutdown == AutoShutdown::Never;
        if self.position(&kid.name).is_some() {
            self.answer("already present"); // S10
        } else if self.kids.len() >= self.config.children_max {
            self.answer("full"); // not OTP's: ours
        } else if kid.significant && senseless {
            self.answer("significant"); // S9
        } else {
            self.kids.push(Place { kid, running: false, model: None });
            if self.start(self.kids.len() - 1) {
                self.answer("ok");
            } else {
                self.kids.pop(); // S10
                self.answer("start failed");
            }
        }
    }

    pub(crate) fn terminate_child(&mut self, name: &str) {
        // S11, P2
        let Some(index) = self.position(name) else { return self.answer("not found") };
        if self.kids[index].running {
            self.stop(index);
        }
        if self.kids[index].kid.restart == Restart::Temporary || self.config.dynamic {
            self.kids.remove(index);
        }
        self.answer("ok");
    }

    pub(crate) fn restart_child(&mut self, name: &str) {
        // S12
        match self.position(name) {
            None => self.answer("not found"),
            Some(index) if self.kids[index].running => self.answer("running"),
            Some(index) => {
                let answer = if self.start(index) { "ok" } else { "start failed" };
                self.answer(answer);
            }
        }
    }

    pub(crate) fn delete_child(&mut self, name: &str) {
        // S13
        match self.position(name) {
            None => self.answer("not found"),
            Some(index) if self.kids[index].running => self.answer("running"),
            Some(index) => {
                self.kids.remove(index);
                self.answer("ok");
            }
        }
    }

    pub(crate) fn end(&mut self, why: &'static str) {
        self.stop_from(0); // S1, S7
        self.kids.clear();
        self.note(format!("ended: {why}"));
        self.over = Some(why);
    }

    fn stop_from(&mut self, first: usize) {
        for index in (first..self.kids.len()).rev() {
            if self.kids[index].running {
                self.stop(index);
            }
        }
    }

    fn stop(&mut self, index: usize) {
        if let Some(mut model) = self.kids[index].model.take() {
            model.end("asked"); // P3
        }
        self.kids[index].running = false;
        self.note(format!("stop {}", self.kids[index].kid.name));
    }

    fn start(&mut self, index: usize) -> bool {
        let Kid { name, below, .. } = &self.kids[index].kid;
        let path = format!("{}/{name}", self.path);
        let model = below.as_ref().map(|tree| {
            let mut model = Self::new(tree, path, self.script.clone());
            model.boot(); // P3
            model
        });
        let succeeds = match &model {
            Some(model) => model.over.is_none(),
            None => self.script.borrow_mut().next_start_succeeds(),
        };
        self.note(format!("start {name}{}", if succeeds { "" } else { " fails" }));
        let place = &mut self.kids[index];
        place.running = succeeds;
        place.model = model.filter(|_| succeeds).map(Box::new);
        succeeds
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.kids.iter().position(|place| place.kid.name == name)
    }

    fn answer(&mut self, answer: &str) {
        self.note(format!("answer: {answer}"));
    }
}
