//! The tree that the players live under.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use umbel_actors::supervision::{Event, EventStream, Happening, Observed};
use umbel_actors::{
    Address, Backoff, ChildOptions, ChildSpec, Restart, Strategy, Supervisor, SupervisorRef,
};
use umbel_cluster::{Node, Offer};

use super::player::{Billing, PLAYER, PLAYERS, Part, Player};
use super::{CastError, Recorder};
use crate::mutant::Mutant;
use crate::record::Record;

/// How many restarts the players' supervisor allows, in which time. OTP's defaults are 1 in 5 s.
const CAST: (u32, Duration) = (2, Duration::from_secs(5));

/// How often in which time the root starts that one again.
const HOUSE: (u32, Duration) = (3, Duration::from_secs(10));

/// How many messages of its own node a player's mailbox takes.
const MAILBOX_CAPACITY: usize = 64;

/// After the whole house has given up, it opens again.
const REOPENS_AFTER: Duration = Duration::from_millis(100);

/// Starts the tree, lets the players be found, and does so again when the tree has given up.
pub(super) async fn open(
    node: &Node,
    recorder: &Recorder,
    mutant: Option<Mutant>,
) -> Result<(), CastError> {
    let season = Season {
        mutant,
        node: node.clone(),
        recorder: recorder.clone(),
        billing: Arc::new(Billing::new(node.id().to_string())),
    };
    let house = season.open().await?;
    let node = node.clone();
    tokio::spawn(async move {
        let seasons = async {
            let mut house = Some(house);
            loop {
                if let Some(house) = house {
                    house.ended().await;
                }
                tokio::time::sleep(REOPENS_AFTER).await;
                // An error: names of the last season are not free yet, or the system is going down.
                house = season.open().await.ok();
            }
        };
        tokio::select! {
            biased;
            () = node.system().stopped() => {}
            () = seasons => {}
        }
    });
    Ok(())
}

/// What each life of the tree needs.
struct Season {
    node: Node,
    recorder: Recorder,
    billing: Arc<Billing>,
    mutant: Option<Mutant>,
}

impl Season {
    async fn open(&self) -> Result<SupervisorRef, CastError> {
        let children: Vec<_> = (0..PLAYERS).map(|number| self.child(number)).collect();
        let players: Vec<_> = children.iter().map(|child| child.handle().clone()).collect();
        let extra = if self.mutant == Some(Mutant::Lenient) { 20 } else { 0 };
        let cast = Supervisor::new("cast", Strategy::OneForOne).intensity(CAST.0 + extra, CAST.1);
        let cast = children.into_iter().fold(cast, Supervisor::child);
        let (recorder, billing) = (self.recorder.clone(), self.billing.clone());
        let cast = ChildSpec::supervisor("cast", move || {
            // Called at each start, before any player of that life is made.
            supervises(&recorder, billing.next_cast(), CAST);
            cast.clone()
        });
        let house = Supervisor::new("house", Strategy::OneForOne)
            .intensity(HOUSE.0, HOUSE.1)
            .child(cast.restart(Restart::Permanent));
        let name = self.billing.next_house();
        supervises(&self.recorder, name.clone(), HOUSE);
        tokio::spawn(self.critic(name).follow(house.events()));
        let house = self.node.system().supervise(house).await?;
        if let Err(why) = self.announce(&players).await {
            house.stop().await;
            return Err(why);
        }
        Ok(house)
    }

    fn child(&self, number: usize) -> ChildSpec<Address<Part>> {
        let (name, mutant) = (format!("player-{number}"), self.mutant);
        let (told, recorder, billing) = (name.clone(), self.recorder.clone(), self.billing.clone());
        let make = move || {
            let supervisor = billing.cast(billing.casts() - 1);
            let (name, billing, recorder) = (told.clone(), billing.clone(), recorder.clone());
            (Player { name, supervisor, billing, recorder, mutant }, ())
        };
        let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_millis(500));
        let mortal = mutant == Some(Mutant::Mortal);
        let restart = if mortal { Restart::Temporary } else { Restart::Permanent };
        let roomy = mutant == Some(Mutant::Roomy);
        let capacity = if roomy { usize::MAX } else { MAILBOX_CAPACITY };
        let options = ChildOptions { mailbox_capacity: Some(capacity), ..ChildOptions::default() };
        self.node.system().child_with(name, options, make).restart(restart).backoff(backoff)
    }

    async fn announce(&self, players: &[Address<Part>]) -> Result<(), CastError> {
        for (number, player) in players.iter().enumerate() {
            let metadata = [("name".to_owned(), format!("player-{number}"))].into();
            let offer = Offer { metadata, ..Offer::default() };
            self.node.register_with(PLAYER, player, offer).await?;
        }
        Ok(())
    }

    fn critic(&self, house: String) -> Critic {
        let (recorder, billing) = (self.recorder.clone(), self.billing.clone());
        Critic { recorder, house, cast: billing.casts(), billing, decided: BTreeMap::new() }
    }
}

fn supervises(recorder: &Recorder, supervisor: String, (restarts_max, period): (u32, Duration)) {
    recorder.record(Record::Supervises { supervisor, restarts_max, period });
}

/// Tells what happens in one life of the tree.
struct Critic {
    recorder: Recorder,
    billing: Arc<Billing>,
    /// The life of the root.
    house: String,
    /// The number of the life of the players' supervisor whose events come now. Each ends with one event
    /// of its root's, before the next is made.
    cast: u64,
    /// When it was decided that a child is to be started again, by its supervisor and its name.
    decided: BTreeMap<(Arc<str>, Arc<str>), Duration>,
}

impl Critic {
    async fn follow(mut self, mut events: EventStream) {
        while let Some(observed) = events.next().await {
            if let Observed::Event(event) = observed {
                self.tell(event);
            }
        }
    }

    fn tell(&mut self, Event { at, supervisor, child, what }: Event) {
        let is_house = &*supervisor == "house";
        let Some(child) = child else {
            if is_house && matches!(what, Happening::Stopped { .. }) {
                let supervisor = self.house.clone();
                self.recorder.record(Record::Ended { supervisor });
            }
            return;
        };
        match what {
            Happening::Waiting { .. } => {
                self.decided.insert((supervisor, child), at);
            }
            Happening::Restarted { .. } => {
                let key = (supervisor, child.clone());
                let decided_at = self.decided.remove(&key).unwrap_or(at);
                let supervisor =
                    if is_house { self.house.clone() } else { self.billing.cast(self.cast) };
                let child = child.to_string();
                self.recorder.record(Record::Restarted { supervisor, child, decided_at });
            }
            Happening::Ended { .. } | Happening::Stopped { .. } | Happening::StartFailed { .. }
                if is_house =>
            {
                self.cast_has_ended();
            }
            _ => {}
        }
    }

    fn cast_has_ended(&mut self) {
        // One that fails while it is stopped has two events.
        if self.cast < self.billing.casts() {
            let supervisor = self.billing.cast(self.cast);
            self.recorder.record(Record::Ended { supervisor });
            self.cast += 1;
        }
    }
}
