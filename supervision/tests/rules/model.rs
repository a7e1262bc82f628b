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
//! | P2 | Automatic Shutdown | a termination by the supervisor, for a sibling's sake or by `terminate_child/2`, does not shut it down |

use std::time::Duration;

use umbel_supervision::{AutoShutdown, Restart, Strategy, engine::Config};

#[derive(Clone, Debug)]
pub(crate) struct Kid {
    pub(crate) name: String,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) running: bool,
}

pub(crate) struct Model<'a> {
    pub(crate) config: Config,
    pub(crate) kids: Vec<Kid>,
    pub(crate) over: bool,
    /// What it does, in order.
    pub(crate) trace: Vec<String>,
    restarts: Vec<Duration>,
    /// Whether the next start succeeds.
    start_succeeds: Box<dyn FnMut() -> bool + 'a>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(
        config: Config,
        kids: Vec<Kid>,
        start_succeeds: impl FnMut() -> bool + 'a,
    ) -> Self {
        let start_succeeds = Box::new(start_succeeds);
        Self { config, kids, over: false, trace: vec![], restarts: vec![], start_succeeds }
    }

    pub(crate) fn boot(&mut self) {
        // S1, S2
        for index in 0..self.kids.len() {
            if !self.start(index) {
                return self.end("start failed");
            }
        }
        self.trace.push("booted".into());
    }

    pub(crate) fn exit(&mut self, name: &str, abnormal: bool, now: Duration) {
        let Some(index) = self.position(name).filter(|index| self.kids[*index].running) else {
            return;
        };
        self.kids[index].running = false;
        let significant = self.kids[index].significant;
        match (self.kids[index].restart, abnormal) {
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
            self.kids.retain(|kid| {
                position += 1;
                position <= first || kid.restart != Restart::Temporary
            });
            match (first..self.kids.len()).find(|index| !self.start(*index)) {
                None => return,
                Some(failed) => index = failed, // P1
            }
        }
    }

    fn significant_end(&mut self, significant: bool) {
        let active = self.kids.iter().any(|kid| kid.significant && kid.running);
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
            self.kids.push(kid);
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
            self.kids[index].running = false;
            self.trace.push(format!("stop {name}"));
        }
        if self.kids[index].restart == Restart::Temporary || self.config.dynamic {
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

    pub(crate) fn end(&mut self, why: &str) {
        self.stop_from(0); // S1, S7
        self.kids.clear();
        self.trace.push(format!("ended: {why}"));
        self.over = true;
    }

    fn stop_from(&mut self, first: usize) {
        for kid in self.kids[first..].iter_mut().rev().filter(|kid| kid.running) {
            kid.running = false;
            self.trace.push(format!("stop {}", kid.name));
        }
    }

    fn start(&mut self, index: usize) -> bool {
        let succeeds = (self.start_succeeds)();
        let kid = &mut self.kids[index];
        kid.running = succeeds;
        self.trace.push(format!("start {}{}", kid.name, if succeeds { "" } else { " fails" }));
        succeeds
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.kids.iter().position(|kid| kid.name == name)
    }

    fn answer(&mut self, answer: &str) {
        self.trace.push(format!("answer: {answer}"));
    }
}
