//! Who keeps players busy, everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_actors::{Address, AskError};
use umbel_cluster::{ClusterForwarding, ClusterTopic, Instance, Node};

use super::listener::{Hear, Listener, NEWS, News};
use super::player::{PLAYER, Part};
use super::{Calm, CastError, Recorder};
use crate::record::{Conclusion, Record};

/// The longest pause between two things that a talker does.
const PAUSE_MILLIS: u64 = 200;

/// How long it waits for credit before it gives a message up.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// How many questions may be open at once.
const QUESTIONS_MAX: usize = 32;

/// Tells, asks, publishes, subscribes, and makes players fall, until its system ends.
pub(super) async fn talk(node: Node, recorder: Recorder, calm: Calm) {
    let system = node.system().clone();
    let stopped = system.stopped();
    let talking = async {
        if let Ok(mut talker) = Talker::new(node, recorder, calm) {
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
    /// The last number that each player was told, by node and place among its players.
    told: BTreeMap<String, u64>,
    published: u64,
    asked: u64,
    subscriptions: u64,
    listening: Option<(String, Address<Hear>, ClusterForwarding)>,
    questions: tokio::task::JoinSet<()>,
}

impl Talker {
    fn new(node: Node, recorder: Recorder, calm: Calm) -> Result<Self, CastError> {
        let topic = node.topic::<News>(NEWS)?;
        let name = format!("{}/talker", node.id());
        let questions = tokio::task::JoinSet::new();
        let (told, published, asked, subscriptions, listening) = (BTreeMap::new(), 0, 0, 0, None);
        Ok(Self {
            node,
            name,
            recorder,
            calm,
            topic,
            told,
            published,
            asked,
            subscriptions,
            listening,
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
        let to = format!("{}/{}", player.node, player.metadata["name"]);
        for _ in 0..=self.below(5) {
            let number = self.told.entry(to.clone()).or_default();
            *number += 1;
            let (from, number) = (self.name.clone(), *number);
            let line = Part::Line { from: from.clone(), number };
            let told = tokio::time::timeout(TELL_WITHIN, player.address.tell(line)).await;
            if matches!(told, Ok(Ok(()))) {
                self.recorder.record(Record::Sent { from, to: to.clone(), number });
            }
        }
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
        let recorder = self.recorder.clone();
        recorder.record(Record::Asked { question: question.clone(), deadline });
        self.questions.spawn(async move {
            let text = question.clone();
            let make = |reply| match kind {
                0 => Part::Muse(text, millis, reply),
                1 => Part::Forget(reply),
                _ => Part::Echo(text, reply),
            };
            let answer = player.address.ask_within(deadline, make).await;
            let outcome = conclusion(&question, answer);
            recorder.record(Record::Concluded { question, outcome });
        });
    }

    async fn publish(&mut self) {
        self.published += 1;
        let news = News { publisher: self.name.clone(), number: self.published };
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
            let Ok(forwarding) = self.topic.forward(&listener, Hear::News) else { return };
            self.recorder.record(Record::Subscribed { subscription: subscription.clone() });
            self.listening = Some((subscription, listener, forwarding));
            return;
        };
        drop(forwarding);
        if listener.ask(Hear::Rest).await.is_ok() {
            self.recorder.record(Record::Unsubscribed { subscription });
        }
        listener.stop();
    }

    /// Makes a player of this node fall.
    fn fell(&self) {
        let here = self.node.id();
        let mut players = self.node.discover::<Part>(PLAYER);
        players.retain(|player| player.node == here);
        if !players.is_empty() {
            let player = &players[self.below(players.len() as u64) as usize];
            // One whose mailbox is full stands.
            let _ = player.address.try_tell(Part::Fall);
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
