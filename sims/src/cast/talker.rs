//! Who keeps players busy, everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_actors::{Address, AskError};
use umbel_cluster::{ClusterForwarding, ClusterTopic, Instance, Node};

use super::listener::{Hear, Listener, NEWS, News};
use super::player::{PLAYER, Part};
use super::{Calm, CastError, Recorder, Staging};
use crate::mutant::Mutant;
use crate::record::{Conclusion, Record};

/// The longest pause between two things that a talker does.
const PAUSE_MILLIS: u64 = 200;

/// How long it waits for credit before it gives a message up.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// How many questions may be open at once.
const QUESTIONS_MAX: usize = 32;

/// One message in so many is large, and how large at most: a lane of its own carries what is beyond 128 KiB.
const LARGE_ONE_IN: u64 = 100;
const LARGE_BYTES_MAX: u64 = 256 << 10;

/// How many messages a flood has, if nothing stops it.
const FLOOD: u32 = 1000;

/// How many tasks each question leaves with [`Mutant::LeakedTasks`].
const LEAK: usize = 10;

/// Tells, asks, publishes, subscribes, and makes players fall, until its system ends.
pub(super) async fn talk(node: Node, recorder: Recorder, staging: Staging) {
    let system = node.system().clone();
    let stopped = system.stopped();
    let talking = async {
        if let Ok(mut talker) = Talker::new(node, recorder, staging) {
            loop {
                talker.act().await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stopped => {}
        () = talking => {}
    }
}

struct Talker {
    node: Node,
    /// Its life's name: that of the node's.
    name: String,
    recorder: Recorder,
    calm: Calm,
    topic: ClusterTopic<News>,
    /// The last number that each player was told, by the names of its node and of itself.
    told: BTreeMap<String, u64>,
    published: u64,
    asked: u64,
    subscriptions: u64,
    listening: Option<(String, Address<Hear>, ClusterForwarding)>,
    mutant: Option<Mutant>,
    /// What [`Mutant::HearsOn`] goes on with.
    hears_on: Option<(Address<Hear>, ClusterForwarding)>,
    questions: tokio::task::JoinSet<()>,
}

impl Talker {
    fn new(node: Node, recorder: Recorder, staging: Staging) -> Result<Self, CastError> {
        let topic = node.topic::<News>(NEWS)?;
        let name = format!("{}/talker", node.id());
        let questions = tokio::task::JoinSet::new();
        let (told, published, asked, subscriptions, listening) = (BTreeMap::new(), 0, 0, 0, None);
        Ok(Self {
            node,
            name,
            recorder,
            calm: staging.calm,
            topic,
            told,
            published,
            asked,
            subscriptions,
            listening,
            mutant: staging.mutant,
            hears_on: None,
            questions,
        })
    }

    fn below(&self, bound: u64) -> u64 {
        self.node.system().random() % bound
    }

    async fn act(&mut self) {
        tokio::time::sleep(Duration::from_millis(1 + self.below(PAUSE_MILLIS))).await;
        while self.questions.try_join_next().is_some() {}
        match self.below(20) {
            0..8 => self.tell().await,
            8..13 => self.ask(),
            13..16 => self.publish().await,
            16..18 if !self.calm.is_on() => self.listen_or_rest().await,
            18 if !self.calm.is_on() => self.fell(),
            19 => self.flood(),
            _ => {}
        }
    }

    /// Some player, on this node or another.
    fn player(&self) -> Option<Instance<Part>> {
        let mut players = self.node.discover::<Part>(PLAYER);
        let count = players.len() as u64;
        (count > 0).then(|| players.swap_remove(self.below(count) as usize))
    }

    async fn tell(&mut self) {
        let Some(player) = self.player() else { return };
        let to = format!("{}/{}", player.node.name, player.metadata["name"]);
        for _ in 0..=self.below(5) {
            let (from, to, ballast) = (self.name.clone(), to.clone(), self.ballast());
            let number = self.told.entry(to.clone()).or_default();
            *number += 1;
            let number = *number;
            let line = Part::Line { from: from.clone(), to: to.clone(), number, ballast };
            self.recorder.record(Record::Sent { from, to, number });
            // Who cannot be told within the time is not.
            let _ = tokio::time::timeout(TELL_WITHIN, player.address.tell(line)).await;
        }
    }

    /// What makes some messages so large that they go another way.
    fn ballast(&self) -> String {
        let bytes = if self.below(LARGE_ONE_IN) == 0 { self.below(LARGE_BYTES_MAX) } else { 0 };
        "o".repeat(bytes as usize)
    }

    fn ask(&mut self) {
        let Some(player) = self.player() else { return };
        if self.questions.len() >= QUESTIONS_MAX {
            return;
        }
        self.asked += 1;
        let question = format!("{}?{}", self.name, self.asked);
        let deadline = Duration::from_millis(50 + self.below(2_000));
        let (kind, millis) = (self.below(6), self.below(1_000));
        let open = Question::ask(question.clone(), deadline, self.recorder.clone());
        let no_deadlines = self.mutant == Some(Mutant::NoDeadlines);
        let deadline = if no_deadlines { Duration::MAX } else { deadline };
        if self.mutant == Some(Mutant::LeakedTasks) {
            (0..LEAK).for_each(|_| drop(tokio::spawn(std::future::pending::<()>())));
        }
        self.questions.spawn(async move {
            let text = question.clone();
            let make = |reply| match kind {
                0 => Part::Muse(text, millis, reply),
                1 => Part::Forget(reply),
                _ => Part::Echo(text, reply),
            };
            let answer = player.address.ask_within(deadline, make).await;
            open.conclude(match (kind, answer) {
                (1, Ok(answer)) => Conclusion::Wrong(answer),
                (_, answer) => conclusion(&question, answer),
            });
        });
    }

    async fn publish(&mut self) {
        self.published += 1;
        let (publisher, number) = (self.name.clone(), self.published);
        self.recorder.record(Record::Published { publisher: publisher.clone(), number });
        let news = News { publisher, number };
        // Who cannot be told within the time is not.
        let _ = tokio::time::timeout(TELL_WITHIN, self.topic.publish(news)).await;
    }

    async fn listen_or_rest(&mut self) {
        let Some((subscription, listener, forwarding)) = self.listening.take() else {
            self.subscriptions += 1;
            let subscription = format!("{}!{}", self.name, self.subscriptions);
            let recorder = self.recorder.clone();
            let listener = Listener { subscription: subscription.clone(), recorder };
            let Ok(listener) = self.node.spawn(listener, ()).await else { return };
            self.recorder.record(Record::Subscribed { subscription: subscription.clone() });
            let Ok(forwarding) = self.topic.forward(&listener, Hear::News) else { return };
            self.listening = Some((subscription, listener, forwarding));
            return;
        };
        if self.mutant == Some(Mutant::HearsOn) {
            self.recorder.record(Record::Unsubscribed { subscription });
            self.hears_on = Some((listener, forwarding));
            return;
        }
        drop(forwarding);
        if listener.ask(Hear::Rest).await.is_ok() {
            self.recorder.record(Record::Unsubscribed { subscription });
        }
        listener.stop();
    }

    /// Some player of this node.
    fn player_here(&self) -> Option<Instance<Part>> {
        let here = self.node.id();
        let mut players = self.node.discover::<Part>(PLAYER);
        players.retain(|player| player.node == here);
        let count = players.len() as u64;
        (count > 0).then(|| players.swap_remove(self.below(count) as usize))
    }

    /// Makes a player of this node fall.
    fn fell(&self) {
        if let Some(player) = self.player_here() {
            // One whose mailbox is full stands.
            let _ = player.address.try_tell(Part::Fall);
        }
    }

    /// Tells a player of this node as much as its mailbox takes.
    fn flood(&self) {
        if let Some(player) = self.player_here() {
            let taken = |_: &u32| player.address.try_tell(Part::Wait).is_ok();
            (0..FLOOD).take_while(taken).for_each(drop);
        }
    }
}

/// A question whose end will be told, whatever it is.
struct Question {
    name: String,
    recorder: Recorder,
    is_open: bool,
}

impl Question {
    fn ask(name: String, deadline: Duration, recorder: Recorder) -> Self {
        recorder.record(Record::Asked { question: name.clone(), deadline });
        Self { name, recorder, is_open: true }
    }

    fn conclude(mut self, outcome: Conclusion) {
        self.is_open = false;
        self.recorder.record(Record::Concluded { question: self.name.clone(), outcome });
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.is_open {
            let (question, outcome) = (self.name.clone(), Conclusion::GivenUp);
            self.recorder.record(Record::Concluded { question, outcome });
        }
    }
}

/// What became of a question whose right answer is its own text.
pub(crate) fn conclusion(question: &str, answer: Result<String, AskError>) -> Conclusion {
    match answer {
        Ok(answer) if answer == question => Conclusion::Answered,
        Ok(answer) => Conclusion::Wrong(answer),
        Err(why) => Conclusion::Failed(why.to_string()),
    }
}
