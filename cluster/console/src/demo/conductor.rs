//! Runs the demo: starts the nodes, kills one, and follows what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use umbel_actors::{Restart, Strategy, Supervisor, SupervisorRef};
use umbel_cluster::{Change, ClusterSubscription, ClusterTopic, Discovery, Node};
use umbel_protocol::NodeName;

use crate::demo::counter::{COUNTERS, CountBatch, PROGRESS, Progress};
use crate::demo::crew::Crew;
use crate::demo::intake::{Counts, Intake, IntakePlan, Notice, Victim};
use crate::demo::losses::Losses;
use crate::demo::recovery::Recovery;
use crate::demo::report::counted;
use crate::demo::screen::Screen;
use crate::demo::sources::Sources;
use crate::failure::Failure;

/// A node is up within this, or the demo fails; and so long may pass in which no batch is merged.
const PATIENCE: Duration = Duration::from_secs(60);

/// The batches that are open for each counter: one that it counts, and some that are on their way.
const OPEN_PER_COUNTER: usize = 4;

/// The nodes that may die, besides the one that is killed, before the demo is given up.
const DEATHS_MAX: u32 = 16;

/// How the demo is to be run.
pub(crate) struct Score {
    pub(crate) nodes: u16,
    pub(crate) counters: u16,
    pub(crate) batch_lines_max: u64,
    pub(crate) victim: Victim,
}

/// What came out of it.
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) recovery: Option<Recovery>,
}

/// Runs the demo on a node of its own, the desk, which counts nothing.
pub(crate) struct Conductor<'a> {
    began: Instant,
    score: &'a Score,
    desk: &'a Node,
    crew: &'a mut Crew,
    screen: &'a mut Screen,
    discovery: Discovery<CountBatch>,
    topic: ClusterTopic<Progress>,
    progress: ClusterSubscription<Progress>,
    /// How many counters of each node are in the registry.
    counters: BTreeMap<NodeName, u16>,
    /// The nodes that were ever complete.
    joined: BTreeSet<NodeName>,
    recovery: Option<Recovery>,
    told_recovered: bool,
    deaths: u32,
    losses: Losses,
    done: Option<Counts>,
    heard_at: Instant,
}

enum Happened {
    Notice(Option<Notice>),
    Progress(Option<Progress>),
    Counters(Change<CountBatch>),
    Ended(NodeName, std::io::Result<ExitStatus>),
    IntakeGone,
    /// Losses have been gathered for long enough.
    Gathered,
    Silence,
}

impl<'a> Conductor<'a> {
    pub(crate) fn new(
        began: Instant,
        score: &'a Score,
        desk: &'a Node,
        crew: &'a mut Crew,
        screen: &'a mut Screen,
    ) -> Result<Self, Failure> {
        let topic = desk.topic(PROGRESS).map_err(Failure::unexpected)?;
        let progress = topic.subscribe().map_err(Failure::unexpected)?;
        Ok(Self {
            began,
            score,
            desk,
            crew,
            screen,
            discovery: desk.watch(COUNTERS),
            topic,
            progress,
            counters: BTreeMap::new(),
            joined: BTreeSet::new(),
            recovery: None,
            told_recovered: false,
            deaths: 0,
            losses: Losses::default(),
            done: None,
            heard_at: began,
        })
    }

    /// Starts the nodes, has all counted, and returns when the counts are there and the cluster has
    /// got over the kill.
    pub(crate) async fn run(mut self, sources: Arc<Sources>) -> Result<Outcome, Failure> {
        for _ in 0..self.score.nodes {
            self.start_node()?;
        }
        let (notices, mut noticed) = mpsc::channel(64);
        self.heard_at = Instant::now();
        while self.complete() < self.score.nodes {
            let happened = self.next(&mut noticed, None).await;
            self.step(happened)?;
        }
        let (files, bytes) = (sources.files(), sources.bytes());
        let shown = counted(files, "file");
        self.say(&format!("the intake reads {shown}, {bytes} bytes"))?;
        self.screen.begin("counted", bytes);
        let in_flight_max =
            usize::from(self.score.nodes) * usize::from(self.score.counters) * OPEN_PER_COUNTER;
        let plan = IntakePlan {
            node: self.desk.clone(),
            topic: self.topic.clone(),
            sources,
            batch_lines_max: self.score.batch_lines_max,
            in_flight_max,
            victim: self.score.victim.clone(),
            notices,
        };
        let intake = self.desk.system().child("intake", move || (Intake, plan.clone()));
        let supervisor =
            Supervisor::new("demo", Strategy::OneForOne).child(intake.restart(Restart::Transient));
        let supervisor =
            self.desk.system().supervise(supervisor).await.map_err(Failure::unexpected)?;
        self.heard_at = Instant::now();
        loop {
            if self.is_over()
                && let Some(counts) = self.done.take()
            {
                return Ok(Outcome { counts, recovery: self.recovery });
            }
            let happened = self.next(&mut noticed, Some(&supervisor)).await;
            self.step(happened)?;
        }
    }

    /// Whether all is counted, and the cluster as complete as before the kill.
    fn is_over(&self) -> bool {
        let recovered = |recovery: &Recovery| recovery.recovered_in().is_some();
        self.done.is_some() && self.recovery.as_ref().is_none_or(recovered)
    }

    /// How many nodes have all their counters in the registry.
    fn complete(&self) -> u16 {
        let complete = self.counters.values().filter(|count| **count == self.score.counters);
        u16::try_from(complete.count()).unwrap_or(u16::MAX)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn say(&self, what: &str) -> Result<(), Failure> {
        Ok(self.screen.say(self.now(), what)?)
    }

    async fn next(
        &mut self,
        noticed: &mut mpsc::Receiver<Notice>,
        intake: Option<&SupervisorRef>,
    ) -> Happened {
        let intake_is_needed = intake.is_some() && self.done.is_none();
        let intake_gone = async {
            match intake {
                Some(supervisor) => supervisor.ended().await,
                None => std::future::pending().await,
            }
        };
        let due = self.losses.due();
        let gathered = tokio::time::sleep_until(self.began + due.unwrap_or_default());
        // In this order: what the intake says of a node's death comes after the registry's word.
        tokio::select! {
            biased;
            change = self.discovery.changed() => Happened::Counters(change),
            (node, status) = self.crew.ended() => Happened::Ended(node, status),
            notice = noticed.recv(), if intake_is_needed => Happened::Notice(notice),
            progress = self.progress.recv() => Happened::Progress(progress),
            () = intake_gone, if intake_is_needed => Happened::IntakeGone,
            () = gathered, if due.is_some() => Happened::Gathered,
            () = tokio::time::sleep_until(self.heard_at + PATIENCE) => Happened::Silence,
        }
    }

    fn step(&mut self, happened: Happened) -> Result<(), Failure> {
        match happened {
            Happened::Counters(change) => self.counters_changed(&change)?,
            Happened::Notice(Some(notice)) => self.noticed(notice)?,
            Happened::Ended(node, status) => self.ended(&node, status)?,
            Happened::Progress(progress) => {
                if let Some(progress) = progress {
                    self.screen.progress(progress);
                }
            }
            Happened::Gathered => return self.tell_losses(),
            Happened::Notice(None) | Happened::IntakeGone => {
                return Err(Failure::new(
                    "the intake failed again and again",
                    "see why with RUST_LOG=debug",
                ));
            }
            Happened::Silence => {
                return Err(Failure::new(
                    format!("nothing has happened for {PATIENCE:?}"),
                    "is the machine overloaded? see more with RUST_LOG=debug",
                ));
            }
        }
        self.heard_at = Instant::now();
        Ok(())
    }

    fn start_node(&mut self) -> Result<NodeName, Failure> {
        let (node, pid) = self.crew.start()?;
        self.say(&format!("{node} is started as process {pid}"))?;
        Ok(node)
    }

    fn counters_changed(&mut self, change: &Change<CountBatch>) -> Result<(), Failure> {
        match change {
            Change::Added(counter) => self.joined(&counter.node.name.clone()),
            Change::Removed(counter) => self.left(&counter.node.name.clone()),
            // There are at most a hundred or so of them, and changes are read at once.
            _ => Ok(()),
        }
    }

    fn joined(&mut self, node: &NodeName) -> Result<(), Failure> {
        let counters = self.counters.entry(node.clone()).or_default();
        *counters += 1;
        if *counters < self.score.counters {
            return Ok(());
        }
        self.joined.insert(node.clone());
        self.say(&format!("{node} has joined, with {} counters", self.score.counters))?;
        let (now, is_complete) = (self.now(), self.complete() >= self.score.nodes);
        if let Some(recovery) = &mut self.recovery
            && is_complete
        {
            recovery.replaced(now);
            self.tell_when_recovered()?;
        }
        Ok(())
    }

    fn left(&mut self, node: &NodeName) -> Result<(), Failure> {
        if self.counters.remove(node).is_none() {
            return Ok(());
        }
        self.screen.gone(node);
        let now = self.now();
        let detected = match &mut self.recovery {
            Some(recovery) if recovery.killed == *node => {
                recovery.detected(now);
                recovery.detected_in()
            }
            _ => None,
        };
        let after = match detected {
            Some(after) => format!(" {:.1} ms after the kill", after.as_secs_f64() * 1e3),
            None => String::new(),
        };
        self.say(&format!("the registry lists {node} no more{after}"))?;
        self.tell_when_recovered()
    }

    fn ended(
        &mut self,
        node: &NodeName,
        status: std::io::Result<ExitStatus>,
    ) -> Result<(), Failure> {
        let is_killed = self.recovery.as_ref().is_some_and(|recovery| recovery.killed == *node);
        let how = status.map_or_else(|why| why.to_string(), |status| status.to_string());
        if !is_killed {
            self.deaths += 1;
            self.say(&format!("{node} has ended, which nobody asked for: {how}"))?;
        }
        if self.deaths > DEATHS_MAX || !self.joined.contains(node) {
            return Err(Failure::new(
                format!("{node} has ended before it could work ({how})"),
                "see why with RUST_LOG=debug",
            ));
        }
        let fresh = self.start_node()?;
        self.say(&format!("{fresh} is to replace {node}"))
    }

    fn noticed(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Middle { victim, go_on } => {
                if self.recovery.is_none() && self.crew.kill(&victim) {
                    self.recovery = Some(Recovery::new(victim.clone(), self.now()));
                    self.say(
                        &console::style(format!("{victim} is killed: SIGKILL")).red().to_string(),
                    )?;
                }
                // The intake is there, or is being started again.
                let _ = go_on.send(());
                Ok(())
            }
            Notice::Lost { node, why } => {
                self.losses.note(self.now(), node, &why);
                Ok(())
            }
            Notice::TakenOver { node } => {
                self.tell_losses()?;
                let (now, lost) = (self.now(), self.losses.taken_over(&node));
                let batches = match lost {
                    1 => "the batch".to_owned(),
                    lost => format!("the {lost} batches"),
                };
                self.say(&format!("others have counted {batches} that {node} had in hands"))?;
                if let Some(recovery) = &mut self.recovery
                    && recovery.killed == node
                {
                    recovery.taken_over(now);
                }
                self.tell_when_recovered()
            }
            Notice::Done(counts) => {
                self.tell_losses()?;
                let now = self.now();
                self.done = Some(*counts);
                self.say("all is counted")?;
                // Nothing is left that anybody could have in hands.
                if let Some(recovery) = &mut self.recovery {
                    recovery.taken_over(now);
                }
                self.tell_when_recovered()
            }
            Notice::Failed(why) => Err(Failure::unexpected(why)),
        }
    }

    fn tell_losses(&mut self) -> Result<(), Failure> {
        self.losses.tell().iter().try_for_each(|line| self.say(line))
    }

    fn tell_when_recovered(&mut self) -> Result<(), Failure> {
        let Some(recovered) = self.recovery.as_ref().and_then(Recovery::recovered_in) else {
            return Ok(());
        };
        if std::mem::replace(&mut self.told_recovered, true) {
            return Ok(());
        }
        let milliseconds = recovered.as_secs_f64() * 1e3;
        let what = format!("recovered {milliseconds:.1} ms after the kill");
        self.say(&console::style(what).green().to_string())
    }
}
